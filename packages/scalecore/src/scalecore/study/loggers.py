"""The loggers of a study, isolated from each other: a logger that raises is reported once and switched off."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from functools import partial

from scalecore.api.components import LoggerRecord
from scalecore.api.escaping import masked, message_of
from scalecore.api.files import is_disk_error
from scalecore.api.logger import Logger, LoggerContext
from scalecore.config.instantiate import create
from scalecore.config.resolved import ResolvedComponent
from scalecore.study.background_logger import BackgroundLogger


class StudyLoggers:
    """All loggers as one."""

    def __init__(self, components: Sequence[ResolvedComponent], context: LoggerContext) -> None:
        """Create the loggers. Raises the first `PluginError`, after closing the loggers created before it."""
        self._loggers: list[tuple[str, Logger]] = []
        self._all: list[tuple[str, Logger]] = []
        self._failures: list[str] = []
        self.unwritten: list[str] = []
        """Messages about files that loggers could not write because the disk is full or broken."""
        try:
            for component in components:
                self._all.append((component.use, _made(component, context)))
        except BaseException:
            self.close()
            raise
        self._loggers = list(self._all)

    def tell(self, what: Callable[[Logger], None]) -> None:
        """Call `what` with every logger that is not switched off."""
        for name, logger in list(self._loggers):
            try:
                what(logger)
            except (Exception, SystemExit) as error:
                self._loggers.remove((name, logger))
                said = f"{type(error).__name__}: {masked(message_of(error))}"
                text = f"logger {name!r} raised {said}; it is switched off, the study continues"
                self._failures.append(text)
                if is_disk_error(error) and not getattr(logger, "prints", False):
                    self.unwritten.append(f"logger {name!r} cannot write ({masked(message_of(error))})")
                for _, other in self._loggers:
                    _quietly(lambda other=other, text=text: other.message("warning", text))  # type: ignore[misc]
                if not any(getattr(other, "prints", False) for _, other in self._loggers):
                    _quietly(lambda text=text: print(f"warning: {text}", file=sys.stderr, flush=True))  # type: ignore[misc]

    def take_failures(self) -> list[str]:
        """Return a message for each logger that was switched off since the last call."""
        taken, self._failures = self._failures, []
        return taken

    def take_remarks(self) -> list[tuple[str, str]]:
        """Return messages of the loggers for the user, as level and text; a raise is handled as in `tell`."""
        remarks: list[tuple[str, str]] = []
        self.tell(lambda logger: remarks.extend(logger.take_remarks()))
        return remarks

    def close(self) -> None:
        """Close every logger, also those that were switched off; one that raises is reported as in `tell`."""
        off = [logger for pair in self._all if pair not in self._loggers for logger in pair[1:]]
        self.tell(lambda logger: logger.close())
        for logger in off:
            _quietly(lambda logger=logger: logger.close())  # type: ignore[misc]


def _made(component: ResolvedComponent, context: LoggerContext) -> Logger:
    record, make = component.record, partial(create, "logger", component, context)
    assert isinstance(record, LoggerRecord)
    if not record.background:
        return make()  # type: ignore[no-any-return]
    return BackgroundLogger(make, name=component.use, context=context, export=record.export)


def _quietly(function: Callable[[], None]) -> None:
    try:
        function()
    except (Exception, SystemExit):
        return  # reported through `tell`, before or after
