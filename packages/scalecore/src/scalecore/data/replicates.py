"""Statistics of replicates: means, their confidence intervals, and differences between configurations.

A measured loss varies with the seed of the training and with the sample of windows. The variance of a mean over seeds
is the sum of both parts,

    Var = s^2 / S + V,

with s the standard deviation between S seeds on the same windows, and V the variance of the mean over windows of the
seeds' average loss, by equal-weighted cosines (`scalecore.data.intervals`). Intervals use the t distribution with the
degrees of freedom of Welch (1947) and Satterthwaite (1946), where V has one for each cosine. Differences between two
configurations are paired by window, which removes the variance that both share.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Literal

import numpy as np
import numpy.typing as npt
from attrs import frozen

from scalecore.data.intervals import mean_errors

MIN_SEEDS = 3
"""With fewer seeds the verdict on a difference is `inconclusive`."""
RELATIVE_MARGIN = 0.005
"""Smallest margin of equivalence, as a share of the loss."""

Floats = npt.NDArray[np.float64]
Verdict = Literal["worse", "equivalent", "inconclusive"]


@frozen(kw_only=True)
class Estimate:
    """A value with its standard error; error and degrees of freedom are None if unknown."""

    value: float
    error: float | None = None
    degrees: float | None = None

    def interval(self, *, level: float = 0.95) -> tuple[float, float] | None:
        """The confidence interval of `level`, by the t distribution."""
        if self.error is None or self.degrees is None:
            return None
        from scipy.stats import t

        half = float(t.ppf(0.5 + level / 2, self.degrees)) * self.error
        return self.value - half, self.value + half


def mean(values: Sequence[float], *, losses: Floats | None = None, overlap: int = 1) -> Estimate:
    """Mean of one configuration's `values` by seed; `losses` [seeds, windows] add the variance over windows."""
    return _estimate(_average(values), [values], None if losses is None else losses.mean(axis=0), overlap)


def difference(
    first: Sequence[float],
    second: Sequence[float],
    *,
    losses: tuple[Floats, Floats] | None = None,
    overlap: int = 1,
) -> Estimate:
    """Mean of `first` minus mean of `second`, values by seed; `losses` of both, [seeds, windows].

    The seeds of the two are independent, the windows are the same.
    """
    paired = None if losses is None else losses[0].mean(axis=0) - losses[1].mean(axis=0)
    return _estimate(_average(first) - _average(second), [first, second], paired, overlap)


def one_training(values: Sequence[float], *, level: float = 0.95) -> tuple[float, float] | None:
    """The prediction interval of `level` for one more seed; None for fewer than two seeds."""
    if len(values) < 2:
        return None
    error = _spread(values) * math.sqrt(1 + 1 / len(values))
    return Estimate(value=_average(values), error=error, degrees=len(values) - 1).interval(level=level)


def verdict(less: Estimate, *, seeds: tuple[int, int], margin: float, comparisons: int) -> Verdict:
    """Compare a configuration with the best one; `less` is its loss minus the loss of the best, above 0 is worse.

    `worse`: the interval excludes 0, with a joint level of 95 % over `comparisons` intervals (Bonferroni).
    `equivalent`: the 90 % interval is within the margin (two one-sided tests at 5 %).
    """
    if min(seeds) < MIN_SEEDS:
        return "inconclusive"
    together, alone = less.interval(level=1 - 0.05 / max(1, comparisons)), less.interval(level=0.9)
    if together is None or alone is None:
        return "inconclusive"
    if together[0] > 0:
        return "worse"
    return "equivalent" if -margin < alone[0] and alone[1] < margin else "inconclusive"


def margin_of(best: Sequence[float], others: Sequence[Sequence[float]]) -> float:
    """The margin of equivalence: the larger of half a percent of the best mean and the standard deviation between
    seeds, pooled over all configurations."""
    groups = [one for one in (best, *others) if len(one) > 1]
    degrees = sum(len(one) - 1 for one in groups)
    pooled = math.sqrt(sum((len(one) - 1) * _spread(one) ** 2 for one in groups) / degrees) if degrees else 0.0
    return max(RELATIVE_MARGIN * abs(_average(best)), pooled)


def _estimate(value: float, groups: Sequence[Sequence[float]], windows: Floats | None, overlap: int) -> Estimate:
    if any(len(group) < 2 for group in groups):
        return Estimate(value=value)
    parts = [(_spread(group) ** 2 / len(group), len(group) - 1) for group in groups]
    if windows is not None:
        errors = mean_errors(windows, overlap=overlap)
        if not len(errors):
            return Estimate(value=value)
        parts.append((float((errors**2).mean()), len(errors)))
    total = sum(variance for variance, _ in parts)
    if total == 0:
        return Estimate(value=value, error=0.0, degrees=1.0)
    degrees = total**2 / sum(variance**2 / count for variance, count in parts)
    return Estimate(value=value, error=math.sqrt(total), degrees=degrees)


def _average(values: Sequence[float]) -> float:
    return math.fsum(values) / len(values)


def _spread(values: Sequence[float]) -> float:
    """Sample standard deviation."""
    return float(np.std(values, ddof=1))
