"""Statistics of the labels of each part, the loss of a constant prediction, and the drift of the features."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
from attrs import frozen

from scalecore.api.data_report import DriftReport, YearReport

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from scalecore.api.targets import Target

STRONG_SHIFT = 2.0
"""Shift of the mean in training standard deviations from which most values lie where training has few."""
STRONG_RATIO = 4.0
"""Change of level or spread; the drifts recorded for guard G08 were between 4 and 16 times."""

Labels = npt.NDArray[np.float64]
Prior = float | tuple[float, ...]


@frozen(kw_only=True)
class PartStatistics:
    """Statistics of the labels of one part.

    `effective` is windows // overlap, because neighbouring labels depend on the same future rows; `effective_rarest` is
    the same for the rarest class. `prior_loss` is the mean loss of always predicting the training prior: log loss in
    nats, for a forecast the mean squared error; None if infinite. `entropy` is the loss of the best constant for this
    part: the entropy in nats, for a forecast the variance. A model with a loss below `entropy` has learned something; a
    model above `prior_loss` is worse than no model.
    """

    windows: int
    overlap: int
    effective: int
    effective_rarest: int
    positives: int | None
    classes: tuple[int, ...] | None
    base_rate: float
    prior_loss: float | None
    entropy: float
    only_label: float | None


def base_rate(labels: Labels) -> float:
    """Return the mean label: for a binary target the share of positives, otherwise the mean class or value."""
    return float(labels.mean())


def prior_of(labels: Labels, *, target: Target) -> Prior:
    """Return the best constant prediction from training labels: a probability, one per class, or the mean."""
    if target.task == "multiclass":
        counts = np.bincount(labels.astype(np.int64), minlength=target.outputs)
        return tuple((counts / len(labels)).tolist())
    return float(labels.mean())


def part_statistics(labels: Labels, *, target: Target, prior: Prior) -> PartStatistics:
    """Compute the statistics of the labels of one part, given the prior of training."""
    overlap = max(1, target.label_span)
    classes: tuple[int, ...] | None = None
    prior_loss: float | None
    if isinstance(prior, float) and target.task == "forecast":
        prior_loss, entropy = float(((labels - prior) ** 2).mean()), float(labels.var())
    else:
        count = 2 if target.task == "binary" else target.outputs
        counts = np.bincount(labels.astype(np.int64), minlength=count)
        classes = tuple(counts.tolist())
        shares = counts / len(labels)
        prior_loss = _cross_entropy(shares, (1.0 - prior, prior) if isinstance(prior, float) else prior)
        entropy = _cross_entropy(shares, shares) or 0.0
    return PartStatistics(
        windows=len(labels),
        overlap=overlap,
        effective=len(labels) // overlap,
        effective_rarest=0 if classes is None else min(classes) // overlap,
        positives=classes[1] if classes is not None and target.task == "binary" else None,
        classes=classes,
        base_rate=base_rate(labels),
        prior_loss=prior_loss,
        entropy=entropy,
        only_label=float(labels[0]) if (labels == labels[0]).all() else None,
    )


def _cross_entropy(shares: npt.ArrayLike, predicted: npt.ArrayLike) -> float | None:
    """Return -sum p ln q in nats; None if a class occurs that has probability 0."""
    total = 0.0
    for share, probability in zip(np.asarray(shares).tolist(), np.asarray(predicted).tolist(), strict=True):
        if share > 0 and probability <= 0:
            return None
        if share > 0:
            total -= share * math.log(probability)
    return total


def rates_per_year(
    labels: Labels, *, times: npt.NDArray[np.datetime64], ends: Mapping[str, npt.NDArray[np.int64]]
) -> list[YearReport]:
    """Count, for each year, the rows with a known label and the windows of each part, and compute the base rate."""
    years = times.astype("datetime64[Y]").astype(np.int64) + 1970
    known = np.isfinite(labels)
    result = []
    for year in np.unique(years[known]).tolist():
        here = known & (years == year)
        train, val, test = (int((years[ends[part]] == year).sum()) for part in ("train", "val", "test"))
        rate = base_rate(labels[here])
        result.append(YearReport(year=year, rows=int(here.sum()), base_rate=rate, train=train, val=val, test=test))
    return result


def drift_table(
    values: npt.NDArray[np.float64],
    *,
    features: Sequence[str],
    rows: Mapping[str, npt.NDArray[np.bool_]],
) -> list[DriftReport]:
    """Compare raw features of validation and test with training, over the input rows of their windows (guard G08).

    `shift` is the difference of the means in training standard deviations, `std_ratio` the ratio of the standard
    deviations, `level_ratio` that of the mean absolute values; None if the divisor is 0. Drift is `strong` if the shift
    is at least 2, or a ratio at least 4 or at most 1/4.
    """
    train = values[rows["train"]]
    mean, std, level = train.mean(axis=0), train.std(axis=0), np.abs(train).mean(axis=0)
    std[train.max(axis=0) == train.min(axis=0)] = 0.0
    table = []
    for part in ("val", "test"):
        there = values[rows[part]]
        means, stds, levels = there.mean(axis=0), there.std(axis=0), np.abs(there).mean(axis=0)
        for column, feature in enumerate(features):
            shift = _ratio(float(means[column] - mean[column]), float(std[column]))
            std_ratio = _ratio(float(stds[column]), float(std[column]))
            level_ratio = _ratio(float(levels[column]), float(level[column]))
            strong = (shift is not None and abs(shift) >= STRONG_SHIFT) or any(
                ratio is not None and not 1 / STRONG_RATIO < ratio < STRONG_RATIO for ratio in (std_ratio, level_ratio)
            )
            table.append(
                DriftReport(
                    feature=feature,
                    part=part,
                    shift=shift,
                    std_ratio=std_ratio,
                    level_ratio=level_ratio,
                    strong=strong,
                )
            )
    return table


def _ratio(value: float, base: float) -> float | None:
    return value / base if base > 0 else None
