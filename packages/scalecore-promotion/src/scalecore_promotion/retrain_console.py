"""Console output of a retraining: a line at the start and end of each training, and its progress."""

from __future__ import annotations

import time

import click

from scalecore.api import formatting
from scalecore.api.components import LoggerRecord, NoOptions
from scalecore.api.engine import ResolvedComponent
from scalecore.api.escaping import without_guards
from scalecore.api.logger import Logger, LoggerContext
from scalecore.api.trials import Epoch, Progress, Proposal, StudyView, TrialRecord, TrialState

EVERY = 10.0
"""Seconds between two progress lines."""


def console_logger(title: str) -> ResolvedComponent:
    """The only logger of a retraining: the study's loggers would mix its trainings with the search's trials."""
    record = LoggerRecord(
        name="retraining",
        summary="Print the progress of a retraining.",
        factory=lambda _, context: _RetrainConsole(title, context),
    )
    return ResolvedComponent(record=record, options=NoOptions(), provider="scalecore", version="")


class _RetrainConsole(Logger):
    prints = True

    def __init__(self, title: str, context: LoggerContext) -> None:
        self._title = title
        self._verbosity = context.verbosity
        self._labels: dict[int, str] = {}
        self._due = 0.0

    def study_started(self, study: StudyView) -> None:
        done = len(study.trials)
        finished = f", {done} finished already" if done else ""
        trainings = "1 training" if study.total == 1 else f"{study.total} trainings"
        self._say(f"{self._title}: {trainings}{finished}; in {study.folder}")

    def trial_started(self, number: int, proposal: Proposal, study: StudyView) -> None:
        self._labels[number] = proposal.origin.label or f"training {number}"
        self._due = time.monotonic() + EVERY
        shown = f"{formatting.shape(proposal.architecture)} {formatting.settings(proposal.hyperparameters)}".strip()
        self._say(f"{self._labels[number]} starts: {shown}")

    def epoch(self, number: int, epoch: Epoch) -> None:
        if self._verbosity > 0:
            self._say(
                f"  epoch {epoch['epoch']}: train_loss={formatting.number(epoch['train_loss'])} "
                f"val_loss={formatting.number(epoch['val_loss'])}"
            )

    def progress(self, progress: Progress) -> None:
        if time.monotonic() < self._due:
            return
        self._due = time.monotonic() + EVERY
        readings = ", ".join(f"{name} {text}" for name, text in progress.readings.items())
        self._say(
            f"  {self._labels.get(progress.number, progress.number)}, {progress.phase}, "
            f"epoch {formatting.count_of(progress.epoch, progress.epochs)}, "
            f"step {formatting.count_of(progress.step, progress.steps_per_epoch)}; time left "
            f"{formatting.duration(progress.study_seconds_left)}, {readings}"
        )

    def trial_finished(self, record: TrialRecord, study: StudyView) -> None:
        metric = study.experiment["objective"]["metric"]
        label = record.origin.label or f"training {record.number}"
        if record.state is TrialState.COMPLETED:
            self._say(f"{label}: {metric}={formatting.number(record.value)} in {formatting.duration(record.duration)}")
        else:
            self._say(f"{label}: {record.state}" + (f" ({record.reason})" if record.reason else ""))

    def message(self, level: str, text: str) -> None:
        if level != "info":
            click.echo(without_guards(f"{level}: {text}"))
        else:
            self._say(text)

    def _say(self, text: str) -> None:
        if self._verbosity >= 0:
            click.echo(without_guards(text))
