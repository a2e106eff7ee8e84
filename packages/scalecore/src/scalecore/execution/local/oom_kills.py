"""Whether the kernel killed an attempt for lack of memory: by its own counters, since the exit code does not tell."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable
from pathlib import Path

from scalecore.cgroups import own_cgroups

EVERY = 1.0
WINDOW = 60.0
"""Seconds back to which a kill is looked for.

Taking a killed process down was measured at 66 ms per GB, and the count rises before that.
"""


class KernelKills:
    """Follows the count of kills for lack of memory, of the own control group or else of the whole machine.

    An attempt is the first victim of its machine (see `scalecore.execution.worker`), so a kill that was counted while
    one died by SIGKILL is taken for its own. `root` is where `/proc` and `/sys` are, for tests.
    """

    def __init__(self, *, root: Path = Path("/"), clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._count, self.source = _counter(root)
        """`source` is the file that counts, or None where the kernel does not."""
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
        """What the counter says about a process that has just died by SIGKILL; None where it has not risen.

        What was told once counts for no second process.
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
