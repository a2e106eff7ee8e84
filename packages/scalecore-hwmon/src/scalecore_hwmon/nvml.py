"""Reads NVIDIA GPUs through NVML, with the optional package nvidia-ml-py. Needs no privileges."""

from __future__ import annotations

import ctypes
import importlib
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING, Any

from scalecore.api.readings import Reading

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

_MEMORY = {"gpu_memory_used": "used", "gpu_memory_free": "free"}
"""Quantity -> attribute of NVML's memory info."""

_LIBRARY = "libnvidia-ml.so.1"


def driver_present() -> bool:
    """Whether this machine has an NVIDIA driver, even if the Python package is missing."""
    try:
        ctypes.CDLL(_LIBRARY)
    except OSError:
        return not isinstance(_open(), str)
    return True


def _memory(nvml: Any, handle: Any, *, attribute: str) -> float:
    return float(getattr(nvml.nvmlDeviceGetMemoryInfo(handle), attribute))


class NvmlGpus:
    """A sensor provider for the chosen quantities of the chosen GPUs (all by default).

    Indices are those of NVML and `nvidia-smi`; `CUDA_VISIBLE_DEVICES` does not change them. `thermal_slowdown` is 1
    while the driver lowers the clock because of heat; `slowdown_at` is the temperature from which it does so. Each part
    of a divided GPU (MIG) has its own memory; all other quantities describe the whole GPU.
    """

    def __init__(self, *, devices: Sequence[int] = (), quantities: Sequence[str] = tuple(_UNITS)) -> None:
        self._devices = tuple(devices)
        self._quantities = tuple(quantities)
        self._nvml: Any = None
        self.identifiers: dict[str, str] = {}
        """Source of a memory reading -> the GPU or its part, in the form that `CUDA_VISIBLE_DEVICES` accepts."""

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
            return self._nothing("NVML", "the driver reports no GPU")
        return [reading for index in indices for reading in self._of_device(index)]

    def _of_device(self, index: int) -> list[Reading]:
        nvml = self._nvml
        try:
            handle = nvml.nvmlDeviceGetHandleByIndex(index)
            name = nvml.nvmlDeviceGetName(handle)
        except nvml.NVMLError as error:
            return self._nothing(f"GPU {index}", str(error))
        source = f"GPU {index} {name}"
        heat = nvml.nvmlClocksEventReasonHwThermalSlowdown | nvml.nvmlClocksEventReasonSwThermalSlowdown
        ways: dict[str, Callable[[], float]] = {
            "gpu": lambda: nvml.nvmlDeviceGetUtilizationRates(handle).gpu,
            "temperature": lambda: nvml.nvmlDeviceGetTemperature(handle, nvml.NVML_TEMPERATURE_GPU),
            "power": lambda: nvml.nvmlDeviceGetPowerUsage(handle) / 1000,
            "thermal_slowdown": lambda: float(bool(nvml.nvmlDeviceGetCurrentClocksEventReasons(handle) & heat)),
            "slowdown_at": lambda: nvml.nvmlDeviceGetTemperatureThreshold(
                handle, nvml.NVML_TEMPERATURE_THRESHOLD_SLOWDOWN
            ),
        }
        parts = self._parts(handle)
        places = {f"{source}, part {number}": part for number, part in parts.items()} if parts else {source: handle}
        for place, part in places.items():
            with suppress(nvml.NVMLError, AttributeError):
                self.identifiers[place] = str(nvml.nvmlDeviceGetUUID(part))
        readings = []
        for quantity in self._quantities:
            if quantity in _MEMORY:
                for place, part in places.items():
                    read = partial(_memory, nvml, part, attribute=_MEMORY[quantity])
                    readings.append(self._reading(quantity, place, read))
            else:
                readings.append(self._reading(quantity, source, ways[quantity]))
        return readings

    def _parts(self, handle: Any) -> dict[int, Any]:
        """The parts of a divided GPU (MIG) by number; empty without MIG or with a driver that does not support it."""
        nvml = self._nvml
        found: dict[int, Any] = {}
        with suppress(nvml.NVMLError, AttributeError):
            if nvml.nvmlDeviceGetMigMode(handle)[0] != nvml.NVML_DEVICE_MIG_ENABLE:
                return found
            for number in range(nvml.nvmlDeviceGetMaxMigDeviceCount(handle)):
                with suppress(nvml.NVMLError):  # an unused slot
                    found[number] = nvml.nvmlDeviceGetMigDeviceHandleByIndex(handle, number)
        return found

    def _reading(self, quantity: str, source: str, read: Callable[[], float]) -> Reading:
        value: float | None = None
        reason = None
        try:
            value = float(read())
        except self._nvml.NVMLError as error:
            reason = str(error)
        return Reading(quantity=quantity, source=source, unit=_UNITS[quantity], value=value, reason=reason)

    def _nothing(self, source: str, reason: str) -> list[Reading]:
        return [
            Reading(quantity=quantity, source=source, unit=_UNITS[quantity], value=None, reason=reason)
            for quantity in self._quantities
        ]


def _open() -> Any:
    """The initialised module, or the reason why it cannot be used."""
    try:
        nvml: Any = importlib.import_module("pynvml")
    except ImportError:
        return 'nvidia-ml-py is not installed: pip install "scalecore-hwmon[nvidia]"'
    try:
        nvml.nvmlInit()
    except nvml.NVMLError_LibraryNotFound:
        return "no NVIDIA driver"
    except nvml.NVMLError as error:
        return f"NVML cannot be initialised: {error}"
    return nvml
