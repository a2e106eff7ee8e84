"""When a file that is written whole, from all trials, is written again."""

from __future__ import annotations

import time
from collections.abc import Callable

__all__ = ["Rewriting"]

EVERY = 5.0
"""Seconds between two writings at least."""
SHARE = 0.02
"""The part of the time that writing may take: a table of 20,000 trials takes seconds."""


class Rewriting:
    """Calls `write` soon after a change, and no more often than `EVERY` and `SHARE` allow.

    The owner calls `changed` after a change, `look` now and then (a logger is given progress about once a second), and
    `finish` at the end of a run.
    """

    def __init__(self, write: Callable[[], None]) -> None:
        self._write = write
        self._pending = False
        self._due = 0.0

    def changed(self) -> None:
        self._pending = True
        self.look()

    def look(self) -> None:
        """Write what is pending, if its time has come."""
        if self._pending and time.monotonic() >= self._due:
            self.finish()

    def finish(self) -> None:
        """Write now."""
        started = time.monotonic()
        self._write()
        ended = time.monotonic()
        self._pending, self._due = False, ended + max(EVERY, (ended - started) / SHARE)
