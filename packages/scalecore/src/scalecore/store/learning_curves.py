"""The objective of a trial after each epoch, for strategies that prune and for views."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from scalecore.api.metrics import objective_value
from scalecore.execution.folder import AttemptFolder
from scalecore.store.asked_trial import AskedTrial
from scalecore.store.layout import StudyFolder


def reports_of(folder: StudyFolder, trial: AskedTrial, *, objective: Mapping[str, Any]) -> dict[int, float]:
    """Return the objective by epoch: of a finished trial from its record, else from the files of its attempts."""
    attempts = (AttemptFolder(folder.attempt(trial.number, index)) for index in range(len(trial.attempts)))
    lines: Iterable[Mapping[str, Any]] = (line for attempt in attempts for line in attempt.read_epochs(after=0))
    if trial.record is not None:
        lines = [dict(line) for line in trial.record.learning_curve]
    how = {name: objective[name] for name in ("metric", "direction")}
    found = {int(line["epoch"]): objective_value(line, **how) for line in lines}
    return {epoch: value for epoch, value in found.items() if value is not None}
