"""Non-increasing means, and two tests by simulated nulls: are the means equal, and do they increase anywhere?

Both statistics are those of order-restricted inference (Barlow, Bartholomew, Bremner and Brunk 1972): with the
non-increasing fit `iso` of the per-budget means Y, weights S / s^2 of S seeds and the pooled variance s^2,

    T_A = sum w (iso - mean)^2     equal means against non-increasing ones
    T_B = sum w (Y - iso)^2        non-increasing means against any

Their distributions under equal means, which is the least favourable case of T_B too, depend on the numbers of seeds
only, and are simulated. Everything works on many data sets at once: arrays [sets, budgets].
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from attrs import frozen

from scalecore_analysis.scaling.laws import Floats

__all__ = ["Null", "non_increasing", "null_of", "statistics"]

DRAWS = 100_000
"""Simulated data sets of a null: the standard error of a tail of 5 % is 0.07 %."""


def non_increasing(means: Floats, weights: Floats) -> Floats:
    """The weighted least-squares fit that never increases from left to right, of each row of [sets, budgets].

    By the min-max formula iso_i = min over s <= i of max over t >= i of the mean of s..t: the same as pooling adjacent
    violators, and for a few budgets faster over many rows.
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
    weights = np.asarray(seeds, dtype=np.float64) / variance[:, None]
    iso = non_increasing(means, weights)
    centre = (weights * means).sum(axis=1, keepdims=True) / weights.sum(axis=1, keepdims=True)
    return (weights * (iso - centre) ** 2).sum(axis=1), (weights * (means - iso) ** 2).sum(axis=1)


@frozen(kw_only=True, eq=False)
class Null:
    """Both statistics under equal means, sorted."""

    equal: Floats
    ordered: Floats

    def critical(self, level: float) -> tuple[float, float]:
        """What T_A and T_B exceed with probability `level`."""
        return float(np.quantile(self.equal, 1 - level)), float(np.quantile(self.ordered, 1 - level))

    def p_values(self, equal: float, ordered: float) -> tuple[float, float]:
        """How often the null gives as much or more; never 0, since the null is simulated."""

        def p_value(draws: Floats, seen: float) -> float:
            return float((1 + len(draws) - np.searchsorted(draws, seen, side="left")) / (1 + len(draws)))

        return p_value(self.equal, equal), p_value(self.ordered, ordered)


def null_of(seeds: Sequence[int], *, draws: int = DRAWS, seed: int = 0) -> Null:
    """The null of a design: normal means of unit variance, the pooled variance with sum(S - 1) degrees of freedom.

    Of more than 20 budgets fewer data sets are drawn, as many as fit into the same memory.
    """
    draws = min(draws, 20 * DRAWS // len(seeds))
    generator = np.random.default_rng(seed)
    sizes = np.asarray(seeds, dtype=np.float64)
    means = generator.standard_normal((draws, len(sizes))) / np.sqrt(sizes)
    freedom = sizes.sum() - len(sizes)
    variance = generator.chisquare(freedom, size=draws) / freedom
    equal, ordered = statistics(means, seeds=seeds, variance=variance)
    return Null(equal=np.sort(equal), ordered=np.sort(ordered))
