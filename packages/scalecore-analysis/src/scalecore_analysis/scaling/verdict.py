"""The verdict on a scaling claim, from per-budget means over seeds and a margin that was set before the study.

| verdict | condition |
|---|---|
| flat | all pairs of budgets differ by less than the margin: two one-sided tests each |
| violated | not flat, and the means increase somewhere: T_B exceeds its critical value |
| holds | neither, the means are not equal (T_A), and no step to the next budget is worse by the margin or more |
| inconclusive | none of these |

Flat has precedence: a difference within the margin is not relevant, however many seeds there are. The same function
classifies a study and the simulated studies from which error rates and power are computed.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from enum import StrEnum
from itertools import combinations, pairwise

import numpy as np
import numpy.typing as npt
from attrs import frozen
from scipy.stats import t as student

from scalecore_analysis.scaling.isotonic import Null, null_of, statistics
from scalecore_analysis.scaling.laws import Floats

__all__ = [
    "CONFIDENCE",
    "LEVEL",
    "SIMULATED",
    "ScalingVerdict",
    "Seeds",
    "classify",
    "decide",
    "rates",
    "smallest_effect",
]

LEVEL = 0.04
"""Significance level of the two tests. It is below 5 % so that error rates stay below 5 % if the standard deviation
over seeds of one budget is three times that of another, which the pooled variance ignores.
"""
CONFIDENCE = 0.95
"""Confidence level of the one-sided bounds that are compared with the margin."""


class ScalingVerdict(StrEnum):
    """The verdict on the claim that larger models have a lower loss."""

    HOLDS = "holds"
    HOLDS_WITH_POWER_LAW = "holds with power law"
    FLAT = "flat"
    VIOLATED = "violated"
    INCONCLUSIVE = "inconclusive"
    NOT_ASSESSABLE = "not assessable"


SIMULATED = (ScalingVerdict.HOLDS, ScalingVerdict.VIOLATED, ScalingVerdict.FLAT, ScalingVerdict.INCONCLUSIVE)
"""The verdicts of `classify`, which returns positions in this tuple."""


def classify(
    means: Floats, *, seeds: Sequence[int], variance: Floats, margin: Floats, null: Null, verdicts: int = 1
) -> npt.NDArray[np.int64]:
    """A verdict for each set of means [sets, budgets], smallest budget first; variance and margin are [sets].

    With `verdicts`, each is one of so many, all of which together have the error rates of a single one (Bonferroni).
    """
    freedom = _freedom(seeds)
    return decide(
        means,
        margin=margin,
        found=statistics(means, seeds=seeds, variance=variance),
        critical=null.critical(LEVEL / verdicts),
        width=lambda first, second: _width(
            seeds[first], seeds[second], variance=variance, freedom=freedom, verdicts=verdicts
        ),
    )


def decide(
    means: Floats,
    *,
    margin: Floats,
    found: tuple[Floats, Floats],
    critical: tuple[float, float],
    width: Callable[[int, int], Floats | float],
) -> npt.NDArray[np.int64]:
    """The verdicts on means [sets, budgets], from the statistics T_A and T_B, their critical values, and the one-sided
    width of the difference of two budgets."""
    flat = np.ones(len(means), dtype=bool)
    for first, second in combinations(range(means.shape[1]), 2):
        flat &= np.abs(means[:, second] - means[:, first]) + width(first, second) < margin
    safe = np.ones(len(means), dtype=bool)
    for first, second in pairwise(range(means.shape[1])):
        safe &= means[:, second] - means[:, first] + width(first, second) < margin
    violated = found[1] > critical[1]
    holds = ~violated & (found[0] > critical[0]) & safe
    return np.select([flat, violated, holds], [2, 1, 0], default=3).astype(np.int64)


@frozen(kw_only=True)
class Seeds:
    """The variation of the means of budgets over seeds, smallest budget first."""

    seeds: Sequence[int]
    variance: float

    def statistics(self, means: Floats) -> tuple[float, float]:
        """T_A and T_B of means [budgets]."""
        equal, ordered = statistics(means[None], seeds=self.seeds, variance=np.array([self.variance]))
        return float(equal[0]), float(ordered[0])

    def null(self) -> Null:
        """Both statistics under equal means."""
        return null_of(self.seeds)

    def width(self, first: int, second: int, *, level: float) -> float:
        """The one-sided width at this level of the difference of two means."""
        error = self.variance * (1 / self.seeds[first] + 1 / self.seeds[second])
        return float(student.ppf(level, _freedom(self.seeds)) * np.sqrt(error))

    def smallest_effect(self) -> float:
        """The difference between two budgets that is detected with a power of 80 %."""
        return smallest_effect(seeds=self.seeds, variance=self.variance)

    def limit(self) -> float | None:
        """None: with enough seeds, every difference is detected."""
        return None


def _freedom(seeds: Sequence[int]) -> int:
    return sum(seeds) - len(seeds)


def _width(first: int, second: int, *, variance: Floats, freedom: int, verdicts: int = 1) -> Floats:
    width: Floats = student.ppf(1 - (1 - CONFIDENCE) / verdicts, freedom) * np.sqrt(variance * (1 / first + 1 / second))
    return width


@frozen(kw_only=True)
class Rates:
    """The rate of each verdict for a given truth."""

    holds: float
    violated: float
    flat: float
    inconclusive: float


def rates(
    truth: Sequence[float],
    *,
    seeds: int,
    margin: float = 1.0,
    spreads: Sequence[float] | None = None,
    sets: int = 20_000,
    seed: int = 1,
    null: Null | None = None,
    verdicts: int = 1,
) -> Rates:
    """Rates of the verdicts for the true means `truth`, in units of the standard deviation over seeds.

    `spreads` are the true standard deviations over seeds of each budget; the default is 1.
    """
    generator = np.random.default_rng(seed)
    budgets = len(truth)
    spread = np.ones(budgets) if spreads is None else np.asarray(spreads, dtype=np.float64)
    means = np.asarray(truth) + spread * generator.standard_normal((sets, budgets)) / np.sqrt(seeds)
    within = spread**2 * generator.chisquare(seeds - 1, size=(sets, budgets)) / (seeds - 1)
    found = classify(
        means,
        seeds=[seeds] * budgets,
        variance=within.mean(axis=1),
        margin=np.full(sets, margin),
        null=null or null_of([seeds] * budgets),
        verdicts=verdicts,
    )
    shares = np.bincount(found, minlength=4) / sets
    return Rates(**dict(zip(("holds", "violated", "flat", "inconclusive"), shares.tolist(), strict=True)))


def smallest_effect(*, seeds: Sequence[int], variance: float, power: float = 0.8) -> float:
    """The difference between two budgets that a two-sided t test at 5 % detects with this power, about 2.8 standard
    errors."""
    freedom = _freedom(seeds)
    error = np.sqrt(variance * max(1 / first + 1 / second for first, second in combinations(seeds, 2)))
    return float((student.ppf(0.975, freedom) + student.ppf(power, freedom)) * error)
