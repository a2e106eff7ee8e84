"""From the budgets' runs to a verdict: preconditions, tests, laws, what a power law has to stand."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any

import numpy as np
from attrs import evolve, frozen
from scipy.stats import t as student

from scalecore_analysis.scaling.budgets import BudgetRuns
from scalecore_analysis.scaling.estimator import LEAST_SQUARES, Fit, fit
from scalecore_analysis.scaling.isotonic import Null, non_increasing, null_of, statistics
from scalecore_analysis.scaling.law_comparison import (
    HeldOutPrediction,
    akaike_weights,
    corrected_aic,
    isotonic_residuals,
    lack_of_fit,
    leave_largest_out,
    undetermined,
    untestable,
)
from scalecore_analysis.scaling.laws import LAWS, Floats, Points, centred
from scalecore_analysis.scaling.preconditions import Precondition
from scalecore_analysis.scaling.resampling import resampled, widened
from scalecore_analysis.scaling.verdict import SIMULATED, ScalingVerdict, classify, smallest_effect, step_bounds

__all__ = ["Assessment", "FittedLaw", "Tests", "assess", "fit_laws", "pooled_variance"]

POWER_BUDGETS = 4
GOODNESS = 0.05
"""Below this p-value a law does not describe the losses, so that it earns no verdict."""
MISFIT = 0.01
"""Below this one its parameters have no intervals. One of twenty right laws would lose them at 5 %."""
UNLIKELY = 0.01
"""Nor has a law of so small a weight: where no cell is repeated there is no other test of its fit."""
DRAWS = 1000


@frozen(kw_only=True)
class Tests:
    """What the verdict was read from; all in units of the loss but the statistics."""

    variance: float
    freedom: int
    spreads: tuple[float, ...]
    equal: float
    equal_p: float
    ordered: float
    ordered_p: float
    steps: tuple[float, ...]
    """From each budget to the next larger one; negative is better."""
    bounds: tuple[float, ...]
    """95 % upper bounds of the steps."""
    isotonic: tuple[float, ...]
    smallest_effect: float


@frozen(kw_only=True, eq=False)
class FittedLaw:
    """A law, how it fits, and what it says of a budget that it has not seen. None where it cannot be said."""

    name: str
    text: str
    reason: str | None
    """Why it cannot be tested, where it cannot."""
    fit: Fit | None = None
    thetas: Floats | None = None
    aicc: float | None = None
    weight: float | None = None
    prediction: HeldOutPrediction | None = None
    goodness: float | None = None

    @property
    def misses(self) -> bool:
        """Whether the losses are not those of this law. Then the resamples say nothing of its parameters.

        Beyond its threshold the Huber loss counts on which side of the law a run lies, not how far away. Where all runs
        of a cell lie on one side, every resample has the same optimum: intervals of no width.
        """
        unlikely = self.weight is not None and self.weight < UNLIKELY
        return unlikely or (self.goodness is not None and self.goodness <= MISFIT)

    def intervals(self) -> dict[str, tuple[float, float | None, float | None]]:
        """Value, low and high (95 %) of each parameter as papers write it; a law that misses has no intervals."""
        if self.fit is None or self.thetas is None:
            return {}
        values, draws = self.fit.natural(), self.fit.natural(self.thetas)
        found: dict[str, tuple[float, float | None, float | None]] = {}
        for name, value in values.items():
            low, high = np.quantile(draws[name], (0.025, 0.975)).tolist()
            found[name] = (float(value), None, None) if self.misses else (float(value), low, high)
        return found


@frozen(kw_only=True)
class Assessment:
    """All that is known of the claim."""

    verdict: ScalingVerdict
    preconditions: tuple[Precondition, ...]
    exploratory: tuple[str, ...]
    """What makes it so."""
    tests: Tests | None
    laws: tuple[FittedLaw, ...]
    power_law: str
    """What was asked of a power law, and what it answered."""

    @property
    def missing(self) -> list[Precondition]:
        """What keeps the claim from being assessed."""
        return [one for one in self.preconditions if not one.stands]


def assess(
    budgets: Sequence[BudgetRuns],
    points: Points,
    conditions: Sequence[Precondition],
    *,
    margin: float | None,
    resamples: int,
    seed: int,
) -> Assessment:
    """Judge the `budgets`, and fit the laws to the `points`.

    Tests and laws are given wherever they can be computed, also where the claim is not assessable.
    """
    spread = pooled_variance(budgets)[0] > 0
    increasing = all(small.parameters < large.parameters for small, large in pairwise(budgets))
    null = null_of([len(one.losses) for one in budgets]) if spread and increasing and len(budgets) > 1 else None
    tests = run_tests(budgets, null) if null is not None else None
    laws = fit_laws(points, resamples=resamples, seed=seed)
    verdict, power_law = ScalingVerdict.NOT_ASSESSABLE, "not asked: the claim is not assessable"
    if null is not None and margin is not None and all(one.stands for one in conditions):
        means, seeds, variance = _statistics_of(budgets)
        code = classify(
            means[None],
            seeds=seeds,
            variance=np.array([variance]),
            margin=np.array([margin]),
            null=null,
        )
        verdict = SIMULATED[int(code[0])]
        power_law = f"not asked: the claim is {verdict}"
        if verdict is ScalingVerdict.HOLDS:
            stands, power_law = _power_law(laws, len(budgets))
            verdict = ScalingVerdict.HOLDS_WITH_POWER_LAW if stands else verdict
    declared = {one.margin for one in budgets}
    exploratory = [f"{one.name} waived" for one in conditions if one.waived]
    if margin is not None and declared != {margin}:
        exploratory.append("the margin was given after the studies")
    return Assessment(
        verdict=verdict,
        preconditions=tuple(conditions),
        exploratory=tuple(exploratory),
        tests=tests,
        laws=tuple(laws),
        power_law=power_law,
    )


def pooled_variance(budgets: Sequence[BudgetRuns]) -> tuple[float, int]:
    """The variance of the seeds within their budgets, and its degrees of freedom; 0 and 0 of single runs."""
    squares = sum(sum((loss - one.mean) ** 2 for loss in one.losses) for one in budgets)
    freedom = sum(len(one.losses) - 1 for one in budgets)
    return (squares / freedom if freedom else 0.0), freedom


def _statistics_of(budgets: Sequence[BudgetRuns]) -> tuple[Floats, list[int], float]:
    return np.array([one.mean for one in budgets]), [len(one.losses) for one in budgets], pooled_variance(budgets)[0]


def run_tests(budgets: Sequence[BudgetRuns], null: Null) -> Tests:
    """Both statistics with their p-values, and the steps with their bounds."""
    means, seeds, variance = _statistics_of(budgets)
    each = np.array([variance])
    equal, ordered = (float(one[0]) for one in statistics(means[None], seeds=seeds, variance=each))
    equal_p, ordered_p = null.p_values(equal, ordered)
    return Tests(
        variance=variance,
        freedom=sum(seeds) - len(seeds),
        spreads=tuple(float(np.std(one.losses, ddof=1)) if len(one.losses) > 1 else 0.0 for one in budgets),
        equal=equal,
        equal_p=equal_p,
        ordered=ordered,
        ordered_p=ordered_p,
        steps=tuple(np.diff(means).tolist()),
        bounds=tuple(step_bounds(means[None], seeds=seeds, variance=each)[0].tolist()),
        isotonic=tuple(non_increasing(means[None], np.array(seeds, dtype=np.float64))[0].tolist()),
        smallest_effect=smallest_effect(seeds=seeds, variance=variance),
    )


def mean_interval(losses: Sequence[float], *, variance: float, freedom: int) -> tuple[float, float]:
    """The 95 % interval of a budget's mean over seeds, by the pooled variance."""
    mean = float(np.mean(losses))
    width = float(student.ppf(0.975, freedom) * np.sqrt(variance / len(losses)))
    return mean - width, mean + width


def fit_laws(points: Points, *, resamples: int, seed: int) -> list[FittedLaw]:
    """Every law, the isotonic one among them, with weights over those that can be tested."""
    found: list[FittedLaw] = []
    roots = np.sqrt(points.weights)
    for law in LAWS.values():
        reason = untestable(law, points)
        squares = fit(law, points, delta=LEAST_SQUARES) if reason is None else None
        if squares is None or (reason := undetermined(squares)) is not None:
            found.append(FittedLaw(name=law.name, text=law.text, reason=reason))
            continue
        fitted = fit(law, points)
        inputs = centred(points.parameters, points.windows, of=points)
        residuals = law.terms(squares.theta, inputs)[0] - np.log(points.losses)
        found.append(
            FittedLaw(
                name=law.name,
                text=law.text,
                reason=None,
                fit=fitted,
                thetas=widened(fitted, resampled(fitted, resamples=resamples, seed=seed)),
                aicc=corrected_aic(roots * residuals, law.count),
                prediction=leave_largest_out(law, points, resamples=resamples, seed=seed),
                goodness=lack_of_fit(law, points, draws=DRAWS, seed=seed),
            )
        )
    if not any(one.fit for one in found):
        return found
    residuals, levels = isotonic_residuals(points)
    text = "L does not increase with N, and is otherwise free"
    isotonic = FittedLaw(name="isotonic", text=text, reason=None, aicc=corrected_aic(roots * residuals, levels))
    found.insert(1, isotonic)
    weights: Mapping[str, Any] = akaike_weights({one.name: one.aicc for one in found})
    return [evolve(one, weight=weights[one.name]) for one in found]


def _power_law(laws: Sequence[FittedLaw], budgets: int) -> tuple[bool, str]:
    """Whether the better one of the two power laws fits, and foretold the largest budget."""
    if budgets < POWER_BUDGETS:
        return False, f"not testable with {budgets} budgets; {POWER_BUDGETS} are needed, 5 are better"
    candidates = [one for one in laws if one.name in ("power", "power with floor") and one.aicc is not None]
    if not candidates:
        return False, "no power law could be fitted"
    best = min(candidates, key=lambda one: float(one.aicc or 0.0))
    fits = best.goodness is not None and best.goodness > GOODNESS
    foretold = best.prediction is not None and best.prediction.covered
    text = (
        f"{best.text}: lack of fit p = {'unknown' if best.goodness is None else f'{best.goodness:.3f}'}; the largest "
        f"budget lies {'inside' if foretold else 'NOT inside'} the interval predicted from the others"
    )
    return fits and foretold, text
