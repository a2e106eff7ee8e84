"""Time in which this process ran: what the study's limits on attempts are measured in."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

__all__ = ["RunningClock", "sleep_running"]

LOOKED_AT = 0.5
"""Seconds within which the loop of a study reads its clock again, many times over, unless it does not run."""
POLL = 0.1


class RunningClock:
    """Seconds of a monotonic clock, without the time in which nobody asked for them (guard G47).

    A paused container, a suspended job, a stopped process group: the attempts stand still with their driver, and no
    limit on them may run out meanwhile. So whatever passes between two calls counts as `longest` seconds at most. To be
    called in a loop that is faster than that; one that is slower only makes the limits longer.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic, *, longest: float = LOOKED_AT) -> None:
        self._clock = clock
        self._longest = longest
        self._lock = threading.Lock()
        self._last = clock()
        self._left_out = 0.0

    def __call__(self) -> float:
        with self._lock:
            now = self._clock()
            self._left_out += max(0.0, now - self._last - self._longest)
            self._last = now
            return now - self._left_out


def sleep_running(seconds: float) -> None:
    """Sleep until this process has run for `seconds`; time in which it was stopped or frozen does not count."""
    clock = RunningClock()
    end = clock() + seconds
    while clock() < end:
        time.sleep(POLL)
