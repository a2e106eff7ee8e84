"""Kills attempts that outlive their driver from another process, since an attempt in native code may not run Python.

An attempt notices the end of its driver, writes a checkpoint and ends (`scalecore.execution.attempt_control`). An
attempt that hangs in a native call with the interpreter's lock cannot do that. So another process waits for all
attempts and kills those that do not end: a fork of the fork server, or, for spawned attempts, `python -m
scalecore.execution.local.reaper`, which reads one process id per line until the driver ends and closes its input.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence
from contextlib import suppress

import psutil

from scalecore.api.clock import RunningClock
from scalecore.execution.local.launch import kill_group

ORPHAN_GRACE = 10.0
"""Seconds in which an attempt ends on its own after the end of its driver."""
KILL_AFTER = ORPHAN_GRACE + 5.0
"""Seconds after the end of the driver: more than `ORPHAN_GRACE`, less than the next run waits for the attempt."""
POLL = 0.1


def undertake(attempts: Sequence[psutil.Process]) -> None:
    """Wait for attempts of an ended driver; kill those that do not end, and processes left in their groups."""
    clock = RunningClock()
    deadline = clock() + KILL_AFTER
    left = set(filter(_lives, attempts))
    while left:
        late = clock() > deadline
        over = {attempt for attempt in left if late or not _lives(attempt)}
        for attempt in over:
            kill_group(attempt.pid)
        left -= over
        time.sleep(POLL)


def _lives(attempt: psutil.Process) -> bool:
    try:
        return attempt.is_running() and attempt.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def main() -> None:
    """Read the ids of started attempts until the driver ends, then wait for them."""
    attempts: list[psutil.Process] = []
    for line in sys.stdin:
        attempts = list(filter(_lives, attempts))
        with suppress(psutil.NoSuchProcess):  # already ended
            attempts.append(psutil.Process(int(line)))
    undertake(attempts)


if __name__ == "__main__":
    main()
