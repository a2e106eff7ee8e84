"""What is measured of a trial, by task, and which way each metric is better.

`val_loss` is one number per task, the same for every trial whatever it was trained with: cross-entropy in nats, or the
squared error of the forecast.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

SMALL_IS_GOOD = ("val_loss", "train_loss", "val_training_loss", "brier", "mae", "rmse", "pinball")
LARGE_IS_GOOD = ("accuracy", "auc", "pr_auc", "precision", "recall", "f1", "sign_accuracy", "r2")
SHARES = ("accuracy", "auc", "pr_auc", "precision", "recall", "f1", "sign_accuracy", "coverage")
"""From 0 to 1, and not defined where there is nothing to take a share of."""
_LOSSES = ("val_loss", "train_loss")
_CLASSES = ("accuracy", "auc", "brier", "f1", "pr_auc", "precision", "recall")
MEASURED: Mapping[str, tuple[str, ...]] = {
    "binary": (*_CLASSES, *_LOSSES),
    "multiclass": (*_CLASSES, *_LOSSES),
    "forecast": ("mae", "r2", "rmse", "sign_accuracy", *_LOSSES),
}
"""What every epoch of a task has as one number, beside what its loss adds; the trainer's tests hold it to that."""
TASK_NAMES: Mapping[str, str] = {"binary": "a binary task", "multiclass": "several classes", "forecast": "a forecast"}


def direction_problem(*, metric: str, direction: str) -> str | None:
    """Why ranking by `metric` in this direction would make the worst trial the best, or None.

    Of `coverage` and of what is no metric of ours nothing is known.
    """
    right = "minimize" if metric in SMALL_IS_GOOD else "maximize" if metric in LARGE_IS_GOOD else direction
    if direction == right:
        return None
    better = "smaller" if right == "minimize" else "larger"
    return f"of {metric} the {better} is the better, and {direction} would rank the worst trial first; set {right}"


def objective_value(line: Mapping[str, Any], *, metric: str, direction: str) -> float | None:
    """What an epoch, a line of the learning curve, counts as for the objective; None where it has no such metric.

    A share of nothing, such as the precision of an epoch in which no window is predicted positive, is the worst that a
    share can be: the epoch is no failure, and no other one loses to it.
    """
    value = line.get(metric)
    if value is None and metric in line and metric in SHARES:
        return 0.0 if direction == "maximize" else 1.0
    return None if value is None else float(value)
