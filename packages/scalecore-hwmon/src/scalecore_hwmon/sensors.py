"""The interface of sensor providers, and the providers of each platform.

A provider returns raw values. A sensor that it cannot read yields a `Reading` without a value, with the reason. Tests
replay traces through the same interface.
"""

from __future__ import annotations

import ctypes
import sys
from typing import TYPE_CHECKING, Any, Protocol

import psutil

from scalecore.api.readings import Reading

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

NO_SENSOR = "no temperature sensor"

PROCESSOR_CHIPS = frozenset(
    {
        "coretemp",
        "k10temp",
        "k8temp",
        "zenpower",
        "via_cputemp",
        "cpu_thermal",
        "cpu-thermal",
        "soc_thermal",
        "amdgpu",
        "radeon",
        "nouveau",
    }
)
"""Linux drivers that measure processors and GPUs. Other limits apply to disks, radios and batteries."""


class SensorProvider(Protocol):
    """Reads some sensors. It is called from one thread; an exception counts as "unavailable"."""

    def read(self) -> Sequence[Reading]:
        """One reading per sensor. Without a sensor, a single reading without a value, with the reason."""
        ...


class LinuxTemperatures:
    """The kernel's hwmon sensors and thermal zones, through psutil. Needs no privileges."""

    def read(self) -> Sequence[Reading]:
        return temperatures_of(psutil.sensors_temperatures())


class MacThermalPressure:
    """The thermal pressure of macOS, 0 to 4: the Darwin notification `com.apple.system.thermalpressurelevel`.

    Unlike temperatures, it needs no privileges. Levels as in Apple's `libkern/OSThermalNotification.h`: nominal,
    moderate, heavy, trapping, sleeping. Not yet tested on a Mac.
    """

    _KEY = b"com.apple.system.thermalpressurelevel"

    def __init__(self, library: str = "/usr/lib/libSystem.B.dylib") -> None:
        self._path = library
        self._library: ctypes.CDLL | None = None
        self._token = ctypes.c_int()

    def read(self) -> Sequence[Reading]:
        try:
            level = self._level()
        except OSError as error:
            return [_pressure(None, reason=f"the thermal pressure cannot be read: {error}")]
        if level > 4:
            return [_pressure(None, reason=f"unknown thermal pressure level {level}")]
        return [_pressure(level)]

    def _level(self) -> int:
        if self._library is None:
            library = ctypes.CDLL(self._path)
            library.notify_register_check.argtypes = (ctypes.c_char_p, ctypes.POINTER(ctypes.c_int))
            library.notify_get_state.argtypes = (ctypes.c_int, ctypes.POINTER(ctypes.c_uint64))
            if status := library.notify_register_check(self._KEY, ctypes.byref(self._token)):
                raise OSError(f"notify_register_check returned {status}")
            self._library = library
        level = ctypes.c_uint64()
        if status := self._library.notify_get_state(self._token, ctypes.byref(level)):
            raise OSError(f"notify_get_state returned {status}")
        return level.value


class NoSensor:
    """The provider of platforms where an ordinary user may read no sensor."""

    def read(self) -> Sequence[Reading]:
        return [_temperature(sys.platform, None, reason="no unprivileged sensor")]


class CpuLoad:
    """Load of the processors since the last reading, in percent. It distinguishes a stuck sensor from a steady one."""

    def __init__(self) -> None:
        self._primed = False

    def read(self) -> Sequence[Reading]:
        percent = psutil.cpu_percent(interval=None)
        if not self._primed:
            # psutil's first result is a constant: it has no earlier measurement to compare with.
            self._primed = True
            return [Reading(quantity="cpu", source="cpu", unit="%", value=None, reason="a load needs two samples")]
        return [Reading(quantity="cpu", source="cpu", unit="%", value=percent)]


def temperatures_of(chips: Mapping[str, Sequence[Any]]) -> list[Reading]:
    """Readings of what psutil reports: per chip, entries with `label` and `current` in °C."""
    readings: list[Reading] = []
    counts: dict[str, int] = {}
    for chip, entries in chips.items():
        for entry in entries:
            source = f"{chip}/{entry.label}" if entry.label else chip
            counts[source] = counts.get(source, 0) + 1
            if counts[source] > 1:  # two processors of the same model have equal labels
                source = f"{source} #{counts[source]}"
            readings.append(_temperature(source, entry.current, reason="the sensor returns no value"))
    return readings or [_temperature("hwmon", None, reason=NO_SENSOR)]


def default_providers() -> list[SensorProvider]:
    """The providers of this machine: processors, NVIDIA GPUs if there is a driver, and the load."""
    from scalecore_hwmon.nvml import NvmlGpus, driver_present

    cpu: SensorProvider
    if hasattr(psutil, "sensors_temperatures"):
        cpu = LinuxTemperatures()
    elif sys.platform == "darwin":
        cpu = MacThermalPressure()
    else:
        cpu = NoSensor()
    gpus: list[SensorProvider] = [NvmlGpus(quantities=("temperature",))] if driver_present() else []
    return [cpu, *gpus, CpuLoad()]


def decides(reading: Reading, *, among: Sequence[Reading], wanted: Sequence[str]) -> bool:
    """Whether the thermal policy uses this sensor.

    It uses the sensors that the user named (`wanted`: chip or chip/label), by default those of processors and GPUs, or
    all sensors if `among` contains none of those.
    """
    if reading.quantity not in ("temperature", "thermal_pressure"):
        return False
    if wanted:
        return reading.source in wanted or _chip(reading) in wanted
    return _of_processor(reading) or not any(_of_processor(other) for other in among)


def _chip(reading: Reading) -> str:
    return reading.source.split("/")[0].split(" #")[0]


def _of_processor(reading: Reading) -> bool:
    return (
        reading.quantity == "thermal_pressure" or _chip(reading) in PROCESSOR_CHIPS or reading.source.startswith("GPU ")
    )


def _temperature(source: str, value: float | None, *, reason: str) -> Reading:
    return Reading(
        quantity="temperature", source=source, unit="°C", value=value, reason=None if value is not None else reason
    )


def _pressure(level: int | None, *, reason: str | None = None) -> Reading:
    return Reading(quantity="thermal_pressure", source="macOS", unit="of 4", value=level, reason=reason)
