"""Detects by the kernel's counters that it killed an attempt because memory ran out, which no exit code shows."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable
from pathlib import Path

from scalecore.cgroups import own_cgroups

EVERY = 1.0
WINDOW = 60.0
"""Seconds for which readings are kept.

Ending a killed process was measured to take 66 ms per GB, and the count rises before that.
"""


class KernelKills:
    """Tracks the number of out-of-memory kills in this process's control group, or else on the whole machine.

    Attempts are killed first (see `scalecore.execution.worker`), so a kill that was counted while an attempt ended by
    SIGKILL is attributed to it. `root` contains `/proc` and `/sys`, for tests.
    """

    def __init__(self, *, root: Path = Path("/"), clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._count, self.source = _counter(root)
        """`source` is the file of the counter, or None if the kernel has none."""
        self._seen: deque[tuple[float, int]] = deque()
        self.look()

    def look(self) -> None:
        """Read the counter, at most once a second; the readings of the last minute are kept."""
        now = self._clock()
        if self.source is None or (self._seen and now - self._seen[-1][0] < EVERY):
            return
        self._seen.append((now, self._count()))
        while now - self._seen[0][0] > WINDOW and len(self._seen) > 1:
            self._seen.popleft()

    def evidence(self) -> str | None:
        """Return evidence that memory ran out for a process just ended by SIGKILL; None if the count did not rise.

        A kill is attributed to one process only.
        """
        if self.source is None or not self._seen:
            return None
        before, now = self._seen[0][1], self._count()
        if now <= before:
            return None
        self._seen.clear()
        self._seen.append((self._clock(), now))
        return f"oom_kill rose from {before} to {now} in {self.source}"


def _counter(root: Path) -> tuple[Callable[[], int], str | None]:
    for group in own_cgroups(root)[:1]:
        try:
            group.kills()
        except (OSError, LookupError, ValueError):
            continue
        return group.kills, str(group.folder)

    def of_machine() -> int:
        lines = (root / "proc/vmstat").read_text().splitlines()
        return int(dict(line.split() for line in lines)["oom_kill"])

    try:
        of_machine()
    except (OSError, LookupError, ValueError):
        return of_machine, None
    return of_machine, str(root / "proc/vmstat")
