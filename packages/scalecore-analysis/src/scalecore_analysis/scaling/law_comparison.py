"""Which law the data speak for: AICc weights, what a law without the largest budget says of it, and lack of fit.

Weights and lack of fit compare squared differences of logs, so the laws are fitted by least squares there.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from attrs import frozen

from scalecore_analysis.scaling.estimator import LEAST_SQUARES, Fit, fit
from scalecore_analysis.scaling.isotonic import non_increasing
from scalecore_analysis.scaling.laws import Floats, Law, Points, centred
from scalecore_analysis.scaling.resampling import descend_all, resampled, widened

__all__ = [
    "D_SPAN",
    "HeldOutPrediction",
    "akaike_weights",
    "cell_means",
    "corrected_aic",
    "isotonic_residuals",
    "lack_of_fit",
    "leave_largest_out",
    "undetermined",
    "untestable",
]

D_SPAN = 1.5
"""A law in D needs data that span at least this factor, also at one N."""
LEVELS = 3
"""A floor, a coefficient and an exponent are determined by as many values of N, or of D, and no fewer."""
OPEN = 1.0
"""A standard error of an exponent, or of the log of a coefficient, from which it may be anything."""
DIGITS = 1e-6
"""Losses are not known more closely than this share of them, also where a law joins them without a rest."""


def untestable(law: Law, points: Points) -> str | None:
    """Why these points cannot tell this law from one that just joins them, or None."""
    sizes, runs = len(np.unique(points.parameters)), len(points.losses)
    if runs == 1:
        return "there is only one run"
    if float(np.ptp(points.losses)) == 0:
        return "the loss is the same in all runs"
    if law.uses_windows and (reason := _one_sided(points)) is not None:
        return reason
    if sizes == 1:
        return f"N does not vary: it is {points.parameters[0]:.12g} in all runs"
    cells = len(np.unique(points.repeated(law))) if law.uses_windows else sizes
    if cells <= law.count:
        what = "sizes and amounts of data" if law.uses_windows else "sizes"
        return f"{law.count} parameters of the mean need at least {law.count + 1} {what}, there are {cells}"
    if runs < (least := law.count + 3):
        return f"its parameters and the spread of the runs need at least {least} runs, there are {runs}"
    return None


def _one_sided(points: Points) -> str | None:
    """Why a law in N and D cannot be told from one in N or D alone, or None."""
    if not points.known:
        return "D is not known for every run"
    span = float(points.windows.max() / points.windows.min())
    if span < D_SPAN:
        return f"D spans a factor of {span:.3g} only"
    for name, values in (("N", points.parameters), ("D", points.windows)):
        if (levels := len(np.unique(values))) < LEVELS:
            return f"a term that falls with {name} needs at least {LEVELS} values of {name}, there are {levels}"
    n, d = (np.log(one) - np.log(one).mean() for one in (points.parameters, points.windows))
    beside = d - n * float(n @ d) / float(n @ n)
    if (span := float(np.exp(np.ptp(beside)))) < D_SPAN:
        return f"D follows N: at one N it spans a factor of {span:.3g} only"
    return None


def undetermined(fit: Fit) -> str | None:
    """Why these points leave parameters of a least-squares fit open, or None.

    A coefficient whose standard error is a factor of e, or an exponent whose error is 1, may be anything; so may one
    that lies on its upper bound. Resamples that start from such a value stay near it, and would call it certain.
    """
    law, points, theta = fit.law, fit.points, fit.theta
    if law.exponents == 0:
        return None
    value, gradient = law.terms(theta, centred(points.parameters, points.windows, of=points))
    residuals = value - np.log(points.losses)
    variance = float((points.weights * residuals**2).sum()) / (len(residuals) - law.count)
    spread = max(variance**0.5, DIGITS)
    lengths = np.sqrt((points.weights[:, None] * gradient**2).sum(axis=0))
    scaled = np.sqrt(points.weights)[:, None] * gradient / np.where(lengths > 0, lengths, 1.0)
    # Columns of length one: then a singular value says how far one parameter can be made up for by the others.
    _, singular, axes = np.linalg.svd(scaled, full_matrices=False)
    shares = np.linalg.norm(axes / np.maximum(singular, 1e-9)[:, None], axis=0)
    errors = spread * shares / np.maximum(lengths, 1e-300)
    bounds = np.array([np.inf if high is None else high for _, high in law.bounds])
    open_ones = [
        name
        for name, error, at, bound in zip(law.names, errors, theta, bounds, strict=True)
        if error >= OPEN or at >= bound
    ]
    return f"these runs do not determine {', '.join(open_ones)}" if open_ones else None


def cell_means(points: Points, groups: npt.NDArray[np.int64] | None = None) -> tuple[Floats, Floats, Floats]:
    """Of each cell, or group: the mean log of N, the mean log of the loss, the sum of the weights; [cells] each."""
    of = points.cells if groups is None else groups
    position = np.searchsorted(np.unique(of), of)
    counts: Floats = np.bincount(position, points.weights).astype(np.float64)
    sizes, losses = (np.bincount(position, points.weights * np.log(one)) for one in (points.parameters, points.losses))
    return sizes / counts, losses / counts, counts


def isotonic_residuals(points: Points) -> tuple[Floats, int]:
    """Differences of logs [runs] from the non-increasing fit of the sizes' means, and its number of levels."""
    _, means, counts = cell_means(points, points.budgets)
    fitted = non_increasing(means[None], counts)[0]
    position = np.searchsorted(np.unique(points.budgets), points.budgets)
    return np.log(points.losses) - fitted[position], len(np.unique(fitted))


def corrected_aic(residuals: Floats, parameters: int) -> float | None:
    """AICc of normal residuals; `parameters` of the mean, to which that of the spread is added.

    After Hurvich and Tsai (1989). None where there are too few runs for so many parameters, or nothing is left over.
    """
    runs, count = len(residuals), parameters + 1
    squares = float(residuals @ residuals)
    if runs - count - 1 <= 0 or squares <= 0:
        return None
    return runs * float(np.log(squares / runs)) + 2 * count + 2 * count * (count + 1) / (runs - count - 1)


def akaike_weights(values: dict[str, float | None]) -> dict[str, float | None]:
    """How the evidence is shared between those that have an AICc; they sum to 1."""
    known = {name: value for name, value in values.items() if value is not None}
    if not known:
        return dict.fromkeys(values)
    best = min(known.values())
    shares = {name: float(np.exp(-(value - best) / 2)) for name, value in known.items()}
    total = sum(shares.values())
    return {name: shares[name] / total if name in shares else None for name in values}


@frozen(kw_only=True)
class HeldOutPrediction:
    """What a law that has not seen the largest budget says of its mean loss."""

    predicted: float
    low: float
    high: float
    observed: float

    @property
    def error(self) -> float:
        """Absolute relative error."""
        return abs(self.predicted - self.observed) / self.observed

    @property
    def covered(self) -> bool:
        """Whether the observed mean lies in the 95 % interval."""
        return self.low <= self.observed <= self.high


def leave_largest_out(law: Law, points: Points, *, resamples: int, seed: int) -> HeldOutPrediction | None:
    """Fit all budgets but the largest, predict the mean over its runs; None where too few sizes are left.

    The interval takes in both the fit, by resampling its runs, and the spread of the mean that is predicted, by that of
    the runs within their budgets.
    """
    largest = int(points.budgets.max())
    rest, held = points.without(largest), points.budgets == largest
    sizes = len(np.unique(rest.parameters))
    if not sizes or (untestable(law, rest) if law.uses_windows else sizes < law.count):
        return None
    fitted = fit(law, rest)
    at = (points.parameters[held], points.windows[held])
    thetas = widened(fitted, resampled(fitted, resamples=resamples, seed=seed))
    predicted = np.log(fitted.predict(*at)).mean()
    draws = np.log(fitted.predict(*at, theta=thetas)).mean(axis=1)
    _, means, counts = cell_means(rest)
    expected, freedom = means[np.searchsorted(np.unique(rest.cells), rest.cells)], len(rest.losses) - len(counts)
    if freedom <= 0:  # nothing is repeated: the residuals of the law estimate the spread of the runs
        expected = np.log(fitted.predict(rest.parameters, rest.windows))
        freedom = len(rest.losses) - law.count
    if freedom <= 0:
        return None
    spread = np.sqrt((rest.weights * (np.log(rest.losses) - expected) ** 2).sum() / freedom)
    noise = np.random.default_rng(seed).standard_t(freedom, size=len(draws)) * spread / np.sqrt(held.sum())
    low, high = np.quantile(draws + noise, (0.025, 0.975))
    observed = np.log(points.losses[held]).mean()
    return HeldOutPrediction(
        predicted=float(np.exp(predicted)),
        low=float(np.exp(low)),
        high=float(np.exp(high)),
        observed=float(np.exp(observed)),
    )


def lack_of_fit(law: Law, points: Points, *, draws: int, seed: int) -> float | None:
    """The p-value of the cells' means lying so far from the law, if it were true: a parametric bootstrap.

    The statistic is the weighted sum of squares between means and law over the pooled variance of the runs. None where
    there is nothing to test: as many parameters as cells, or no spread of the runs.
    """
    groups = points.repeated(law)
    sizes, means, counts = cell_means(points, groups)
    position = np.searchsorted(np.unique(groups), groups)
    freedom = len(points.losses) - len(means)
    if freedom <= 0 or len(means) <= law.count:
        return None
    variance = float((points.weights * (np.log(points.losses) - means[position]) ** 2).sum()) / freedom
    if variance <= 0:
        return None
    logs = np.bincount(position, np.log(points.windows)) / np.bincount(position)
    cells = Points(parameters=np.exp(sizes), windows=np.exp(logs), losses=np.exp(means), weights=counts)
    fitted = fit(law, cells, delta=LEAST_SQUARES).theta
    centre = law.terms(fitted, centred(cells.parameters, cells.windows, of=cells))[0]
    seen = float((counts * (means - centre) ** 2).sum()) / variance
    generator = np.random.default_rng(seed)
    targets = centre + generator.standard_normal((draws, len(means))) * np.sqrt(variance / counts)
    pooled = variance * generator.chisquare(freedom, size=draws) / freedom
    inputs = centred(cells.parameters, cells.windows, of=cells)
    weights = np.broadcast_to(counts, targets.shape)
    start = np.broadcast_to(fitted, (draws, len(fitted)))
    thetas = descend_all(law, start, inputs, targets, weights=weights, delta=LEAST_SQUARES)
    simulated = (counts * (targets - law.terms(thetas, inputs)[0]) ** 2).sum(axis=1) / pooled
    return float((1 + (simulated >= seen).sum()) / (1 + draws))
