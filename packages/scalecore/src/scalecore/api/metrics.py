"""The metrics of each task, and the better direction of each.

`val_loss` has one definition per task, whatever the training loss of the trial: cross-entropy in nats, or the squared
error of the forecast.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

SMALL_IS_GOOD = ("val_loss", "train_loss", "val_training_loss", "brier", "mae", "rmse", "pinball")
LARGE_IS_GOOD = ("accuracy", "auc", "pr_auc", "precision", "recall", "f1", "sign_accuracy", "r2")
SHARES = ("accuracy", "auc", "pr_auc", "precision", "recall", "f1", "sign_accuracy", "coverage")
"""Metrics from 0 to 1 that are undefined if the denominator is 0."""
_LOSSES = ("val_loss", "train_loss")
_CLASSES = ("accuracy", "auc", "brier", "f1", "pr_auc", "precision", "recall")
MEASURED: Mapping[str, tuple[str, ...]] = {
    "binary": (*_CLASSES, *_LOSSES),
    "multiclass": (*_CLASSES, *_LOSSES),
    "forecast": ("mae", "r2", "rmse", "sign_accuracy", *_LOSSES),
}
"""The scalar metrics of every epoch of a task, in addition to those of its loss; the trainer's tests verify this."""
TASK_NAMES: Mapping[str, str] = {"binary": "a binary task", "multiclass": "several classes", "forecast": "a forecast"}


def direction_problem(*, metric: str, direction: str) -> str | None:
    """Return why `direction` would rank the worst trial by `metric` first, or None if it is right.

    `coverage` and metrics of plugins have no known direction and are accepted.
    """
    right = "minimize" if metric in SMALL_IS_GOOD else "maximize" if metric in LARGE_IS_GOOD else direction
    if direction == right:
        return None
    better = "smaller" if right == "minimize" else "larger"
    return f"a {better} {metric} is better, so {direction} would rank the worst trial first; set {right}"


def objective_value(line: Mapping[str, Any], *, metric: str, direction: str) -> float | None:
    """Return the objective of an epoch, a line of the learning curve; None if it lacks the metric.

    An undefined share, such as the precision of an epoch in which no window is predicted positive, counts as the worst
    possible value: the epoch is not a failure and ranks last.
    """
    value = line.get(metric)
    if value is None and metric in line and metric in SHARES:
        return 0.0 if direction == "maximize" else 1.0
    return None if value is None else float(value)
