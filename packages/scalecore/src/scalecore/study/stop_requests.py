"""Requests to stop a run: signals and the STOP file."""

from __future__ import annotations

import signal
from types import FrameType, TracebackType
from typing import Any

from scalecore.store.layout import StudyFolder


class StopRequests:
    """Counts SIGINT, SIGTERM and SIGHUP inside the `with` block, and checks for the STOP file.

    The first request stops the run, the second one kills running attempts. An ignored SIGHUP, as under nohup, stays
    ignored.
    """

    def __init__(self, folder: StudyFolder) -> None:
        self._folder = folder
        self._signals: list[str] = []
        self._file = False
        self._previous: dict[signal.Signals, Any] = {}

    def __enter__(self) -> StopRequests:
        # A STOP file of an earlier run no longer applies.
        self._folder.stop_file.unlink(missing_ok=True)
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            if number is signal.SIGHUP and signal.getsignal(number) is signal.SIG_IGN:
                continue
            self._previous[number] = signal.signal(number, self._note)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        for number, handler in self._previous.items():
            signal.signal(number, handler)
        if self._file:
            self._folder.stop_file.unlink(missing_ok=True)

    def look(self) -> None:
        """Check for the STOP file."""
        if not self._file and self._folder.stop_file.exists():
            self._file = True

    @property
    def asked(self) -> bool:
        return self._file or bool(self._signals)

    @property
    def insisted(self) -> bool:
        return len(self._signals) + self._file >= 2

    @property
    def reason(self) -> str:
        return self._signals[0] if self._signals else "the STOP file"

    def _note(self, number: int, frame: FrameType | None) -> None:
        self._signals.append(signal.Signals(number).name)
