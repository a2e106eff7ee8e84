"""A clock that stops while this process is stopped, for the study's time limits on attempts."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

__all__ = ["RunningClock", "sleep_running"]

LOOKED_AT = 0.5
"""Seconds. The loop of a study reads its clock far more often than this, unless the process is stopped."""
POLL = 0.1


class RunningClock:
    """Seconds of a monotonic clock, excluding the time in which this process was stopped (guard G47).

    In a paused container, a suspended job or a stopped process group the attempts stop with their driver, and no limit
    on them may expire. The time between two calls therefore counts as at most `longest` seconds. Call the clock in a
    loop that is faster than that; a slower loop only makes the limits longer.
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
