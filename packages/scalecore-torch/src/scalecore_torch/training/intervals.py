"""Confidence intervals of all metrics of a split, by the same method as those of the baselines (guards G02, G18).

A metric that is no mean, such as an area, is treated as the mean of the windows' influences: how the metric changes
with the weight of each window (infinitesimal jackknife, Efron 1982; for the area under the ROC this is the method of
DeLong, DeLong and Clarke-Pearson 1988). As a series in time the influences are as dependent as losses are.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import torch
from attrs import evolve
from torch import Tensor

from scalecore.api.record_parts import MetricInterval
from scalecore.api.statistics import (
    LEVEL,
    METHOD,
    NOT_NEGATIVE,
    denominator,
    half_width,
    interval_around,
    mean_errors,
    too_few,
    wilson,
)
from scalecore_torch.training.tasks import Task

FEW = 20
"""Independent windows of a rate below which its estimated variance is unreliable."""
FEW_OF_CLASS = 5
"""Independent windows of the rarest class below which areas and F1 have no interval."""
ROUNDING = 1e-12
"""Half width below which derivatives differ from 0 by rounding only."""
RATES = ("accuracy", "precision", "recall", "sign_accuracy", "coverage")
OF_CLASSES = ("auc", "pr_auc", "f1")
BOUNDS = {
    **dict.fromkeys((*RATES, *OF_CLASSES), (0.0, 1.0)),
    **dict.fromkeys(("val_loss", "mae", "rmse", "pinball", "brier"), NOT_NEGATIVE),
    "r2": (-math.inf, 1.0),
}

Found = tuple[dict[str, Any], dict[str, str]]


def metric_intervals(task: Task, outputs_NC: Tensor, labels_N: Tensor, *, overlap: int) -> Found:
    """95 % intervals of `val_loss` and of each metric, as JSON, and for those without one (None) the reason.

    `overlap` is the label's span. All trials of a data set and the baselines use the same number of cosines, so that
    intervals are comparable. No interval exceeds the bounds of its metric.

    The interval of a rate has the rate's number of windows as `denominator`. If the windows are few, or all or none of
    them are hits, it is extended by Wilson's interval for the equivalent number of independent windows (guard G19).
    Precision therefore has an interval whenever it has a value. Areas and F1 have none if a class has few windows.
    """
    windows = len(labels_N)
    values, influences_KN = _influences(task, outputs_NC, labels_N)
    if (why := too_few(windows, overlap=overlap)) is not None:
        return dict.fromkeys(values), dict.fromkeys(values, why)
    errors_KB = mean_errors(influences_KN.numpy(), overlap=overlap)
    matrix = task.details(outputs_NC, labels_N).get("confusion_matrix")
    rarest = _rarest(matrix) / max(1, overlap)
    intervals: dict[str, Any] = {}
    reasons: dict[str, str] = {}
    for (name, value), half in zip(values.items(), half_width(errors_KB).tolist(), strict=True):
        found: MetricInterval | str | None
        if math.isnan(value):
            found = f"{name} is undefined on these windows"
        elif name in RATES:
            count = windows if name in ("sign_accuracy", "coverage") else denominator(name, matrix) or 0
            found = _of_rate(value, half, count=count, overlap=overlap, cosines=errors_KB.shape[1])
        elif name in OF_CLASSES and rarest < FEW_OF_CLASS:
            found = f"{rarest:.3g} independent windows of the rarest class, fewer than {FEW_OF_CLASS}"
        elif name in OF_CLASSES and half < ROUNDING:
            found = "the metric has no variation over these windows"
        else:
            found = interval_around(value, half, bounds=BOUNDS[name], cosines=errors_KB.shape[1])
        if isinstance(found, MetricInterval):
            intervals[name] = found.plain()
        else:
            intervals[name], reasons[name] = None, found or "its value is the limit of the metric"
    return intervals, reasons


def _influences(task: Task, outputs_NC: Tensor, labels_N: Tensor) -> tuple[dict[str, float], Tensor]:
    """The value of each metric, NaN if undefined, and its influences [metrics, windows], 0 if undefined."""
    losses_N = task.losses(outputs_NC, labels_N).double()
    weights_N = torch.ones(len(labels_N), dtype=torch.float64, requires_grad=True)
    with torch.enable_grad():
        metrics = task.measure(outputs_NC, labels_N)(weights_N)
    values, rows = {"val_loss": float(losses_N.mean())}, [losses_N - losses_N.mean()]
    for name, metric in metrics.items():
        values[name] = float(metric.detach())
        (slope_N,) = torch.autograd.grad(metric, weights_N, retain_graph=True)
        rows.append(torch.zeros_like(slope_N) if math.isnan(values[name]) else slope_N.nan_to_num() * len(labels_N))
    return values, torch.stack(rows)


def _rarest(matrix: Mapping[str, int] | list[list[int]] | None) -> float:
    """The windows in the rarest class that occurs, or outside of it; infinite without classes."""
    if matrix is None:
        return math.inf
    if isinstance(matrix, Mapping):
        return min(matrix["tp"] + matrix["fn"], matrix["tn"] + matrix["fp"])
    counts = [sum(row) for row in matrix]
    return min(min(count, sum(counts) - count) for count in counts if count)


def _of_rate(value: float, half: float, *, count: int, overlap: int, cosines: int) -> MetricInterval | None:
    """`count` is the denominator. A mean over classes counts as a rate of the rarest class, which is conservative."""
    found = interval_around(value, half, bounds=(0.0, 1.0), cosines=cosines)
    if found is None or half < ROUNDING or count < FEW * max(1, overlap):
        low, high = wilson(value, count / max(1, overlap), level=LEVEL)
        if found is not None:
            low, high = min(low, found.low), max(high, found.high)
        return MetricInterval(
            low=low, high=high, level=LEVEL, method=f"{METHOD}, Wilson", cosines=cosines, denominator=count
        )
    return evolve(found, denominator=count)
