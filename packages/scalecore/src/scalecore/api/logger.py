"""The base class of loggers.

The *driver* is the process of `scalecore run`: it owns the study and never imports torch.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from attrs import frozen

if TYPE_CHECKING:
    from scalecore.api.trials import Epoch, Progress, Proposal, StudyView, TrialRecord

__all__ = ["Logger", "LoggerContext"]


@frozen(kw_only=True)
class LoggerContext:
    """The second argument of a logger's factory: the study's folder, and the verbosity of the command.

    `verbosity` is -1 for quiet, 0 for normal, 1 for verbose; -2 if the command prints JSON, so that stdout must have
    nothing else.
    """

    folder: Path
    verbosity: int = 0


class Logger:
    """Receives the events of a study. All methods do nothing by default; override those you need.

    The driver calls, in this order: `study_started`; for each trial `trial_started`, `progress` about once a second,
    `epoch` after each epoch, `trial_finished`; `study_finished`; and finally `close`, also after an error. The next run
    restarts an interrupted trial with the same number.

    A run that trains after the search, such as a confirmation, makes the same calls with `study.retraining` set; its
    records have `retrained`, and `study.trials` does not contain them.

    The journal contains every event before a logger receives it. A logger may therefore rebuild its output from
    `study.trials` in `study_started`. An exception is reported once and switches the logger off; the study continues
    and is marked as degraded.

    A logger that prints messages to the terminal sets the attribute `prints = True`. If no such logger is left, the
    driver prints failures to stderr.
    """

    def study_started(self, study: StudyView) -> None: ...

    def trial_started(self, number: int, proposal: Proposal, study: StudyView) -> None: ...

    def progress(self, progress: Progress) -> None: ...

    def epoch(self, number: int, epoch: Epoch) -> None: ...

    def trial_finished(self, record: TrialRecord, study: StudyView) -> None: ...

    def message(self, level: str, text: str) -> None:
        """Receive a message for the user; `level` is `info`, `warning` or `error`."""

    def take_remarks(self) -> Sequence[tuple[str, str]]:
        """Return the logger's own messages since the last call, as pairs of level and text.

        Called about twenty times a second, and once after `study_finished`. All loggers receive each as a `message`.
        """
        return ()

    def study_finished(self, study: StudyView) -> None: ...

    def close(self) -> None: ...
