"""The CPU monitor: load, frequency and power of the processors.

It never stops a trial. Its readings explain why a trial is slow (guard G43).
"""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import TYPE_CHECKING

import psutil

from scalecore.api.machine import cores
from scalecore.api.readings import Admission, Demand, Finding, Reading, Verdict
from scalecore_hwmon.sensors import CpuLoad

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from scalecore_hwmon.options import CpuOptions

SUBJECT = "cpu"
CONFIRM = 5
"""Consecutive samples with a high load before the machine is reported as overloaded."""


class CpuMonitor:
    """A `HardwareMonitor` for the processors. Tests pass a `root` with their own `/sys`."""

    def __init__(
        self, options: CpuOptions, *, root: Path = Path("/"), clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._options = options
        self._power = _Rapl(root, clock)
        self._load = CpuLoad()
        self._busy = 0

    @property
    def interval(self) -> float:
        return self._options.interval

    def preflight(self, demand: Demand | None) -> Sequence[Finding]:
        load = os.getloadavg()[0] if hasattr(os, "getloadavg") else None
        found = f"{cores()} usable cores" + ("" if load is None else f", load {load:.1f}")
        if load is not None and load > self._options.busy_share * cores():
            remedy = "wait until other programs finish, or use fewer slots and threads"
            message = f"{found}: the machine is busy, trials will be slower"
            return [Finding(level="warn", subject=SUBJECT, message=message, remedy=remedy)]
        return [Finding(level="ok", subject=SUBJECT, message=found)]

    def admit(self, demand: Demand) -> Admission:
        return Admission(action="admit")

    def sample(self, processes: Mapping[int, int]) -> Sequence[Reading]:
        return [*self._load.read(), _load(), _frequency(), self._power.read()]

    def verdict(self, readings: Sequence[Reading]) -> Verdict:
        load = next((one.value for one in readings if one.quantity == "load" and one.value is not None), None)
        # With twice as many runnable threads as cores, a trial's threads wait half of the time.
        self._busy = self._busy + 1 if load is not None and load > 2 * cores() else 0
        if self._busy >= CONFIRM:
            return Verdict(action="go_on", reason="the machine is overloaded: trials are slower", guard="G43")
        return Verdict(action="go_on")


def _load() -> Reading:
    if not hasattr(os, "getloadavg"):
        return Reading(quantity="load", source="kernel", unit="", value=None, reason="not available on this platform")
    return Reading(quantity="load", source="kernel, 1 min", unit="", value=os.getloadavg()[0])


def _frequency() -> Reading:
    """Mean frequency of the processors."""
    try:
        found = psutil.cpu_freq()
    except (OSError, NotImplementedError, AttributeError, RuntimeError) as error:
        return Reading(
            quantity="cpu_frequency", source="cpu", unit="MHz", value=None, reason=str(error) or "unreadable"
        )
    if found is None or not found.current:
        reason = "the system does not report the frequency"
        return Reading(quantity="cpu_frequency", source="cpu", unit="MHz", value=None, reason=reason)
    return Reading(quantity="cpu_frequency", source="cpu", unit="MHz", value=found.current)


class _Rapl:
    """Power of the processor packages, from the kernel's energy counters. On most systems only root may read them."""

    def __init__(self, root: Path, clock: Callable[[], float]) -> None:
        self._counters = sorted((root / "sys/class/powercap").glob("intel-rapl:?/energy_uj"))
        self._clock = clock
        self._before: tuple[float, float] | None = None

    def read(self) -> Reading:
        if not self._counters:
            return self._missing("no energy counter")
        try:
            energy = sum(float(path.read_text()) for path in self._counters) / 1e6
        except PermissionError:
            return self._missing("only root may read the energy counters")
        except (OSError, ValueError) as error:
            return self._missing(str(error))
        now, before = self._clock(), self._before
        self._before = (now, energy)
        if before is None or now <= before[0]:
            return self._missing("a rate needs two samples")
        if energy < before[1]:
            return self._missing("the energy counter was reset")
        value = (energy - before[1]) / (now - before[0])
        return Reading(quantity="power", source="cpu packages", unit="W", value=value)

    @staticmethod
    def _missing(reason: str) -> Reading:
        return Reading(quantity="power", source="cpu packages", unit="W", value=None, reason=reason)
