"""Confidence intervals of all metrics of a split, by the same block bootstrap as the baselines (guard G02)."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from scalecore.api.record_parts import MetricInterval
from scalecore.api.statistics import (
    BOOTSTRAP_SEED,
    LEVEL,
    MAX_UNDEFINED,
    MIN_BLOCKS,
    OWN_DENOMINATOR,
    block_length,
    denominator,
    resampled_counts,
    wilson,
)
from scalecore_torch.training.tasks import Task

RESAMPLES = 1000
FEW = 20
"""Independent windows of a rate below which its resamples are unreliable."""
AT_ONCE = 250_000
"""Numbers per chunk of counts, so that a large split needs megabytes and not hundreds of megabytes."""


def metric_intervals(task: Task, outputs_NC: Tensor, labels_N: Tensor, *, overlap: int) -> dict[str, Any]:
    """95 % percentile intervals of `val_loss` and of each metric, as JSON, from 1,000 resamples of the windows.

    `overlap` is the number of neighbouring windows with overlapping labels. All trials of a data set and the baselines
    use the same blocks, so that intervals are comparable. All intervals are None with fewer than 5 blocks; an interval
    is None if the metric is undefined in more than 5 % of the resamples.

    The interval of a rate has the rate's number of windows as `denominator`. If resampling is unreliable, because the
    windows are few or all or none of them are hits, the interval is extended by Wilson's interval for the equivalent
    number of independent windows (guard G19). Precision therefore has an interval whenever it has a value.
    """
    windows = len(labels_N)
    block = block_length(windows, overlap=overlap)
    losses_N, measure = task.losses(outputs_NC, labels_N).double(), task.measure(outputs_NC, labels_N)
    if windows < MIN_BLOCKS * block:
        return dict.fromkeys(["val_loss", *measure(torch.ones(1, windows, dtype=torch.float64))])
    pieces: dict[str, list[Tensor]] = {}
    for counts in resampled_counts(
        windows, block=block, resamples=RESAMPLES, seed=BOOTSTRAP_SEED, at_once=max(1, AT_ONCE // windows)
    ):
        counts_RN = torch.from_numpy(counts)
        for name, found_R in {"val_loss": counts_RN @ losses_N / windows, **measure(counts_RN)}.items():
            pieces.setdefault(name, []).append(found_R)
    intervals = {name: _interval(torch.cat(found), block=block) for name, found in pieces.items()}
    metrics = task.metrics(outputs_NC, labels_N)
    matrix = metrics.get("confusion_matrix")
    for name in intervals:
        count = windows if name in ("sign_accuracy", "coverage") else denominator(name, matrix)
        if not count or (intervals[name] is None and name not in OWN_DENOMINATOR):
            continue
        # A mean over classes is not a share of one count of windows; a class without predictions is 0 in its resamples.
        if not isinstance(matrix, list):
            intervals[name] = _of_rate(intervals[name], metrics[name], count / max(1, overlap), block=block)
        if (found := intervals[name]) is not None:
            found["denominator"] = count
    return intervals


def _of_rate(resampled: dict[str, Any] | None, value: float, effective: float, *, block: int) -> dict[str, Any]:
    if resampled is not None and resampled["low"] < resampled["high"] and effective >= FEW:
        return resampled
    low, high = wilson(value, effective, level=LEVEL)
    if resampled is not None:
        low, high = min(low, resampled["low"]), max(high, resampled["high"])
    return MetricInterval(low=low, high=high, level=LEVEL, block=block, resamples=RESAMPLES).plain()


def _interval(found_R: Tensor, *, block: int) -> dict[str, Any] | None:
    defined = found_R[~found_R.isnan()]
    if len(defined) < (1 - MAX_UNDEFINED) * RESAMPLES:
        return None
    ends = torch.tensor([(1 - LEVEL) / 2, (1 + LEVEL) / 2], dtype=torch.float64)
    low, high = torch.quantile(defined, ends).tolist()
    return MetricInterval(low=low, high=high, level=LEVEL, block=block, resamples=RESAMPLES).plain()
