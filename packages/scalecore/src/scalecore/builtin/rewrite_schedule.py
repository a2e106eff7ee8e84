"""When a file that is written whole, from all trials, is written again."""

from __future__ import annotations

import time
from collections.abc import Callable

from scalecore.api.escaping import message_of
from scalecore.api.files import is_disk_error

EVERY = 5.0
"""Seconds between two writings at least."""
SHARE = 0.02
"""The part of the time that writing may take: a table of 20,000 trials takes seconds."""


class Rewriting:
    """Calls `write` soon after a change, and no more often than `every` and `SHARE` allow.

    The owner calls `changed` after a change, `look` now and then (a logger is given progress about once a second), and
    `finish` at the end of a run. A disk that is full is waited for until then (guard G48).
    """

    def __init__(self, write: Callable[[], None], *, every: float | None = None) -> None:
        self._write = write
        self._every = EVERY if every is None else every
        self._pending = False
        self._due = 0.0
        self._warned = False
        self._remarks: list[tuple[str, str]] = []

    def changed(self, *, all_of_it: bool = False) -> None:
        """Something has; all of it at the start of a run, which is written at once."""
        self._pending = True
        self._due = 0.0 if all_of_it else self._due
        self.look()

    def look(self) -> None:
        """Write what is pending, if its time has come."""
        if not self._pending or time.monotonic() < self._due:
            return
        try:
            self.finish()
        except Exception as error:
            if not is_disk_error(error):
                raise
            self._due = time.monotonic() + EVERY
            if not self._warned:  # once, whatever temporary file the error names
                self._remarks.append(("warning", f"{message_of(error)}; tried again until the end of the run"))
            self._warned = True

    def finish(self) -> None:
        """Write now."""
        started = time.monotonic()
        self._write()
        ended = time.monotonic()
        self._pending = self._warned = False
        # What is written piece by piece, `every` 0, need not wait for what was written of all at the start.
        self._due = ended + max(self._every, (ended - started) / SHARE) if self._every else 0.0

    def take_remarks(self) -> list[tuple[str, str]]:
        """What a logger's method of this name returns."""
        taken, self._remarks = self._remarks, []
        return taken
