"""What all trackers show of a trial, under the same names."""

from __future__ import annotations

import math
from collections.abc import Mapping
from datetime import datetime
from typing import Any

from scalecore.api.space import Architecture, Value
from scalecore.api.trials import Epoch, StudyView, TrialRecord

__all__ = ["numbers", "outcome", "parameters", "run_name", "seconds", "spent"]


def run_name(number: int) -> str:
    """`trial_0007`, as in the study's folder."""
    return f"trial_{number:04d}"


def parameters(study: StudyView, architecture: Architecture, used: Mapping[str, Value]) -> dict[str, Value]:
    """Dimensions, counted parameters, and the hyper-parameters that the study varies, as far as they are known."""
    space = study.experiment["search"].get("space") or {}
    return {
        **architecture.values,
        "num_parameters": architecture.num_parameters,
        **{name: used[name] for name in space if name in used},
    }


def numbers(line: Epoch | Mapping[str, Any]) -> dict[str, float]:
    """The finite numbers of a line of the learning curve but for its epoch; what is missing is left out."""
    return {
        name: float(value)
        for name, value in line.items()
        if name != "epoch" and isinstance(value, int | float) and math.isfinite(value)
    }


def outcome(record: TrialRecord) -> dict[str, float]:
    """What the trial came to: its value, and `best/NAME` for each metric of its best epoch."""
    found = {f"best/{name}": value for name, value in numbers(record.best or {}).items()}
    if record.value is not None:
        found["value"] = record.value
    if record.best is not None and record.best.get("epoch") is not None:
        found["best/epoch"] = float(record.best["epoch"])
    return found


def seconds(time: str | None) -> float | None:
    """A time of a record as seconds since 1970."""
    return None if time is None else datetime.fromisoformat(time).timestamp()


def spent(line: Epoch | Mapping[str, Any]) -> float:
    """Seconds that an epoch took."""
    return float(line.get("train_seconds") or 0.0) + float(line.get("evaluation_seconds") or 0.0)
