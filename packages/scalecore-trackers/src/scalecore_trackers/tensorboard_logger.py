"""Logger `tensorboard`: event files in a folder for each trial."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

from attrs import define

from scalecore.api.files import read_json, write_json
from scalecore.api.logger import LoggerContext
from scalecore.api.trials import Proposal, StudyView, TrialRecord
from scalecore_trackers.event_files import EventFile
from scalecore_trackers.options import TensorboardOptions
from scalecore_trackers.trial_runs import OpenRun, TrialRuns
from scalecore_trackers.values import EpochPoint, outcome, parameters, run_name, seconds, succeeded

__all__ = ["TensorboardLogger"]

MARKER = "scalecore.json"
"""The file in the folder of a complete trial with the study's id, the trial's number and its hash."""


@define
class _TensorBoardRun(OpenRun):
    file: EventFile
    at: float | None
    """End of the latest epoch in seconds since 1970, the sum of the start and the epochs' durations."""
    marker: Path
    study: str

    def write(self, point: EpochPoint) -> None:
        self.at = None if self.at is None else self.at + point.seconds
        self.file.scalars(point.values, step=point.epoch, at=self.at)
        self.file.flush()

    def finish(self, record: TrialRecord) -> None:
        over, found = seconds(record.ended), outcome(record)
        if found:
            self.file.scalars(found, step=int(found.get("best/epoch", 0)), at=over)
        self.file.end(success=succeeded(record), at=over)
        self.file.close()
        write_json(self.marker, _content(self.study, record), durable=False)

    def close(self) -> None:
        self.file.close()


class TensorboardLogger(TrialRuns):
    """Writes a new file for each rewrite of a trial."""

    def __init__(self, options: TensorboardOptions, context: LoggerContext) -> None:
        super().__init__()
        self._path = options.path
        self._columns: dict[str, type] = {}

    def begin(self, study: StudyView, number: int, trial: Proposal | TrialRecord) -> OpenRun:
        folder, shown = self._root(study) / run_name(number), parameters(study, trial)
        at = seconds(trial.started) if isinstance(trial, TrialRecord) else time.time()
        file = EventFile(folder)
        file.start(run_name(number), shown, at=at)
        self._describe(study, {name: type(value) for name, value in shown.items()})
        return _TensorBoardRun(file, at, folder / MARKER, study.id)

    def is_complete(self, study: StudyView, record: TrialRecord) -> bool:
        folder = self._root(study) / run_name(record.number)
        there = any(folder.glob("events.out.tfevents.*"))
        return there and read_json(folder / MARKER) == _content(study.id, record)

    def _root(self, study: StudyView) -> Path:
        return study.folder / "tensorboard" if self._path is None else self._path / study.name

    def _describe(self, study: StudyView, found: dict[str, type]) -> None:
        """Write the columns of the table of hyper-parameters if there are new ones."""
        if found.keys() <= self._columns.keys():
            return
        self._columns |= found
        file = EventFile(self._root(study))
        file.columns(self._columns, {"value": study.experiment["objective"]["metric"], "best/epoch": "best epoch"})
        file.close()


def _content(study: str, record: TrialRecord) -> dict[str, Any]:
    return {"study": study, "trial": record.number, "hash": record.hash}
