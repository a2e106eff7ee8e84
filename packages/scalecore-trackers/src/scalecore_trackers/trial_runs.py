"""The base of all trackers: a run for each trial, which grows while the trial runs."""

from __future__ import annotations

from abc import ABC, abstractmethod

from attrs import define, field

from scalecore.api.logger import Logger
from scalecore.api.trials import Epoch, Proposal, StudyView, TrialRecord
from scalecore_trackers.values import EpochPoint, point

__all__ = ["OpenRun", "TrialRuns"]


@define
class OpenRun(ABC):
    """A run of a trial in progress."""

    logged: list[EpochPoint] = field(factory=list, init=False)
    """The epochs written so far."""

    def log(self, line: Epoch) -> None:
        """Add a line of the learning curve."""
        self.write(point(line))
        self.logged.append(point(line))

    @abstractmethod
    def write(self, point: EpochPoint) -> None:
        """Add an epoch."""

    @abstractmethod
    def finish(self, record: TrialRecord) -> None:
        """Add the trial's outcome, and close the run as complete."""

    @abstractmethod
    def close(self) -> None:
        """Close the run of a trial that was interrupted."""


class TrialRuns(Logger, ABC):
    """Keeps each finished trial's run equal to its record.

    The run of an interrupted trial, or with an epoch trained twice, is replaced when the trial ends. `study_started`
    writes all missing or incomplete runs of finished trials: a resumed study has each run once, and `scalecore export`
    needs no other method.
    """

    def __init__(self) -> None:
        self._open: dict[int, OpenRun] = {}

    @abstractmethod
    def begin(self, study: StudyView, number: int, trial: Proposal | TrialRecord) -> OpenRun:
        """Create a run that replaces all existing ones of this trial."""

    @abstractmethod
    def is_complete(self, study: StudyView, record: TrialRecord) -> bool:
        """Whether the run of a finished trial exists and is complete."""

    def study_started(self, study: StudyView) -> None:
        for record in (*study.trials, *study.confirmations, *study.finals):
            self.write_trial(record, study)

    def trial_started(self, number: int, proposal: Proposal, study: StudyView) -> None:
        self._open[number] = self.begin(study, number, proposal)

    def epoch(self, number: int, epoch: Epoch) -> None:
        if number in self._open:
            self._open[number].log(epoch)

    def trial_finished(self, record: TrialRecord, study: StudyView) -> None:
        self.write_trial(record, study)

    def write_trial(self, record: TrialRecord, study: StudyView) -> None:
        """Write the run of a finished trial unless it is complete."""
        run = self._open.get(record.number)
        if run is None and self.is_complete(study, record):
            return
        curve = record.learning_curve
        if run is not None and run.logged != [point(line) for line in curve[: len(run.logged)]]:
            run.close()
            run = None
        if run is None:
            run = self._open[record.number] = self.begin(study, record.number, record)
        for line in curve[len(run.logged) :]:
            run.log(line)
        run.finish(record)
        del self._open[record.number]

    def study_finished(self, study: StudyView) -> None:
        self.close()

    def close(self) -> None:
        opened, self._open = self._open, {}
        for run in opened.values():
            run.close()
