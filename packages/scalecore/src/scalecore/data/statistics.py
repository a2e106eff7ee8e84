"""What the labels of each part look like, what a constant guess would cost there, and how far the features drift."""

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
"""A mean that moved by two training standard deviations: most values lie where training saw few."""
STRONG_RATIO = 4.0
"""A level or spread that changed fourfold; the drifts that guard G08 records went from 4 to 16 times."""

Labels = npt.NDArray[np.float64]
Prior = float | tuple[float, ...]


@frozen(kw_only=True)
class PartStatistics:
    """Of the labels of one part.

    `effective` is windows // overlap, since neighbouring labels look at the same future rows; `effective_rarest` the
    same of the rarest class. `prior_loss` is the mean loss of always predicting the training prior: log loss in nats,
    for a forecast the mean squared error; None where that is infinite. `entropy` is the least that any constant could
    cost here: the entropy in nats, for a forecast the variance. A model below it has learned something; one above
    `prior_loss` less than nothing.
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
    """Mean label: the share of positives of a binary target; of other targets the mean class or value."""
    return float(labels.mean())


def prior_of(labels: Labels, *, target: Target) -> Prior:
    """The constant prediction that training labels suggest: a probability, one for each class, or the mean."""
    if target.task == "multiclass":
        counts = np.bincount(labels.astype(np.int64), minlength=target.outputs)
        return tuple((counts / len(labels)).tolist())
    return float(labels.mean())


def part_statistics(labels: Labels, *, target: Target, prior: Prior) -> PartStatistics:
    """Statistics of the labels of one part, given the prior of training."""
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
    """-sum p ln q in nats; None where a class occurs that was given no probability."""
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
    """For each year: rows with a known label, their base rate, and how many of them are windows of each part."""
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
    """Raw features of validation and test against training, over the rows that their windows see (guard G08).

    `shift` is the difference of the means in training standard deviations, `std_ratio` that of the standard
    deviations, `level_ratio` that of the mean absolute values; None where training has none to divide by. `strong`
    where the shift is at least 2, or a ratio at least 4 or at most 1/4.
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
