"""The monitors of this package, for `monitors:` in an experiment file."""

from __future__ import annotations

from typing import TYPE_CHECKING

from scalecore import hookimpl
from scalecore.api.components import HardwareMonitorRecord
from scalecore_hwmon.options import CpuOptions, DiskOptions, GpuOptions, MemoryOptions, ThermalOptions

if TYPE_CHECKING:
    from scalecore.api.monitor import HardwareMonitor, MonitorContext


def _memory(options: MemoryOptions, context: MonitorContext) -> HardwareMonitor:
    from scalecore_hwmon.memory import MemoryMonitor

    return MemoryMonitor(options)


def _thermal(options: ThermalOptions, context: MonitorContext) -> HardwareMonitor:
    from scalecore_hwmon.sensors import default_providers
    from scalecore_hwmon.thermal import ThermalMonitor

    return ThermalMonitor(options, providers=default_providers())


def _disk(options: DiskOptions, context: MonitorContext) -> HardwareMonitor:
    from scalecore_hwmon.disk import DiskMonitor

    return DiskMonitor(options, context)


def _cpu(options: CpuOptions, context: MonitorContext) -> HardwareMonitor:
    from scalecore_hwmon.cpu import CpuMonitor

    return CpuMonitor(options)


def _gpu(options: GpuOptions, context: MonitorContext) -> HardwareMonitor:
    from scalecore_hwmon.gpu import GpuMonitor
    from scalecore_hwmon.nvml import NvmlGpus

    return GpuMonitor(options, gpus=NvmlGpus(devices=options.devices))


@hookimpl
def scalecore_hardware_monitors() -> list[HardwareMonitorRecord]:
    """The monitors `memory`, `thermal`, `disk`, `cpu` and `gpu`."""
    return [
        HardwareMonitorRecord(
            name="memory",
            summary="Admits trials by predicted memory and stops one before the machine or its container runs out.",
            options=MemoryOptions,
            factory=_memory,
            quantities=(
                "memory_limit",
                "memory_used",
                "memory_available",
                "process_memory",
                "swap_used",
                "swap_in",
                "memory_pressure",
            ),
        ),
        HardwareMonitorRecord(
            name="thermal",
            summary="Pauses the study while the machine is too hot, and stops it at a critical temperature.",
            options=ThermalOptions,
            factory=_thermal,
            quantities=("temperature", "thermal_pressure", "cpu"),
        ),
        HardwareMonitorRecord(
            name="disk",
            summary="Refuses to start, or stops with a checkpoint, when the disk of the study's folder fills up.",
            options=DiskOptions,
            factory=_disk,
            quantities=("disk_free",),
        ),
        HardwareMonitorRecord(
            name="cpu",
            summary="Reads load, frequency and power of the processors, and reports an overloaded machine.",
            options=CpuOptions,
            factory=_cpu,
            quantities=("cpu", "load", "cpu_frequency", "power"),
        ),
        HardwareMonitorRecord(
            name="gpu",
            summary="Reads NVIDIA GPUs through NVML and admits trials by free GPU memory.",
            options=GpuOptions,
            factory=_gpu,
            quantities=(
                "gpu",
                "gpu_memory_used",
                "gpu_memory_free",
                "temperature",
                "power",
                "thermal_slowdown",
                "slowdown_at",
            ),
        ),
    ]
