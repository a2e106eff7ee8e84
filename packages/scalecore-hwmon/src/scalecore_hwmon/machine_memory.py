"""Memory of the whole machine: available memory, swap, and the memory pressure that the kernel reports."""

from __future__ import annotations

import mmap
import sys
import time
import warnings
from pathlib import Path
from typing import TYPE_CHECKING

import psutil
from attrs import frozen

from scalecore.api.machine import Cgroup, MemoryLimit, own_cgroups
from scalecore.api.readings import Reading

if TYPE_CHECKING:
    from collections.abc import Callable

SLOW = 1.0
"""Seconds between reads of swap, pressure and the limits: they change slowly, and a rate needs some time."""


@frozen(kw_only=True)
class Machine:
    """The machine at one time: its smallest limit, the available memory with its source, and all readings."""

    limit: MemoryLimit
    available: int
    available_source: str
    readings: tuple[Reading, ...]


class MachineReader:
    """Reads the machine's memory, up to ten times a second. Tests pass a `root` with their own `/proc` and `/sys`."""

    def __init__(self, *, root: Path = Path("/"), clock: Callable[[], float] = time.monotonic) -> None:
        self._root = root
        self._clock = clock
        self._refreshed: float | None = None
        self._limited: list[tuple[Cgroup, MemoryLimit]] = []
        self._slow: tuple[Reading, ...] = ()
        self._swapped_in: tuple[float, float] | None = None

    def read(self) -> Machine:
        """Read available and used memory. Swap, pressure and limits are up to a second old."""
        now = self._clock()
        if self._refreshed is None or now - self._refreshed >= SLOW:
            self._refresh(now)
        memory = psutil.virtual_memory()
        physical = MemoryLimit(bytes=memory.total, source="physical memory")
        left = [(memory.available, physical)]
        readings: list[Reading] = []
        for group, limit in self._limited:
            try:
                left.append((max(0, limit.bytes - group.used()), limit))
            except (OSError, ValueError) as error:
                readings.append(_missing("container_memory", limit.source, "B", str(error)))
        available, tightest = min(left, key=lambda pair: pair[0])
        limit = min((physical, *(limit for _, limit in self._limited)), key=lambda each: each.bytes)
        readings += [
            Reading(quantity="memory_available", source=tightest.source, unit="B", value=available),
            Reading(quantity="memory_used", source=tightest.source, unit="B", value=max(0, tightest.bytes - available)),
        ]
        return Machine(
            limit=limit, available=available, available_source=tightest.source, readings=(*readings, *self._slow)
        )

    def _refresh(self, now: float) -> None:
        groups = own_cgroups(self._root)
        self._limited = [(group, limit) for group in groups if (limit := group.limit()) is not None]
        self._slow = (self._swap_used(), self._swap_in(now), self._pressure(groups))
        self._refreshed = now

    def _swap_used(self) -> Reading:
        with warnings.catch_warnings():
            # psutil warns if the kernel does not count swapped-in pages; `_swap_in` reads that count.
            warnings.simplefilter("ignore", RuntimeWarning)
            used = psutil.swap_memory().used
        return Reading(quantity="swap_used", source="swap", unit="B", value=used)

    def _swap_in(self, now: float) -> Reading:
        """Bytes a second read back from swap since the last refresh."""
        before = self._swapped_in
        try:
            total = self._swapped_in_total()
        except (OSError, LookupError) as error:
            return _missing("swap_in", "swap", "B/s", f"swapped-in pages are not counted here: {error}")
        self._swapped_in = (total, now)
        if before is None or now <= before[1]:
            return _missing("swap_in", "swap", "B/s", "a rate needs two samples")
        return Reading(quantity="swap_in", source="swap", unit="B/s", value=(total - before[0]) / (now - before[1]))

    def _swapped_in_total(self) -> float:
        if sys.platform == "darwin":
            return float(psutil.swap_memory().sin)
        counters = dict(line.split() for line in (self._root / "proc/vmstat").read_text().splitlines())
        return float(counters["pswpin"]) * mmap.PAGESIZE

    def _pressure(self, groups: list[Cgroup]) -> Reading:
        """Share of the last ten seconds in which all processes waited for memory, from the kernel's PSI."""
        own = [group.folder / "memory.pressure" for group in groups if group.version == 2]
        for path in (*own[:1], self._root / "proc/pressure/memory"):
            try:
                lines = path.read_text().splitlines()
            except OSError:
                continue
            for line in lines:
                if line.startswith("full "):
                    value = float(line.split("avg10=")[1].split()[0])
                    return Reading(quantity="memory_pressure", source=f"PSI {path}", unit="%", value=value)
        return _missing("memory_pressure", "PSI", "%", "the kernel reports no memory pressure")


def _missing(quantity: str, source: str, unit: str, reason: str) -> Reading:
    return Reading(quantity=quantity, source=source, unit=unit, value=None, reason=reason)
