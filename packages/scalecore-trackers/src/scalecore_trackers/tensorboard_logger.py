"""Logger `tensorboard`: event files, one folder a trial, which grow while it runs."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path

from attrs import define, field

from scalecore.api.files import read_json, write_json
from scalecore.api.protocols import LoggerContext
from scalecore.api.space import Value
from scalecore.api.trials import Epoch, RestoredTrial, StudyView, TrialRecord, TrialState
from scalecore.study.following import Follower, StudyNow
from scalecore_trackers.event_files import EventFile, columns, new_name, session_end, session_start, whole_file
from scalecore_trackers.options import TensorboardOptions
from scalecore_trackers.values import numbers, outcome, parameters, run_name, seconds, spent

__all__ = ["TensorboardLogger"]


WHOLE = "scalecore.json"
"""In the folder of a trial whose last file is whole, with the trial's hash."""


@define
class _Live:
    """The file of a running trial."""

    file: EventFile
    at: float
    """Seconds since 1970 at which the next line begins; lines that come together are as far apart as they took."""
    written: list[tuple[int, dict[str, float]]] = field(factory=list)

    def add(self, lines: Sequence[Epoch]) -> None:
        for line in lines[len(self.written) :]:
            epoch, values = _point(line)
            self.at += spent(line)
            self.file.scalars(values, step=epoch, at=self.at)
            self.written.append((epoch, values))

    def continues_as(self, lines: Sequence[Epoch]) -> bool:
        """Whether adding what is missing makes exactly this curve: an epoch may have been trained twice."""
        return self.written == [_point(line) for line in lines[: len(self.written)]]


class TensorboardLogger(Follower):
    """A file grows while its trial runs. One that cannot be gone on with, after a kill for one, is followed by another
    that tells every reader of TensorBoard to drop what came before; it is deleted by the next run, since a TensorBoard
    that is watching never gets over the loss of the file that it reads.
    """

    def __init__(self, options: TensorboardOptions, context: LoggerContext) -> None:
        super().__init__("tensorboard")
        self._path = options.path
        self._folder = context.folder / "tensorboard"
        self._live: dict[int, _Live] = {}
        self._whole: set[int] = set()
        self._columns: dict[str, type] | None = None

    def study_started(self, study: StudyView) -> None:
        if self._path is not None:
            self._folder = self._path / study.name
        super().study_started(study)

    def bring_in_line(self, now: StudyNow) -> None:
        for record in now.study.trials:
            if record.number not in self._whole:
                self._finish(now.study, record)
                self._whole.add(record.number)
        for trial in now.study.unfinished:
            if trial.number in now.study.running:
                self._grow(now, trial)
        self._describe(now.study)

    def forget(self) -> None:
        live, self._live, self._whole, self._columns = self._live, {}, set(), None
        for one in live.values():
            one.file.close()

    def _finish(self, study: StudyView, record: TrialRecord) -> None:
        folder = self._folder / run_name(record.number)
        marker = folder / WHOLE
        live = self._live.pop(record.number, None)
        if (read_json(marker) or {}).get("hash") == record.hash:
            _drop_former(folder)
            return
        curve = record.learning_curve
        if live is not None and live.continues_as(curve):
            live.add(curve)
            _write_end(live.file, record)
            live.file.close()
        else:
            if live is not None:
                live.file.close()
            with whole_file(folder) as file:
                file.restart()
                _write_trial(file, study, record)
        write_json(marker, {"study": study.id, "trial": record.number, "hash": record.hash}, durable=False)

    def _grow(self, now: StudyNow, trial: RestoredTrial) -> None:
        curve = now.curve(trial.number)
        live = self._live.get(trial.number)
        if live is None:
            folder = self._folder / run_name(trial.number)
            folder.mkdir(parents=True, exist_ok=True)
            begun = time.time() - sum(spent(line) for line in curve)
            live = self._live[trial.number] = _Live(EventFile(folder / new_name()), at=begun)
            live.file.restart()
            proposal = trial.proposal
            shown = parameters(now.study, proposal.architecture, proposal.hyperparameters)
            session_start(run_name(trial.number), shown, at=begun)(live.file)
        live.add(curve)
        live.file.flush()

    def _describe(self, study: StudyView) -> None:
        """The columns of the table of hyper-parameters, anew where the space is another one."""
        shown = [parameters(study, one.architecture, one.hyperparameters) for one in study.trials]
        proposals = [trial.proposal for trial in study.unfinished]
        shown += [parameters(study, one.architecture, one.hyperparameters) for one in proposals]
        found = {name: type(value) for values in shown for name, value in values.items()}
        if not found or found == self._columns:
            return
        if self._columns is None:
            _drop_former(self._folder)
        titles = {"value": study.experiment["objective"]["metric"], "best/epoch": "best epoch"}
        with whole_file(self._folder) as file:
            file.restart()
            columns(found, titles)(file)
        self._columns = found


def _drop_former(folder: Path) -> None:
    """Delete what the last file of a folder has made void."""
    for path in sorted(folder.glob("events.out.tfevents.*"))[:-1]:
        path.unlink()


def _write_trial(file: EventFile, study: StudyView, record: TrialRecord) -> None:
    """The whole of a finished trial; epochs at the times at which they ended, as far as that is known."""
    begun = at = seconds(record.started)
    shown: dict[str, Value] = parameters(study, record.architecture, record.hyperparameters)
    session_start(run_name(record.number), shown, at=begun)(file)
    for line in record.learning_curve:
        at = None if at is None else at + spent(line)
        file.scalars(numbers(line), step=int(line["epoch"] or 0), at=at)
    _write_end(file, record)


def _write_end(file: EventFile, record: TrialRecord) -> None:
    """What the trial came to, at its best epoch."""
    over, found = seconds(record.ended), outcome(record)
    if found:
        file.scalars(found, step=int(found.get("best/epoch", 0)), at=over)
    session_end(success=record.state in (TrialState.COMPLETED, TrialState.PRUNED), at=over)(file)


def _point(line: Epoch) -> tuple[int, dict[str, float]]:
    """The epoch and numbers of a line of the learning curve."""
    return int(line["epoch"] or 0), numbers(line)
