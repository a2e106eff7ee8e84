"""Compare laws: AICc weights, prediction of the largest budget from the others, and lack of fit.

Weights and lack of fit compare squared differences of logs, so they use least-squares fits.
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
"""A law in D needs amounts of data that span at least this factor, also at a fixed N."""
LEVELS = 3
"""Minimum number of values of N, or of D, to determine a floor, a coefficient and an exponent."""
OPEN = 1.0
"""Standard error above which an exponent, or the log of a coefficient, counts as undetermined."""
DIGITS = 1e-6
"""Smallest relative error of losses that is assumed, even if a law interpolates them exactly."""


def untestable(law: Law, points: Points) -> str | None:
    """Why these points cannot distinguish this law from an interpolation, or None."""
    sizes, runs = len(np.unique(points.parameters)), len(points.losses)
    if runs == 1:
        return "there is only one run"
    if float(np.ptp(points.losses)) == 0:
        return "all runs have the same loss"
    if law.uses_windows and (reason := _one_sided(points)) is not None:
        return reason
    if sizes == 1:
        return f"N is {points.parameters[0]:.12g} in all runs"
    cells = len(np.unique(points.repeated(law))) if law.uses_windows else sizes
    if cells <= law.count:
        what = "sizes and amounts of data" if law.uses_windows else "sizes"
        return f"{law.count} parameters of the mean require at least {law.count + 1} {what}; there are {cells}"
    if runs < (least := law.count + 3):
        return f"parameters and variance require at least {least} runs; there are {runs}"
    return None


def _one_sided(points: Points) -> str | None:
    """Why a law in N and D cannot be distinguished from one in N or D alone, or None."""
    if not points.known:
        return "D is unknown for some runs"
    span = float(points.windows.max() / points.windows.min())
    if span < D_SPAN:
        return f"D spans only a factor of {span:.3g}"
    for name, values in (("N", points.parameters), ("D", points.windows)):
        if (levels := len(np.unique(values))) < LEVELS:
            return f"a term in {name} requires at least {LEVELS} values of {name}; there are {levels}"
    n, d = (np.log(one) - np.log(one).mean() for one in (points.parameters, points.windows))
    beside = d - n * float(n @ d) / float(n @ n)
    if (span := float(np.exp(np.ptp(beside)))) < D_SPAN:
        return f"D follows N: at fixed N it spans only a factor of {span:.3g}"
    return None


def undetermined(fit: Fit) -> str | None:
    """Which parameters of a least-squares fit these points do not determine, or None.

    A parameter is undetermined if it is at its upper bound, or if its standard error is at least a factor of e (a
    coefficient) or 1 (an exponent). Resamples that start from such a value stay near it and underestimate its variance.
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
    # With columns of length one, small singular values show parameters that the others can compensate.
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
    """For each cell or group: the mean log of N, the mean log of the loss, the sum of the weights; [cells] each."""
    of = points.cells if groups is None else groups
    position = np.searchsorted(np.unique(of), of)
    counts: Floats = np.bincount(position, points.weights).astype(np.float64)
    sizes, losses = (np.bincount(position, points.weights * np.log(one)) for one in (points.parameters, points.losses))
    return sizes / counts, losses / counts, counts


def isotonic_residuals(points: Points) -> tuple[Floats, int]:
    """Differences of logs [runs] from the non-increasing fit to the means by size, and its number of levels."""
    _, means, counts = cell_means(points, points.budgets)
    fitted = non_increasing(means[None], counts)[0]
    position = np.searchsorted(np.unique(points.budgets), points.budgets)
    return np.log(points.losses) - fitted[position], len(np.unique(fitted))


def corrected_aic(residuals: Floats, parameters: int) -> float | None:
    """AICc of normal residuals; `parameters` counts those of the mean, and the variance is added.

    After Hurvich and Tsai (1989). None if there are too few runs for the parameters, or if all residuals are 0.
    """
    runs, count = len(residuals), parameters + 1
    squares = float(residuals @ residuals)
    if runs - count - 1 <= 0 or squares <= 0:
        return None
    return runs * float(np.log(squares / runs)) + 2 * count + 2 * count * (count + 1) / (runs - count - 1)


def akaike_weights(values: dict[str, float | None]) -> dict[str, float | None]:
    """Akaike weights of the laws that have an AICc; they sum to 1."""
    known = {name: value for name, value in values.items() if value is not None}
    if not known:
        return dict.fromkeys(values)
    best = min(known.values())
    shares = {name: float(np.exp(-(value - best) / 2)) for name, value in known.items()}
    total = sum(shares.values())
    return {name: shares[name] / total if name in shares else None for name in values}


@frozen(kw_only=True)
class HeldOutPrediction:
    """Prediction of the largest budget's mean loss by a law fitted to the other budgets."""

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
        """Whether the observed mean is in the 95 % interval."""
        return self.low <= self.observed <= self.high


def leave_largest_out(law: Law, points: Points, *, resamples: int, seed: int) -> HeldOutPrediction | None:
    """Fit all budgets except the largest, and predict the mean of its runs; None if too few sizes remain.

    The prediction interval includes the variance of the fit, from resampled runs, and the variance of the predicted
    mean, from the runs within budgets.
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
    if freedom <= 0:  # no repeated cells: estimate the variance of the runs from the law's residuals
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
    """The p-value of the lack of fit of the cells' means to the law, by a parametric bootstrap.

    The statistic is the weighted sum of squares between means and law divided by the pooled variance of the runs. None
    if there is nothing to test: as many parameters as cells, or no variance of the runs.
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
