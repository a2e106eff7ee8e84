"""Non-increasing means, and two tests with simulated null distributions: are the means equal, and do they increase?

Both statistics are from order-restricted inference (Barlow, Bartholomew, Bremner and Brunk 1972): with the
non-increasing fit `iso` of the per-budget means Y, weights S / s^2 of S seeds and the pooled variance s^2,

    T_A = sum w (iso - mean)^2     equal means against non-increasing ones
    T_B = sum w (Y - iso)^2        non-increasing means against any

Their distributions under equal means, which is also the least favourable case of T_B, depend only on the numbers of
seeds and are simulated. All functions work on many data sets at once: arrays [sets, budgets].
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from attrs import frozen

from scalecore_analysis.scaling.laws import Floats

__all__ = ["Null", "non_increasing", "null_of", "statistics", "weighted_statistics"]

DRAWS = 100_000
"""Simulated data sets of a null distribution: the standard error of a tail of 5 % is 0.07 %."""


def non_increasing(means: Floats, weights: Floats) -> Floats:
    """The non-increasing weighted least-squares fit to each row of [sets, budgets].

    Uses the min-max formula iso_i = min over s <= i of max over t >= i of the mean of s..t, which equals pooling
    adjacent violators and is faster for a few budgets and many rows.
    """
    count = means.shape[1]
    weights = np.broadcast_to(weights, means.shape)
    zeros = np.zeros((len(means), 1))
    total = np.concatenate([zeros, np.cumsum(weights * means, axis=1)], axis=1)
    weight = np.concatenate([zeros, np.cumsum(weights, axis=1)], axis=1)
    fitted = np.full(means.shape, np.inf)
    for start in range(count):
        averages = (total[:, start + 1 :] - total[:, [start]]) / (weight[:, start + 1 :] - weight[:, [start]])
        # For each i from `start` on: the largest average of start..t with t >= i.
        largest = np.maximum.accumulate(averages[:, ::-1], axis=1)[:, ::-1]
        fitted[:, start:] = np.minimum(fitted[:, start:], largest)
    return fitted


def statistics(means: Floats, *, seeds: Sequence[int], variance: Floats) -> tuple[Floats, Floats]:
    """T_A and T_B [sets] of means [sets, budgets], numbers of seeds [budgets], pooled variances [sets]."""
    return weighted_statistics(means, np.asarray(seeds, dtype=np.float64) / variance[:, None])


def weighted_statistics(means: Floats, weights: Floats) -> tuple[Floats, Floats]:
    """T_A and T_B [sets] of means [sets, budgets] with weights [sets, budgets]."""
    iso = non_increasing(means, weights)
    centre = (weights * means).sum(axis=1, keepdims=True) / weights.sum(axis=1, keepdims=True)
    return (weights * (iso - centre) ** 2).sum(axis=1), (weights * (means - iso) ** 2).sum(axis=1)


@frozen(kw_only=True, eq=False)
class Null:
    """Sorted draws of both statistics under equal means."""

    equal: Floats
    ordered: Floats

    def critical(self, level: float) -> tuple[float, float]:
        """Critical values of T_A and T_B at `level`."""
        return float(np.quantile(self.equal, 1 - level)), float(np.quantile(self.ordered, 1 - level))

    def p_values(self, equal: float, ordered: float) -> tuple[float, float]:
        """The p-values of both statistics; never 0, since the null distribution is simulated."""

        def p_value(draws: Floats, seen: float) -> float:
            return float((1 + len(draws) - np.searchsorted(draws, seen, side="left")) / (1 + len(draws)))

        return p_value(self.equal, equal), p_value(self.ordered, ordered)


def null_of(seeds: Sequence[int], *, draws: int = DRAWS, seed: int = 0) -> Null:
    """The null distribution of a design: normal means, and a pooled variance with sum(S - 1) degrees of freedom.

    For more than 20 budgets fewer data sets are drawn, to limit the memory.
    """
    draws = min(draws, 20 * DRAWS // len(seeds))
    generator = np.random.default_rng(seed)
    sizes = np.asarray(seeds, dtype=np.float64)
    means = generator.standard_normal((draws, len(sizes))) / np.sqrt(sizes)
    freedom = sizes.sum() - len(sizes)
    variance = generator.chisquare(freedom, size=draws) / freedom
    equal, ordered = statistics(means, seeds=seeds, variance=variance)
    return Null(equal=np.sort(equal), ordered=np.sort(ordered))
