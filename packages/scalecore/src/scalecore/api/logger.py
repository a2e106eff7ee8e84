"""What a logger does at run time.

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
    """What a logger's factory is given besides its options: the study's folder and how much the user wants to see.

    `verbosity` is -1 for quiet, 0 for normal, 1 for verbose.
    """

    folder: Path
    verbosity: int = 0


class Logger:
    """Told what happens; a base class whose methods do nothing, to override where needed.

    Called in the driver, in this order: `study_started`; for each trial `trial_started`, `progress` about once a
    second, `epoch` after each epoch, `trial_finished`; `study_finished`; `close`, whatever happened before. A trial
    that was interrupted is started again with the same number in the next run. The journal holds everything before a
    logger is called, so a logger may rebuild what it writes from `study.trials` when the study starts. An exception is
    reported once and switches the logger off; the study continues and is marked degraded. A logger that prints messages
    where the run was started says so by an attribute, `prints = True`: where none is left, failures go to stderr.
    """

    def study_started(self, study: StudyView) -> None: ...

    def trial_started(self, number: int, proposal: Proposal, study: StudyView) -> None: ...

    def progress(self, progress: Progress) -> None: ...

    def epoch(self, number: int, epoch: Epoch) -> None: ...

    def trial_finished(self, record: TrialRecord, study: StudyView) -> None: ...

    def message(self, level: str, text: str) -> None:
        """Something the user should know: `level` is info, warning or error."""

    def take_remarks(self) -> Sequence[tuple[str, str]]:
        """What the logger itself wants the user to know since the last call, as pairs of level and text.

        Asked for about twenty times a second, and once after `study_finished`; all loggers get it as a `message`.
        """
        return ()

    def study_finished(self, study: StudyView) -> None: ...

    def close(self) -> None: ...
