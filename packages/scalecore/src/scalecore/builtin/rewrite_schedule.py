"""Schedules the rewriting of files that are written as a whole, from all trials."""

from __future__ import annotations

import time
from collections.abc import Callable

from scalecore.api.escaping import message_of
from scalecore.api.files import is_disk_error

EVERY = 5.0
"""Minimum seconds between two writes."""
SHARE = 0.02
"""Fraction of the time that writing may take: a table of 20,000 trials takes seconds."""


class Rewriting:
    """Calls `write` soon after a change, but no more often than `every` and `SHARE` allow.

    The owner calls `changed` after a change, `look` regularly (a logger receives progress about once a second), and
    `finish` at the end of a run. Until then a write to a full disk is retried (guard G48).
    """

    def __init__(self, write: Callable[[], None], *, every: float | None = None) -> None:
        self._write = write
        self._every = EVERY if every is None else every
        self._pending = False
        self._due = 0.0
        self._warned = False
        self._remarks: list[tuple[str, str]] = []

    def changed(self, *, all_of_it: bool = False) -> None:
        """Request a write; with `all_of_it`, at the start of a run, write immediately."""
        self._pending = True
        self._due = 0.0 if all_of_it else self._due
        self.look()

    def look(self) -> None:
        """Write pending changes if they are due."""
        if not self._pending or time.monotonic() < self._due:
            return
        try:
            self.finish()
        except Exception as error:
            if not is_disk_error(error):
                raise
            self._due = time.monotonic() + EVERY
            if not self._warned:  # once, although the error may name another temporary file each time
                self._remarks.append(("warning", f"{message_of(error)}; retrying until the end of the run"))
            self._warned = True

    def finish(self) -> None:
        """Write now."""
        started = time.monotonic()
        self._write()
        ended = time.monotonic()
        self._pending = self._warned = False
        # Writers of single pieces (`every` 0) do not wait after the full write at the start.
        self._due = ended + max(self._every, (ended - started) / SHARE) if self._every else 0.0

    def take_remarks(self) -> list[tuple[str, str]]:
        """Return and clear the remarks, as `Logger.take_remarks` does."""
        taken, self._remarks = self._remarks, []
        return taken
