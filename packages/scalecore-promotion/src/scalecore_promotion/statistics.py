"""What replicates say: means, how far a mean can be trusted, and whether one configuration is better than another.

Two things make a measured loss what it is by chance: the seed of the training, and which windows there are to measure
it on. The variance of a mean over seeds is the sum of both parts,

    Var = s^2 / S + V,

with s the standard deviation between S seeds on the same windows, and V the variance of the mean over windows of the
seeds' average loss, by the circular block bootstrap of `scalecore.data.bootstrap` with its block length. Intervals use
the t distribution with the degrees of freedom of Welch (1947) and Satterthwaite (1946), where V counts as one of as
many degrees as there are blocks less one. Differences of two configurations are taken window by window, so that what
the windows do to both does not count.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Literal

import numpy as np
import numpy.typing as npt
from attrs import frozen

from scalecore.api.statistics import BOOTSTRAP_SEED, MIN_BLOCKS, block_length, resampled_indices

MIN_SEEDS = 3
"""With fewer seeds nothing is said about a difference."""
RELATIVE_MARGIN = 0.005
"""A difference of this share of the loss does not matter, nor does one of a standard deviation between seeds."""
RESAMPLES = 1000

Floats = npt.NDArray[np.float64]
Verdict = Literal["worse", "equivalent", "inconclusive"]


@frozen(kw_only=True)
class Estimate:
    """A number with its standard error; both error and degrees of freedom are None where nothing is known of them."""

    value: float
    error: float | None = None
    degrees: float | None = None

    def interval(self, *, level: float = 0.95) -> tuple[float, float] | None:
        """The `level` interval by the t distribution."""
        if self.error is None or self.degrees is None:
            return None
        from scipy.stats import t

        half = float(t.ppf(0.5 + level / 2, self.degrees)) * self.error
        return self.value - half, self.value + half


def mean(values: Sequence[float], *, losses: Floats | None = None, overlap: int = 1) -> Estimate:
    """Of one configuration: `values` by seed, and with `losses` [seeds, windows] the windows' part of the variance."""
    return _estimate(_average(values), [values], None if losses is None else losses.mean(axis=0), overlap)


def difference(
    first: Sequence[float],
    second: Sequence[float],
    *,
    losses: tuple[Floats, Floats] | None = None,
    overlap: int = 1,
) -> Estimate:
    """Mean of `first` less mean of `second`, values by seed; `losses` of both, [seeds, windows] over the same windows.

    The seeds of the two are independent, the windows are the same.
    """
    paired = None if losses is None else losses[0].mean(axis=0) - losses[1].mean(axis=0)
    return _estimate(_average(first) - _average(second), [first, second], paired, overlap)


def one_training(values: Sequence[float], *, level: float = 0.95) -> tuple[float, float] | None:
    """Where the value of one more seed lies with probability `level`; None for fewer than two seeds."""
    if len(values) < 2:
        return None
    error = _spread(values) * math.sqrt(1 + 1 / len(values))
    return Estimate(value=_average(values), error=error, degrees=len(values) - 1).interval(level=level)


def verdict(less: Estimate, *, seeds: tuple[int, int], margin: float, comparisons: int) -> Verdict:
    """Of a configuration against the best one; `less` is its loss less that of the best, so that above 0 is worse.

    `worse`: the interval excludes 0, its level raised for `comparisons` of this kind (Bonferroni), so that all of them
    hold together with 95 %. `equivalent`: the 90 % interval lies within the margin (two one-sided tests at 5 %).
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
    """The difference that does not matter: the larger of half a percent of the best's mean and the standard deviation
    between seeds, pooled over all configurations."""
    groups = [one for one in (best, *others) if len(one) > 1]
    degrees = sum(len(one) - 1 for one in groups)
    pooled = math.sqrt(sum((len(one) - 1) * _spread(one) ** 2 for one in groups) / degrees) if degrees else 0.0
    return max(RELATIVE_MARGIN * abs(_average(best)), pooled)


def _estimate(value: float, groups: Sequence[Sequence[float]], windows: Floats | None, overlap: int) -> Estimate:
    if any(len(group) < 2 for group in groups):
        return Estimate(value=value)
    parts = [(_spread(group) ** 2 / len(group), len(group) - 1) for group in groups]
    if windows is not None:
        block = block_length(len(windows), overlap=overlap)
        if len(windows) < MIN_BLOCKS * block:
            return Estimate(value=value)
        drawn = resampled_indices(len(windows), block=block, resamples=RESAMPLES, seed=BOOTSTRAP_SEED)
        parts.append((float(windows[drawn].mean(axis=1).var(ddof=1)), len(windows) // block - 1))
    total = sum(variance for variance, _ in parts)
    if total == 0:
        return Estimate(value=value, error=0.0, degrees=1.0)
    degrees = total**2 / sum(variance**2 / count for variance, count in parts)
    return Estimate(value=value, error=math.sqrt(total), degrees=degrees)


def _average(values: Sequence[float]) -> float:
    return math.fsum(values) / len(values)


def _spread(values: Sequence[float]) -> float:
    """Standard deviation with one degree of freedom less."""
    return float(np.std(values, ddof=1))
