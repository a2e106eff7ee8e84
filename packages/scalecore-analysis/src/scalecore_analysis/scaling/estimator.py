"""Fit a law: minimise the sum of Huber losses of differences of logs with high precision.

The objective and its threshold of 1e-3 are those of Hoffmann et al. (2022). Besiroglu et al. (2024, Chinchilla scaling:
a replication attempt) showed that their optimiser stopped early, which a mean instead of the sum with default
tolerances suffices to cause. This module minimises the sum, scaled up, with an analytic gradient and tight tolerances.
Starting points come from a grid over the exponents: given these, a law is linear in its other parameters, which
non-negative least squares solves (variable projection, Golub and Pereyra 1973).
"""

from __future__ import annotations

from itertools import product

import numpy as np
from attrs import frozen
from scipy.optimize import least_squares, minimize, nnls

from scalecore_analysis.scaling.laws import LARGEST_EXPONENT, Floats, Inputs, Law, Points, centred

__all__ = ["DELTA", "LEAST_SQUARES", "Fit", "fit", "huber", "objective"]

DELTA = 1e-3
"""Above this difference of logs the Huber loss grows linearly, which limits the influence of outliers."""
LEAST_SQUARES = 1e6
"""A threshold above all differences of logs: the objective is half the sum of squares."""
SCALE = 1e5
"""Factor of the objective: L-BFGS-B uses absolute tolerances if the objective is below 1."""
GRID = 24
"""Number of values of each exponent in the grid of starts, geometric from 0.02 to the largest."""
STARTS = 4
"""Number of best grid cells from which the minimum is searched."""
ROUNDS = 20
"""Maximum number of restarts of L-BFGS-B with fresh curvature at its last point, while they improve the objective."""


@frozen(kw_only=True, eq=False)
class Fit:
    """A law with its parameters `theta` [count], in the order of `Law.terms` and centred on `points`."""

    law: Law
    theta: Floats
    objective: float
    points: Points

    def natural(self, theta: Floats | None = None) -> dict[str, Floats]:
        """Parameters in the usual form of papers, of this fit or of other `theta` [..., count] such as resamples."""
        return self.law.natural(self.theta if theta is None else theta, self.points)

    def predict(self, parameters: Floats, windows: Floats, *, theta: Floats | None = None) -> Floats:
        """Losses [..., points] at N and D, [points] each."""
        inputs = centred(parameters, windows, of=self.points)
        losses: Floats = np.exp(self.law.terms(self.theta if theta is None else theta, inputs)[0])
        return losses


def huber(residuals: Floats, delta: float) -> Floats:
    """Half the square up to `delta`, linear beyond."""
    size = np.abs(residuals)
    value: Floats = np.where(size <= delta, 0.5 * residuals**2, delta * (size - 0.5 * delta))
    return value


def objective(law: Law, theta: Floats, points: Points, *, delta: float = DELTA) -> float:
    """The objective at these parameters: the sum over the runs."""
    residuals = law.terms(theta, _inputs(points))[0] - np.log(points.losses)
    return float((points.weights * huber(residuals, delta)).sum())


def fit(law: Law, points: Points, *, delta: float = DELTA) -> Fit:
    """The fit with the smallest objective."""
    inputs, target = _inputs(points), np.log(points.losses)
    found = [_descend(law, start, points, delta) for start in _starts(law, points, inputs, target, delta)]
    theta, value = min(found, key=lambda one: one[1])
    return Fit(law=law, theta=theta, objective=value, points=points)


def _inputs(points: Points) -> Inputs:
    return centred(points.parameters, points.windows, of=points)


def _starts(law: Law, points: Points, inputs: Inputs, target: Floats, delta: float) -> list[Floats]:
    """The best cells of the grid over the exponents, each with its linear part fitted to relative errors."""
    typical = float(np.exp(target.mean()))
    # Weighted relative errors: multiply both sides by the root of the weight divided by the loss.
    roots = np.sqrt(points.weights)
    scale = (roots / points.losses)[:, None]
    if law.exponents == 0:
        columns = law.columns(np.empty(0), inputs) * scale
        linear = np.asarray(np.linalg.lstsq(columns, roots, rcond=None)[0], dtype=np.float64)
        return [law.assemble(linear, np.empty(0), typical)]
    values = np.geomspace(0.02, LARGEST_EXPONENT, GRID).tolist()
    cells = []
    for exponents in product(values, repeat=law.exponents):
        linear, _ = nnls(law.columns(np.array(exponents), inputs) * scale, roots)
        cells.append(law.assemble(linear, np.array(exponents), typical))
    thetas = np.array(cells)
    sums = (points.weights * huber(law.terms(thetas, inputs)[0] - target, delta)).sum(axis=-1)
    return [thetas[index] for index in np.argsort(sums, kind="stable")[:STARTS]]


def _descend(law: Law, start: Floats, points: Points, delta: float) -> tuple[Floats, float]:
    inputs, target, weights = _inputs(points), np.log(points.losses), points.weights

    def value_and_gradient(theta: Floats) -> tuple[float, Floats]:
        value, gradient = law.terms(theta, inputs)
        residuals = value - target
        pull = weights * np.clip(residuals, -delta, delta)
        return SCALE * float((weights * huber(residuals, delta)).sum()), SCALE * (pull @ gradient)

    theta, value = start, value_and_gradient(start)[0]
    for _ in range(ROUNDS):
        done = minimize(
            value_and_gradient,
            theta,
            jac=True,
            method="L-BFGS-B",
            bounds=law.bounds,
            options={"ftol": 1e-15, "gtol": 1e-9, "maxiter": 5000, "maxfun": 10000, "maxcor": 20},
        )
        gained = value - float(done.fun)
        if gained > 0:
            theta, value = done.x, float(done.fun)
        if gained <= 1e-12 * value:
            break
    polished = _polish(law, theta, points, delta)
    after = value_and_gradient(polished)[0]
    return (polished, after / SCALE) if after < value else (theta, value / SCALE)


def _polish(law: Law, theta: Floats, points: Points, delta: float) -> Floats:
    """Refine the optimum by a second-order method on the same objective, because L-BFGS-B is slow in flat valleys."""
    inputs, target, weights = _inputs(points), np.log(points.losses), points.weights

    def weighted(squares: Floats) -> Floats:
        """Twice the Huber loss of each squared residual and its two derivatives, in the form that scipy expects."""
        beyond = squares > 1
        roots = np.sqrt(np.where(beyond, squares, 1.0))
        value = np.where(beyond, 2 * roots - 1, squares)
        found: Floats = weights * np.stack([value, 1 / roots, np.where(beyond, -0.5 / roots**3, 0.0)])
        return found

    low = [-np.inf if bound is None else bound for bound, _ in law.bounds]
    high = [np.inf if bound is None else bound for _, bound in law.bounds]
    done = least_squares(
        lambda at: law.terms(at, inputs)[0] - target,
        np.clip(theta, low, high),
        jac=lambda at: law.terms(at, inputs)[1],
        bounds=(low, high),
        loss=weighted,
        f_scale=delta,
        x_scale="jac",
        ftol=1e-15,
        xtol=1e-15,
        gtol=1e-15,
        max_nfev=200,
    )
    polished: Floats = done.x
    return polished
