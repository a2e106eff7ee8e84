"""Tests of budgets' means that vary with the seeds and with the windows, which all budgets share.

The errors of the means are normal with the covariance s^2 diag(1 / S) + V. The seeds give s^2, the paired losses by
window give V by equal-weighted cosines. What all budgets share cancels in both statistics of `isotonic`. Their null
distribution depends on V, so it is simulated for each set of means, with s^2 and V estimated anew in every draw.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations

import numpy as np
from attrs import evolve, frozen
from scipy.stats import t as student

from scalecore_analysis.scaling.isotonic import Null, weighted_statistics
from scalecore_analysis.scaling.laws import Floats

__all__ = ["SeedsAndWindows"]

DRAWS = 20_000


@frozen(kw_only=True, eq=False)
class SeedsAndWindows:
    """The variation of the means of budgets, smallest budget first."""

    seeds: Sequence[int]
    variance: float
    """Pooled over seeds."""
    projections: Floats
    """[budgets, cosines], as in `WindowErrors`."""

    def statistics(self, means: Floats) -> tuple[float, float]:
        """T_A and T_B of means [budgets], with the variance of a mean that the budgets do not share as weights."""
        equal, ordered = weighted_statistics(means[None], self._weights(np.array([self.variance]), self.projections))
        return float(equal[0]), float(ordered[0])

    def null(self, *, draws: int = DRAWS, seed: int = 0) -> Null:
        """Both statistics under equal means."""
        generator = np.random.default_rng(seed)
        budgets, cosines = self.projections.shape
        freedom = self._freedom
        spread = np.sqrt(self.variance / np.asarray(self.seeds, dtype=np.float64))
        means = spread * generator.standard_normal((draws, budgets))
        means += generator.standard_normal((draws, cosines)) @ self.projections.T / np.sqrt(cosines)
        variance = self.variance * generator.chisquare(freedom, size=draws) / freedom
        again = generator.standard_normal((draws, cosines, cosines))
        projections = np.einsum("bk,dkj->dbj", self.projections, again) / np.sqrt(cosines)
        equal, ordered = weighted_statistics(means, self._weights(variance, projections))
        return Null(equal=np.sort(equal), ordered=np.sort(ordered))

    def width(self, first: int, second: int, *, level: float) -> float:
        """The one-sided width at this level of the difference of two means (Welch 1947, Satterthwaite 1946)."""
        error, freedom = self._difference(first, second)
        return float(student.ppf(level, freedom) * error)

    def smallest_effect(self, *, power: float = 0.8) -> float:
        """The largest difference of two budgets that a two-sided t test at 5 % needs to be detected with this power."""
        found = [self._difference(first, second) for first, second in combinations(range(len(self.seeds)), 2)]
        return max(float((student.ppf(0.975, free) + student.ppf(power, free)) * error) for error, free in found)

    def limit(self) -> float:
        """The smallest effect with any number of seeds."""
        return evolve(self, variance=0.0).smallest_effect()

    @property
    def _freedom(self) -> int:
        return sum(self.seeds) - len(self.seeds)

    def _weights(self, variance: Floats, projections: Floats) -> Floats:
        """[sets, budgets], for variances over seeds [sets] and projections [..., budgets, cosines]."""
        budgets, cosines = projections.shape[-2:]
        apart = projections - projections.mean(axis=-2, keepdims=True)
        windows = (apart**2).sum(axis=(-1, -2)) / (cosines * (budgets - 1))
        seeds = variance[:, None] / np.asarray(self.seeds, dtype=np.float64)
        weights: Floats = 1 / (seeds + np.atleast_1d(windows)[:, None])
        return weights

    def _difference(self, first: int, second: int) -> tuple[float, float]:
        """The standard error of a difference of two means, and its degrees of freedom."""
        seeds = self.variance * (1 / self.seeds[first] + 1 / self.seeds[second])
        windows = float(((self.projections[second] - self.projections[first]) ** 2).mean())
        if windows == 0:
            return seeds**0.5, self._freedom
        freedom = (seeds + windows) ** 2 / (seeds**2 / self._freedom + windows**2 / self.projections.shape[1])
        return (seeds + windows) ** 0.5, freedom
