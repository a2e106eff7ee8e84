"""Compute the task's loss and metrics from validation outputs, in numpy.

For trainers that return outputs and leave the metrics to the core. The definitions equal those of `scalecore_torch`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from scalecore.data.regression import cross_entropies, probabilities

MEASURES: Mapping[str, tuple[str, ...]] = {
    "binary": ("val_loss", "accuracy", "auc", "brier", "confusion_matrix", "predictions"),
    "multiclass": ("val_loss", "accuracy", "auc", "brier", "confusion_matrix", "predictions"),
    "forecast": ("val_loss", "mae", "rmse", "sign_accuracy", "r2", "predictions"),
}
"""Names of the results of `measures`, by task."""

Floats = npt.NDArray[np.floating[Any]]
Doubles = npt.NDArray[np.float64]


def losses_of(outputs: Floats, labels: Floats, *, task: str) -> Doubles:
    """Return the losses [windows] with mean `val_loss`: cross-entropy in nats, or squared error of the first output."""
    wide = outputs.astype(np.float64)
    if task == "forecast":
        squares: Doubles = (wide[:, 0] - labels.astype(np.float64)) ** 2
        return squares
    return cross_entropies(wide, labels.astype(np.int64))


def measures(outputs: Floats, labels: Floats, *, task: str) -> dict[str, Any]:
    """Compute all `MEASURES` of outputs [windows, outputs], logits or forecasts; undefined metrics are None."""
    with np.errstate(invalid="ignore"):
        found: dict[str, Any] = {"val_loss": float(losses_of(outputs, labels, task=task).mean())}
    if not np.isfinite(outputs).all():
        return found  # the training has diverged; other metrics are undefined
    wide = outputs.astype(np.float64)
    return found | (_of_forecast(wide[:, 0], labels) if task == "forecast" else _of_classes(wide, labels))


def area_under_roc(scores: Floats, positive: npt.NDArray[np.bool_]) -> float | None:
    """Return the Mann-Whitney U of mean ranks as a share; None for one class."""
    positives = int(positive.sum())
    negatives = len(positive) - positives
    if not positives or not negatives:
        return None
    _, place, counts = np.unique(scores, return_inverse=True, return_counts=True)
    ranks = np.cumsum(counts) - (counts - 1) / 2
    return float((ranks[place][positive].sum() - positives * (positives + 1) / 2) / (positives * negatives))


def _of_forecast(forecast: Doubles, labels: Floats) -> dict[str, Any]:
    truth = labels.astype(np.float64)
    error, spread = forecast - truth, truth.var()
    return {
        "mae": float(np.abs(error).mean()),
        "rmse": float(np.sqrt((error**2).mean())),
        "sign_accuracy": float((np.sign(forecast) == np.sign(truth)).mean()),
        "r2": float(1 - (error**2).mean() / spread) if spread > 0 else None,
        "predictions": _spread(forecast),
    }


def _of_classes(logits: Doubles, labels: Floats) -> dict[str, Any]:
    truth, chances = labels.astype(np.int64), probabilities(logits)
    if chances.shape[1] == 1:
        chances = np.column_stack([1 - chances, chances])
        # Exactly 0.5 is class 1, as in the trainer `torch`.
        predicted = (chances[:, 1] >= 0.5).astype(np.int64)
        area, shown = area_under_roc(logits[:, 0], truth == 1), chances[:, 1]
        brier = float(((chances[:, 1] - truth) ** 2).mean())
    else:
        predicted, shown = chances.argmax(axis=1), chances.max(axis=1)
        areas = [area_under_roc(chances[:, one], truth == one) for one in range(chances.shape[1])]
        known = [one for one in areas if one is not None]
        area = sum(known) / len(known) if known else None
        brier = float(((chances - np.eye(chances.shape[1])[truth]) ** 2).sum(axis=1).mean())
    matrix = np.zeros((chances.shape[1],) * 2, dtype=np.int64)
    np.add.at(matrix, (truth, predicted), 1)
    two = logits.shape[1] == 1
    cells = dict(zip(("tn", "fp", "fn", "tp"), matrix.ravel().tolist(), strict=True)) if two else matrix.tolist()
    spread = _spread(shown)
    if not two:
        spread["most_common_share"] = float(matrix.sum(axis=0).max() / matrix.sum())
    return {
        "accuracy": float((predicted == truth).mean()),
        "auc": area,
        "brier": brier,
        "confusion_matrix": cells,
        "predictions": spread,
    }


def _spread(values: Doubles) -> dict[str, float]:
    return {
        "min": float(values.min()),
        "max": float(values.max()),
        "mean": float(values.mean()),
        "std": float(values.std()),
    }
