"""What a process may use of this machine: its cores, the memory limits of its cgroups, its visible GPUs."""

from scalecore.cgroups import Cgroup, MemoryLimit, own_cgroups
from scalecore.execution.local.devices import VARIABLE as CUDA_VISIBLE_DEVICES
from scalecore.execution.local.devices import is_visible
from scalecore.planning.slots import cores

__all__ = ["CUDA_VISIBLE_DEVICES", "Cgroup", "MemoryLimit", "cores", "is_visible", "own_cgroups"]
