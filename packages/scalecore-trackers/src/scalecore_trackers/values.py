"""The data of a trial that all trackers show, under the same names."""

from __future__ import annotations

import math
from collections.abc import Mapping
from datetime import datetime
from typing import Any

from attrs import frozen

from scalecore.api.space import Value
from scalecore.api.trials import Epoch, Proposal, StudyView, TrialRecord, TrialState

__all__ = ["EpochPoint", "facts", "outcome", "parameters", "point", "run_name", "seconds", "succeeded"]


@frozen
class EpochPoint:
    """A line of the learning curve."""

    epoch: int
    values: Mapping[str, float]
    """The finite numbers of the line."""
    seconds: float
    """Duration of the epoch."""


def point(line: Epoch) -> EpochPoint:
    """The data shown for a line of the learning curve."""
    took = float(line.get("train_seconds") or 0.0) + float(line.get("evaluation_seconds") or 0.0)
    return EpochPoint(int(line.get("epoch") or 0), _numbers(line), took)


def run_name(number: int) -> str:
    """`trial_0007`, as in the study's folder."""
    return f"trial_{number:04d}"


def parameters(study: StudyView, trial: Proposal | TrialRecord) -> dict[str, Value]:
    """Dimensions, number of parameters, and the values of the varied hyper-parameters."""
    space = study.experiment["search"].get("space") or {}
    used = trial.hyperparameters
    return {
        **trial.architecture.values,
        "num_parameters": trial.architecture.num_parameters,
        **{name: used[name] for name in space if name in used},
    }


def outcome(record: TrialRecord) -> dict[str, float]:
    """The trial's value, and `best/NAME` for each metric of its best epoch."""
    found = {f"best/{name}": value for name, value in _numbers(record.best.metrics if record.best else {}).items()}
    if record.value is not None:
        found["value"] = record.value
    if record.best is not None and record.best.epoch is not None:
        found["best/epoch"] = float(record.best.epoch)
    return found


def facts(record: TrialRecord) -> dict[str, Any]:
    """The trial's `state`, `reason`, `hash`, `seed` and the guards of its flags."""
    found: dict[str, Any] = {"state": str(record.state), "hash": record.hash, "seed": record.seed}
    if record.reason is not None:
        found["reason"] = record.reason
    if record.flags:
        found["flags"] = sorted({str(flag.guard) for flag in record.flags})
    return found


def succeeded(record: TrialRecord) -> bool:
    """Whether the trial has a value."""
    return record.state in (TrialState.COMPLETED, TrialState.PRUNED)


def seconds(time: str | None) -> float | None:
    """Convert a record's time to seconds since 1970."""
    return None if time is None else datetime.fromisoformat(time).timestamp()


def _numbers(line: Mapping[str, Any]) -> dict[str, float]:
    return {
        name: float(value)
        for name, value in line.items()
        if name != "epoch" and isinstance(value, int | float) and math.isfinite(value)
    }
