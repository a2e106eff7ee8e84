"""The resources of this process: cores, memory limits of its control groups, GPUs, and the installed build of torch."""

from scalecore.cgroups import Cgroup, MemoryLimit, own_cgroups
from scalecore.execution.local.devices import VARIABLE as CUDA_VISIBLE_DEVICES
from scalecore.execution.local.devices import find_gpus, is_visible
from scalecore.planning.slots import cores
from scalecore.store.study_device import built_for_cuda, torch_build

__all__ = [
    "CUDA_VISIBLE_DEVICES",
    "Cgroup",
    "MemoryLimit",
    "built_for_cuda",
    "cores",
    "find_gpus",
    "is_visible",
    "own_cgroups",
    "torch_build",
]
