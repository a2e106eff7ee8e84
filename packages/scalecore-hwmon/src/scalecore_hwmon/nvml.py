"""NVIDIA GPUs through NVML, with the optional package nvidia-ml-py. No privilege is needed."""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import TYPE_CHECKING, Any

from scalecore.readings import Reading

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

_UNITS = {
    "gpu": "%",
    "gpu_memory_used": "B",
    "gpu_memory_free": "B",
    "temperature": "°C",
    "power": "W",
    "thermal_slowdown": "of 1",
    "slowdown_at": "°C",
}

_DRIVER = Path("/proc/driver/nvidia/version")


def driver_present() -> bool:
    """Whether this machine seems to have an NVIDIA driver, be the Python package there or not."""
    return _DRIVER.exists() or not isinstance(_open(), str)


class NvmlGpus:
    """A sensor provider: the chosen quantities of the chosen GPUs (all of them by default).

    Indices are those of NVML and `nvidia-smi`; `CUDA_VISIBLE_DEVICES` does not change them. `thermal_slowdown` is 1
    while the driver lowers the clock because of heat; `slowdown_at` is the temperature from which it does.
    """

    def __init__(self, *, devices: Sequence[int] = (), quantities: Sequence[str] = tuple(_UNITS)) -> None:
        self._devices = tuple(devices)
        self._quantities = tuple(quantities)
        self._nvml: Any = None

    def read(self) -> Sequence[Reading]:
        if self._nvml is None:
            opened = _open()
            if isinstance(opened, str):
                return self._nothing("NVML", opened)
            self._nvml = opened
        try:
            indices = self._devices or tuple(range(self._nvml.nvmlDeviceGetCount()))
        except self._nvml.NVMLError as error:
            return self._nothing("NVML", str(error))
        if not indices:
            return self._nothing("NVML", "the driver sees no GPU")
        return [reading for index in indices for reading in self._of_device(index)]

    def _of_device(self, index: int) -> list[Reading]:
        nvml = self._nvml
        try:
            handle = nvml.nvmlDeviceGetHandleByIndex(index)
            name = nvml.nvmlDeviceGetName(handle)
        except nvml.NVMLError as error:
            return self._nothing(f"GPU {index}", str(error))
        heat = nvml.nvmlClocksEventReasonHwThermalSlowdown | nvml.nvmlClocksEventReasonSwThermalSlowdown
        ways: dict[str, Callable[[], float]] = {
            "gpu": lambda: nvml.nvmlDeviceGetUtilizationRates(handle).gpu,
            "gpu_memory_used": lambda: nvml.nvmlDeviceGetMemoryInfo(handle).used,
            "gpu_memory_free": lambda: nvml.nvmlDeviceGetMemoryInfo(handle).free,
            "temperature": lambda: nvml.nvmlDeviceGetTemperature(handle, nvml.NVML_TEMPERATURE_GPU),
            "power": lambda: nvml.nvmlDeviceGetPowerUsage(handle) / 1000,
            "thermal_slowdown": lambda: float(bool(nvml.nvmlDeviceGetCurrentClocksEventReasons(handle) & heat)),
            "slowdown_at": lambda: nvml.nvmlDeviceGetTemperatureThreshold(
                handle, nvml.NVML_TEMPERATURE_THRESHOLD_SLOWDOWN
            ),
        }
        readings = []
        for quantity in self._quantities:
            value: float | None = None
            reason = None
            try:
                value = float(ways[quantity]())
            except nvml.NVMLError as error:
                reason = str(error)
            readings.append(
                Reading(
                    quantity=quantity, source=f"GPU {index} {name}", unit=_UNITS[quantity], value=value, reason=reason
                )
            )
        return readings

    def _nothing(self, source: str, reason: str) -> list[Reading]:
        return [
            Reading(quantity=quantity, source=source, unit=_UNITS[quantity], value=None, reason=reason)
            for quantity in self._quantities
        ]


def _open() -> Any:
    """The module, ready for use, or a text that says why not."""
    try:
        nvml: Any = importlib.import_module("pynvml")
    except ImportError:
        return 'nvidia-ml-py is not installed: pip install "scalecore-hwmon[nvidia]"'
    try:
        nvml.nvmlInit()
    except nvml.NVMLError_LibraryNotFound:
        return "no NVIDIA driver"
    except nvml.NVMLError as error:
        return f"NVML does not start: {error}"
    return nvml
