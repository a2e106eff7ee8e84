"""From the budgets' runs to a verdict: preconditions, tests, laws, and the test of a power law."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from itertools import pairwise
from typing import Any, Literal

import numpy as np
from attrs import evolve, frozen
from scipy.stats import t as student

from scalecore_analysis.scaling.budgets import BudgetRuns
from scalecore_analysis.scaling.estimator import LEAST_SQUARES, Fit, fit
from scalecore_analysis.scaling.isotonic import Null, non_increasing
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
from scalecore_analysis.scaling.seeds_and_windows import SeedsAndWindows
from scalecore_analysis.scaling.verdict import CONFIDENCE, LEVEL, SIMULATED, ScalingVerdict, Seeds, decide
from scalecore_analysis.scaling.windows import WindowErrors

__all__ = [
    "Assessment",
    "FittedLaw",
    "Tests",
    "Trend",
    "assess",
    "difference_width",
    "fit_laws",
    "pooled_variance",
    "trend_of",
]

POWER_BUDGETS = 4
GOODNESS = 0.05
"""A law with a smaller p-value of lack of fit supports no verdict."""
MISFIT = 0.01
"""A law with a smaller p-value has no parameter intervals. At 5 %, one of twenty correct laws would lose them."""
UNLIKELY = 0.01
"""A law with a smaller weight has none either: without repeated cells there is no other test of its fit."""
DRAWS = 1000

Variation = Seeds | SeedsAndWindows


@frozen(kw_only=True)
class Trend:
    """The mean change of the loss per tenfold number of parameters, by least squares weighted with the seeds.

    The interval (95 %) includes the variation over seeds and, if `windows` is None, over windows (the same windows of
    all budgets); otherwise `windows` is the reason why not. It includes no deviation of the means from a line.
    """

    per_decade: float
    low: float
    high: float
    relative: float
    """Change per decade as a share of the mean loss of the smallest budget."""
    relative_low: float
    relative_high: float
    windows: str | None

    @property
    def over_windows(self) -> Literal["falls", "rises", "open"] | None:
        """What is known about the loss on other windows; None if the interval includes no variation over windows."""
        if self.windows is not None:
            return None
        return "falls" if self.high < 0 else "rises" if self.low > 0 else "open"


@frozen(kw_only=True)
class Tests:
    """The results behind the verdict; all but the statistics are in units of the loss."""

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
    trend: Trend
    limit: float | None = None
    """The smallest effect with any number of seeds, due to the windows; None if the tests do not include windows."""


@frozen(kw_only=True, eq=False)
class FittedLaw:
    """A law, its fit, and its prediction for a held-out budget. Values that cannot be computed are None."""

    name: str
    text: str
    reason: str | None
    """Why the law cannot be tested, or None."""
    fit: Fit | None = None
    thetas: Floats | None = None
    aicc: float | None = None
    weight: float | None = None
    prediction: HeldOutPrediction | None = None
    goodness: float | None = None

    @property
    def misses(self) -> bool:
        """Whether this law does not describe the losses, which makes intervals from resamples invalid.

        Beyond its threshold the gradient of the Huber loss depends only on the side of the law on which a run is. If
        all runs of a cell are on one side, every resample has the same optimum, and intervals have no width.
        """
        unlikely = self.weight is not None and self.weight < UNLIKELY
        return unlikely or (self.goodness is not None and self.goodness <= MISFIT)

    def intervals(self) -> dict[str, tuple[float, float | None, float | None]]:
        """Value, low and high (95 %) of each parameter in the usual form; no interval if `misses`."""
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
    """The verdict on the claim, and the evidence."""

    verdict: ScalingVerdict
    preconditions: tuple[Precondition, ...]
    exploratory: tuple[str, ...]
    """The reasons why the verdict is exploratory."""
    tests: Tests | None
    laws: tuple[FittedLaw, ...]
    power_law: str
    """The result of the test of a power law."""
    adjusted: ScalingVerdict
    """The verdict if the errors of all verdicts of the page together have the rate of one."""

    @property
    def missing(self) -> list[Precondition]:
        """The preconditions that prevent a verdict."""
        return [one for one in self.preconditions if not one.satisfied]


def assess(
    budgets: Sequence[BudgetRuns],
    points: Points,
    conditions: Sequence[Precondition],
    *,
    margin: float | None,
    resamples: int,
    seed: int,
    verdicts: int = 1,
    left_out: Sequence[str] = (),
    windows: WindowErrors | str = "no studies",
) -> Assessment:
    """Test the claim on the `budgets`, and fit the laws to the `points`.

    Tests and laws are computed if possible, even if the claim is not assessable. `verdicts` is the number of verdicts
    that are given together, `left_out` the budgets without a completed trial, `windows` the errors due to the choice of
    windows, or why they are unknown.
    """
    spread = pooled_variance(budgets)[0] > 0
    increasing = all(small.parameters < large.parameters for small, large in pairwise(budgets))
    varied = _variation(budgets, windows) if spread and increasing and len(budgets) > 1 else None
    null = varied.null() if varied is not None else None
    tests = run_tests(budgets, varied, null, windows=windows) if varied is not None and null is not None else None
    laws = fit_laws(points, resamples=resamples, seed=seed)
    verdict = adjusted = ScalingVerdict.NOT_ASSESSABLE
    power_law = "not tested: the claim is not assessable"
    if varied is not None and null is not None and margin is not None and all(one.satisfied for one in conditions):
        verdict = _classified(budgets, varied, null, margin=margin)
        adjusted = _classified(budgets, varied, null, margin=margin, verdicts=verdicts) if verdicts > 1 else verdict
        power_law = f"not tested: the claim is {verdict}"
        if verdict is ScalingVerdict.HOLDS:
            supported, power_law = _power_law(laws, len(budgets))
            if supported:
                verdict = ScalingVerdict.HOLDS_WITH_POWER_LAW
                adjusted = verdict if adjusted is ScalingVerdict.HOLDS else adjusted
    declared = {one.margin for one in budgets}
    exploratory = [f"{one.name} waived" for one in conditions if one.waived]
    exploratory += [f"{label} is left out: no completed trial" for label in left_out]
    if margin is not None and declared != {margin}:
        exploratory.append("the margin was set after the studies")
    return Assessment(
        verdict=verdict,
        preconditions=tuple(conditions),
        exploratory=tuple(exploratory),
        tests=tests,
        laws=tuple(laws),
        power_law=power_law,
        adjusted=adjusted,
    )


def _variation(budgets: Sequence[BudgetRuns], windows: WindowErrors | str) -> Variation:
    """The variation of the means over seeds, and over windows if it is known."""
    _, seeds, variance = _statistics_of(budgets)
    if isinstance(windows, WindowErrors):
        return SeedsAndWindows(seeds=seeds, variance=variance, projections=windows.projections)
    return Seeds(seeds=seeds, variance=variance)


def _classified(
    budgets: Sequence[BudgetRuns], varied: Variation, null: Null, *, margin: float, verdicts: int = 1
) -> ScalingVerdict:
    means = _statistics_of(budgets)[0]
    equal, ordered = varied.statistics(means)
    code = decide(
        means[None],
        margin=np.array([margin]),
        found=(np.array([equal]), np.array([ordered])),
        critical=null.critical(LEVEL / verdicts),
        width=partial(varied.width, level=1 - (1 - CONFIDENCE) / verdicts),
    )
    return SIMULATED[int(code[0])]


def pooled_variance(budgets: Sequence[BudgetRuns]) -> tuple[float, int]:
    """The pooled variance over seeds within budgets, and its degrees of freedom; 0 and 0 for single runs."""
    squares = sum(sum((loss - one.mean) ** 2 for loss in one.losses) for one in budgets)
    freedom = sum(len(one.losses) - 1 for one in budgets)
    return (squares / freedom if freedom else 0.0), freedom


def _statistics_of(budgets: Sequence[BudgetRuns]) -> tuple[Floats, list[int], float]:
    return np.array([one.mean for one in budgets]), [len(one.losses) for one in budgets], pooled_variance(budgets)[0]


def run_tests(budgets: Sequence[BudgetRuns], varied: Variation, null: Null, *, windows: WindowErrors | str) -> Tests:
    """Both test statistics with their p-values, and the steps with their bounds."""
    means, seeds, variance = _statistics_of(budgets)
    equal, ordered = varied.statistics(means)
    equal_p, ordered_p = null.p_values(equal, ordered)
    steps = np.diff(means).tolist()
    return Tests(
        variance=variance,
        freedom=sum(seeds) - len(seeds),
        spreads=tuple(float(np.std(one.losses, ddof=1)) if len(one.losses) > 1 else 0.0 for one in budgets),
        equal=equal,
        equal_p=equal_p,
        ordered=ordered,
        ordered_p=ordered_p,
        steps=tuple(steps),
        bounds=tuple(step + varied.width(at, at + 1, level=CONFIDENCE) for at, step in enumerate(steps)),
        isotonic=tuple(non_increasing(means[None], np.array(seeds, dtype=np.float64))[0].tolist()),
        smallest_effect=varied.smallest_effect(),
        trend=trend_of(budgets, variance=variance, windows=windows),
        limit=varied.limit(),
    )


def trend_of(budgets: Sequence[BudgetRuns], *, variance: float, windows: WindowErrors | str) -> Trend:
    """The trend over at least two budgets of different sizes, from the pooled variance over seeds."""
    means, seeds, _ = _statistics_of(budgets)
    weights = np.array(seeds, dtype=np.float64)
    decades = np.log10([one.parameters for one in budgets])
    centred_decades = decades - np.average(decades, weights=weights)
    squares = float((weights * centred_decades**2).sum())
    contrast = weights * centred_decades / squares
    slope = float((contrast * means).sum())
    parts = [(variance / squares, sum(seeds) - len(seeds))]
    if isinstance(windows, WindowErrors):
        parts.append(windows.variance(contrast))
    # The degrees of freedom of a sum of variances (Welch 1947, Satterthwaite 1946).
    total = sum(part for part, _ in parts)
    freedom = total**2 / sum(part**2 / count for part, count in parts)
    width = float(student.ppf(0.975, freedom) * np.sqrt(total))
    found, first = (slope, slope - width, slope + width), float(means[0])
    names = ("per_decade", "low", "high", "relative", "relative_low", "relative_high")
    values = dict(zip(names, (*found, *(one / first for one in found)), strict=True))
    return Trend(**values, windows=windows if isinstance(windows, str) else None)


def mean_interval(losses: Sequence[float], *, variance: float, freedom: int) -> tuple[float, float]:
    """The 95 % confidence interval of a budget's mean over seeds, from the pooled variance."""
    mean = float(np.mean(losses))
    width = float(student.ppf(0.975, freedom) * np.sqrt(variance / len(losses)))
    return mean - width, mean + width


def difference_width(first: Sequence[float], second: Sequence[float], *, tests: Tests) -> float:
    """Half the width of the 95 % confidence interval of the difference of two budgets' means over seeds."""
    return float(student.ppf(0.975, tests.freedom) * np.sqrt(tests.variance * (1 / len(first) + 1 / len(second))))


def fit_laws(points: Points, *, resamples: int, seed: int) -> list[FittedLaw]:
    """All laws, including the isotonic one, with weights over the testable laws."""
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
    text = "L is non-increasing in N, otherwise free"
    isotonic = FittedLaw(name="isotonic", text=text, reason=None, aicc=corrected_aic(roots * residuals, levels))
    found.insert(1, isotonic)
    weights: Mapping[str, Any] = akaike_weights({one.name: one.aicc for one in found})
    return [evolve(one, weight=weights[one.name]) for one in found]


def _power_law(laws: Sequence[FittedLaw], budgets: int) -> tuple[bool, str]:
    """Whether the better of the two power laws fits and predicts the largest budget."""
    if budgets < POWER_BUDGETS:
        return False, f"not testable with {budgets} budgets; at least {POWER_BUDGETS} required, better 5"
    candidates = [one for one in laws if one.name in ("power", "power with floor") and one.aicc is not None]
    if not candidates:
        return False, "no power law could be fitted"
    best = min(candidates, key=lambda one: float(one.aicc or 0.0))
    fits = best.goodness is not None and best.goodness > GOODNESS
    predicted = best.prediction is not None and best.prediction.covered
    text = (
        f"{best.text}: lack of fit p = {'unknown' if best.goodness is None else f'{best.goodness:.3f}'}; the largest "
        f"budget is {'inside' if predicted else 'NOT inside'} the prediction interval from the others"
    )
    return fits and predicted, text
