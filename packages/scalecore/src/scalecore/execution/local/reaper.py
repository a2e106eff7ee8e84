"""Kills attempts that outlive their driver and no longer run Python code.

An attempt notices the end of its driver, writes a checkpoint and exits (`scalecore.execution.attempt_control`). One
that holds the interpreter's lock in a call that does not return cannot do that. Therefore another process waits until
all attempts have exited and kills the rest: the fork server, or `python -m scalecore.execution.local.reaper` where
attempts are spawned, which reads their process ids, one a line, until its input ends with the driver.
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
"""Seconds that an attempt gives itself to end when its driver is gone."""
KILL_AFTER = ORPHAN_GRACE + 5.0
"""Seconds after the end of the driver: more than an attempt gives itself, less than the next run waits for it."""
POLL = 0.1


def undertake(attempts: Sequence[psutil.Process]) -> None:
    """Wait for attempts whose driver is gone; kill those that do not end, and what others have left in their groups."""
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
    """Take in attempts as they are started, until the driver is gone."""
    attempts: list[psutil.Process] = []
    for line in sys.stdin:
        attempts = list(filter(_lives, attempts))
        with suppress(psutil.NoSuchProcess):  # it has ended already
            attempts.append(psutil.Process(int(line)))
    undertake(attempts)


if __name__ == "__main__":
    main()
