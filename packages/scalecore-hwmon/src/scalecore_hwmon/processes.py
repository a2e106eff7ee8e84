"""Memory of the running trials: each attempt's process with all its descendants.

Costs measured on Linux: resident size (RSS) 10 µs a process; proportional size (PSS), which divides a shared page
among its processes, 10 to 25 ms per GB, because the kernel walks the page tables. So RSS is read at every sample, PSS
only if the sum of RSS approaches the limit, and descendants are listed once a second.
"""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING

import psutil

from scalecore.api.readings import Reading

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

LIST_EVERY = 1.0
"""Seconds between two listings of the descendants."""

PSS_DUTY = 20.0
"""PSS is read again after this multiple of its reading time, and at least a second, so that it costs at most 5 %."""

_PROC = Path("/proc")


class TreeReader:
    """Reads the memory of several process trees."""

    def __init__(self, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._trees: dict[int, _Tree] = {}

    def read(self, processes: Mapping[int, int], *, limit: float) -> list[Reading]:
        """One `process_memory` reading per trial.

        `processes` maps trials to process ids; `limit` applies to all trials together, in bytes. Above 80 % of the
        limit, shared pages are counted once. Above the limit PSS is always read anew, so that no trial is stopped for
        memory that it does not use.
        """
        now = self._clock()
        for number in [number for number, tree in self._trees.items() if processes.get(number) != tree.pid]:
            del self._trees[number]
        for number, pid in processes.items():
            self._trees.setdefault(number, _Tree(pid)).read(now)
        trees = self._trees.values()
        if sum(tree.rss for tree in trees) > 0.8 * limit:
            over = sum(tree.estimate for tree in trees) > limit
            for tree in trees:
                if over or now >= tree.next_pss:
                    tree.read_pss(self._clock)
        else:
            for tree in trees:
                tree.forget_pss()
        return [tree.reading(number) for number, tree in sorted(self._trees.items())]


class _Tree:
    """One attempt's processes. `shared` is RSS minus PSS at the last reading of PSS."""

    def __init__(self, pid: int) -> None:
        self.pid = pid
        self.rss = 0
        self.shared: int | None = None
        self.next_pss = 0.0
        self._fresh = False
        self._reason: str | None = None
        self._listed: float | None = None
        self._members: list[psutil.Process] = []

    @property
    def estimate(self) -> int:
        return max(0, self.rss - (self.shared or 0))

    def read(self, now: float) -> None:
        """Read RSS, and list the members if the last list is older than `LIST_EVERY`."""
        try:
            self._read(now)
        except psutil.AccessDenied as error:
            # A sum without this member would be wrong.
            self._reason = f"process {error.pid} cannot be read: access denied"
            self.rss = 0
        else:
            self._reason = None if self._members else f"process {self.pid} has ended"

    def _read(self, now: float) -> None:
        self._fresh = False
        if self._listed is not None and not self._members:
            return  # ended: another process may have its process id now
        if self._listed is None or now - self._listed >= LIST_EVERY:
            known = {process.pid: process for process in self._members}
            pids = [self.pid, *_descendants(self.pid)]
            self._members = [process for pid in pids if (process := known.get(pid) or _process(pid)) is not None]
            self._listed = now
            if known.keys() != {process.pid for process in self._members}:
                self.forget_pss()
        sizes = [(process, _rss(process)) for process in self._members]
        self._members = [process for process, size in sizes if size]
        if len(self._members) < len(sizes):
            self.forget_pss()  # the other processes' PSS now includes pages that the ended process shared
        self.rss = sum(size for _, size in sizes)

    def read_pss(self, clock: Callable[[], float]) -> None:
        """Read PSS if the platform provides it; otherwise RSS is used."""
        started = clock()
        sizes = [_pss(process.pid) for process in self._members]
        ended = clock()
        known = [size for size in sizes if size is not None]
        if len(known) == len(sizes):
            # RSS is from the start of this sample. Allocations during the reading of PSS show in the next sample.
            self.shared = max(0, self.rss - sum(known))
            self._fresh = True
        self.next_pss = ended + max(1.0, PSS_DUTY * (ended - started))

    def forget_pss(self) -> None:
        """Use RSS again, and read PSS the next time it is needed."""
        self.shared = None
        self.next_pss = 0.0

    def reading(self, number: int) -> Reading:
        if self._reason is not None:
            return Reading(
                quantity="process_memory",
                source="process tree",
                unit="B",
                value=None,
                reason=self._reason,
                trial=number,
            )
        way = "RSS" if self.shared is None else "PSS" if self._fresh else "RSS less shared pages"
        return Reading(
            quantity="process_memory", source=f"process tree, {way}", unit="B", value=self.estimate, trial=number
        )


def _process(pid: int) -> psutil.Process | None:
    try:
        return psutil.Process(pid)
    except psutil.NoSuchProcess:
        return None


def _rss(process: psutil.Process) -> int:
    """Resident size; zero for a process that has ended, reaped or not."""
    try:
        return process.memory_info().rss
    except psutil.NoSuchProcess:
        return 0


def _pss(pid: int) -> int | None:
    try:
        for line in (_PROC / str(pid) / "smaps_rollup").read_text().splitlines():
            if line.startswith("Pss:"):
                return int(line.split()[1]) * 1024
    except (OSError, ValueError):
        pass
    return None


def _descendants(pid: int) -> list[int]:
    """Descendants of `pid`, from the kernel's list (20 µs) or, without one, from a search of all processes."""
    found: list[int] = []
    waiting = [pid]
    while waiting:
        try:
            children = _children(waiting.pop())
        except ProcessLookupError:
            continue
        except OSError:
            return _descendants_by_search(pid)
        found += children
        waiting += children
    return found


def _children(pid: int) -> Sequence[int]:
    tasks = _PROC / str(pid) / "task"
    children: list[int] = []
    for task in tasks.iterdir():
        children += map(int, (task / "children").read_text().split())
    return children


def _descendants_by_search(pid: int) -> list[int]:
    try:
        return [process.pid for process in psutil.Process(pid).children(recursive=True)]
    except psutil.NoSuchProcess:
        return []
