"""Loggers are isolated: a logger that raises at any time is reported and switched off."""

from __future__ import annotations

import errno
from pathlib import Path
from typing import Any

import pytest

from scalecore.api.components import LoggerRecord, NoOptions
from scalecore.api.errors import PluginError
from scalecore.api.logger import Logger, LoggerContext
from scalecore.config.resolved import ResolvedComponent
from scalecore.study.loggers import StudyLoggers


class Listening(Logger):
    """Records its calls."""

    def __init__(self) -> None:
        self.heard: list[str] = []
        self.closed = 0

    def message(self, level: str, text: str) -> None:
        self.heard.append(text)

    def close(self) -> None:
        self.closed += 1


def component(name: str, logger: Any) -> ResolvedComponent:
    record = LoggerRecord(name=name, summary="One.", factory=lambda options, context: logger)
    return ResolvedComponent(record=record, options=NoOptions(), provider="acme", version="1.0")


def study_loggers(folder: Path, **loggers: Any) -> StudyLoggers:
    return StudyLoggers([component(name, one) for name, one in loggers.items()], LoggerContext(folder=folder))


@pytest.mark.parametrize("error", [ValueError("disk"), SystemExit("disk")])
@pytest.mark.parametrize("where", ["study_finished", "close"])
def test_a_logger_that_raises_at_the_end_is_reported(tmp_path: Path, where: str, error: BaseException) -> None:
    """The last two calls are no exception: other loggers get the message, and `take_failures` returns it."""

    class Bad(Logger):
        def study_finished(self, study: Any) -> None:
            if where == "study_finished":
                raise error

        def close(self) -> None:
            if where == "close":
                raise error

    good = Listening()
    all_of_them = study_loggers(tmp_path, bad=Bad(), good=good)
    all_of_them.tell(lambda logger: logger.study_finished(None))  # type: ignore[arg-type]
    all_of_them.close()
    text = f"logger 'bad' raised {type(error).__name__}: disk; it is switched off, the study continues"
    assert all_of_them.take_failures() == [text]
    assert (good.heard, good.closed) == ([text], 1)


def test_a_logger_that_was_switched_off_is_closed(tmp_path: Path) -> None:
    """It may have an open file."""

    class Bad(Listening):
        def message(self, level: str, text: str) -> None:
            raise ValueError("full")

    bad = Bad()
    all_of_them = study_loggers(tmp_path, bad=bad)
    all_of_them.tell(lambda logger: logger.message("info", "one"))
    all_of_them.close()
    assert bad.closed == 1


def test_loggers_before_one_that_cannot_be_made_are_closed(tmp_path: Path) -> None:
    """A refused study leaves no open logger."""
    first = Listening()
    with pytest.raises(PluginError):
        study_loggers(tmp_path, first=first, second=object())
    assert first.closed == 1


def test_g48_what_a_logger_cannot_write_is_known_at_the_end(tmp_path: Path) -> None:
    """Some results of the run are missing then."""

    class Bad(Logger):
        def study_finished(self, study: Any) -> None:
            raise OSError(errno.ENOSPC, "No space left on device")

    all_of_them = study_loggers(tmp_path, bad=Bad())
    all_of_them.tell(lambda logger: logger.study_finished(None))  # type: ignore[arg-type]
    assert all_of_them.unwritten == ["logger 'bad' cannot write ([Errno 28] No space left on device)"]
