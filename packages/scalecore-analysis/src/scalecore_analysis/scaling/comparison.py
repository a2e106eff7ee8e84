"""Which law the data speak for: AICc weights, what a law without the largest budget says of it, and lack of fit.

Weights and lack of fit compare squared differences of logs, so the laws are fitted by least squares there.
"""

from __future__ import annotations

import numpy as np
from attrs import frozen

from scalecore_analysis.scaling.estimator import LEAST_SQUARES, Fit, fit
from scalecore_analysis.scaling.isotonic import non_increasing
from scalecore_analysis.scaling.laws import Floats, Law, Points, centred
from scalecore_analysis.scaling.resampling import descend_all, resampled

__all__ = [
    "Prediction",
    "akaike_weights",
    "cell_means",
    "corrected_aic",
    "isotonic_residuals",
    "lack_of_fit",
    "leave_largest_out",
    "untestable",
]

D_SPAN = 1.5
"""A law in D needs data that span at least this factor."""


def untestable(law: Law, points: Points) -> str | None:
    """Why these points cannot tell this law from one that just joins them, or None."""
    sizes = len(np.unique(points.parameters))
    if law.uses_windows:
        span = float(points.windows.max() / points.windows.min())
        if span < D_SPAN:
            return f"D spans a factor of {span:.3g} only"
        sizes = len({*zip(points.parameters.tolist(), points.windows.tolist(), strict=True)})
    if sizes <= law.count and law.count > 1:
        what = "sizes and amounts of data" if law.uses_windows else "sizes"
        return f"{law.count} parameters of the mean need at least {law.count + 1} {what}, there are {sizes}"
    return None


def cell_means(points: Points) -> tuple[Floats, Floats, Floats]:
    """Of each budget: the mean log of N, the mean log of the loss, the number of runs; [budgets] each."""
    order = np.unique(points.budgets)
    groups = [points.budgets == one for one in order]
    return (
        np.array([np.log(points.parameters[group]).mean() for group in groups]),
        np.array([np.log(points.losses[group]).mean() for group in groups]),
        np.array([group.sum() for group in groups], dtype=np.float64),
    )


def isotonic_residuals(points: Points) -> tuple[Floats, int]:
    """Differences of logs [runs] from the non-increasing fit of the budgets' means, and its number of levels."""
    _, means, counts = cell_means(points)
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
class Prediction:
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


def leave_largest_out(law: Law, points: Points, *, resamples: int, seed: int) -> Prediction | None:
    """Fit all budgets but the largest, predict the mean over its runs; None where too few sizes are left.

    The interval takes in both the fit, by resampling its runs, and the spread of the mean that is predicted, by that of
    the runs within their budgets.
    """
    largest = int(points.budgets.max())
    rest, held = points.without(largest), points.budgets == largest
    if len(np.unique(rest.parameters)) < law.count or not len(rest.losses):
        return None
    fitted = fit(law, rest)
    at = (points.parameters[held], points.windows[held])
    thetas = resampled(fitted, resamples=resamples, seed=seed)
    predicted = np.log(fitted.predict(*at)).mean()
    draws = np.log(fitted.predict(*at, theta=thetas)).mean(axis=1)
    _, means, counts = cell_means(rest)
    position = np.searchsorted(np.unique(rest.budgets), rest.budgets)
    freedom = len(rest.losses) - len(counts)
    if freedom <= 0:
        return None
    spread = np.sqrt(((np.log(rest.losses) - means[position]) ** 2).sum() / freedom)
    noise = np.random.default_rng(seed).standard_t(freedom, size=len(draws)) * spread / np.sqrt(held.sum())
    low, high = np.quantile(draws + noise, (0.025, 0.975))
    observed = np.log(points.losses[held]).mean()
    return Prediction(
        predicted=float(np.exp(predicted)),
        low=float(np.exp(low)),
        high=float(np.exp(high)),
        observed=float(np.exp(observed)),
    )


def lack_of_fit(law: Law, points: Points, *, draws: int, seed: int) -> float | None:
    """The p-value of the budgets' means lying so far from the law, if it were true: a parametric bootstrap.

    The statistic is the weighted sum of squares between means and law over the pooled variance of the runs. None where
    there is nothing to test: as many parameters as sizes, or no spread of the runs.
    """
    sizes, means, counts = cell_means(points)
    position = np.searchsorted(np.unique(points.budgets), points.budgets)
    freedom = len(points.losses) - len(means)
    if freedom <= 0 or len(means) <= law.count:
        return None
    variance = float(((np.log(points.losses) - means[position]) ** 2).sum()) / freedom
    if variance <= 0:
        return None
    windows = np.array([np.exp(np.log(points.windows[position == one]).mean()) for one in range(len(means))])
    cells = Points(parameters=np.exp(sizes), windows=windows, losses=np.exp(means))
    fitted = _of_means(law, cells, counts)
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


def _of_means(law: Law, cells: Points, counts: Floats) -> Floats:
    """The weighted least-squares fit of the budgets' means, from the unweighted one."""
    first: Fit = fit(law, cells, delta=LEAST_SQUARES)
    inputs = centred(cells.parameters, cells.windows, of=cells)
    found = descend_all(
        law, first.theta[None], inputs, np.log(cells.losses)[None], weights=counts[None], delta=LEAST_SQUARES
    )
    theta: Floats = found[0]
    return theta
