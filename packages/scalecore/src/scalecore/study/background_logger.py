"""Calls a logger that may be slow or fail in a thread: the study neither waits for it nor ends because of it."""

from __future__ import annotations

import shlex
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import suppress

from scalecore.api.errors import ScalecoreError
from scalecore.api.escaping import masked, message_of
from scalecore.api.logger import Logger, LoggerContext
from scalecore.api.trials import Epoch, Proposal, StudyView, TrialRecord

Event = Callable[[Logger], None]


class BackgroundLogger(Logger):
    """Forwards every event except `progress` to another logger, in order.

    Events wait in a queue. After an error the logger is closed and events are dropped for `pause` seconds. Then `make`
    creates a new logger, whose `study_started` receives the current state of the study. The first time that events are
    dropped, the user gets a warning with the command that writes the missing data.
    """

    capacity = 10_000
    """Maximum number of waiting events; further events are dropped."""
    pause = 5.0
    """Seconds until a failed logger is retried."""
    patience = 20.0
    """Seconds that the end of a run waits for the queue."""

    def __init__(self, make: Callable[[], Logger], *, name: str, context: LoggerContext, export: bool) -> None:
        """Call `make` once in the caller's thread, so that its exception ends the run before the first trial."""
        self._make = make
        self._logger: Logger | None = make()
        self._name = name
        self._repair = f"scalecore export {name} {shlex.quote(str(context.folder))}" if export else None
        self._events: deque[tuple[Event, StudyView | None]] = deque()
        self._remarks: deque[tuple[str, str]] = deque()
        self._changed = threading.Condition()
        self._closing = False
        self._warned = False
        self._thread = threading.Thread(target=self._work, name=f"scalecore-logger-{name}", daemon=True)
        self._thread.start()

    def study_started(self, study: StudyView) -> None:
        self._put(lambda logger: logger.study_started(study), study)

    def trial_started(self, number: int, proposal: Proposal, study: StudyView) -> None:
        self._put(lambda logger: logger.trial_started(number, proposal, study), study)

    def epoch(self, number: int, epoch: Epoch) -> None:
        self._put(lambda logger: logger.epoch(number, epoch))

    def trial_finished(self, record: TrialRecord, study: StudyView) -> None:
        self._put(lambda logger: logger.trial_finished(record, study), study)

    def message(self, level: str, text: str) -> None:
        self._put(lambda logger: logger.message(level, text))

    def study_finished(self, study: StudyView) -> None:
        self._put(lambda logger: logger.study_finished(study), study)
        self.close()  # now: the study collects remarks before it closes its loggers

    def take_remarks(self) -> Sequence[tuple[str, str]]:
        return [self._remarks.popleft() for _ in range(len(self._remarks))]

    def close(self) -> None:
        if self._closing:
            return
        with self._changed:
            self._closing = True
            self._changed.notify()
        self._thread.join(self.patience)
        if self._thread.is_alive():
            self._warn(f"is still writing {self.patience:g} s after the end of the run", over=True)

    def _put(self, event: Event, study: StudyView | None = None) -> None:
        with self._changed:
            if len(self._events) < self.capacity:
                self._events.append((event, study))
                self._changed.notify()
                return
        self._warn(f"is slower than the study: {self.capacity} events are waiting, further events are dropped")

    def _work(self) -> None:
        again, latest = 0.0, None
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._events or self._closing)
                if not self._events:
                    break
                event, study = self._events.popleft()
            latest = study or latest
            if time.monotonic() < again:
                continue
            try:
                if self._logger is None:
                    self._logger = self._make()
                    if latest is not None:
                        self._logger.study_started(latest)
                event(self._logger)
                self._remarks.extend(self._logger.take_remarks())
            except BaseException as error:  # SystemExit too would end this thread silently
                text = masked(message_of(error))
                self._warn(
                    f"failed: {text if isinstance(error, ScalecoreError) else f'{type(error).__name__}: {text}'}"
                )
                self._discard()
                again = time.monotonic() + self.pause
        self._discard()

    def _discard(self) -> None:
        logger, self._logger = self._logger, None
        if logger is not None:
            with suppress(BaseException):  # the first error is the one to report
                logger.close()

    def _warn(self, what: str, *, over: bool = False) -> None:
        if self._warned:
            return
        self._warned = True
        parts = [] if over else ["the study continues without it"]
        parts += [] if self._repair is None else [f"`{self._repair}` writes the missing data"]
        self._remarks.append(("warning", f"logger {self._name!r} {what}{'; ' if parts else ''}{', and '.join(parts)}"))
