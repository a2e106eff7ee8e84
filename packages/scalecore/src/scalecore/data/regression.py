"""Ridge-penalised logistic and linear regression on standardised features, in numpy: the baselines need no more."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import numpy.typing as npt

__all__ = ["applied", "cross_entropies", "linear_regression", "logistic_regression", "probabilities", "standardised"]

TOLERANCE = 1e-9
"""Norm of the gradient, in coordinates in which the curvature is about 1, at which a fit is done."""
MAX_STEPS = 100

Floats = npt.NDArray[np.float64]


def standardised(x: Floats, *, fit_rows: int) -> Floats:
    """`x` [n, features] less the mean of its first `fit_rows` rows, by their standard deviation.

    Features that are constant in these rows are left out.
    """
    fitted = x[:fit_rows]
    spread = fitted.std(axis=0)
    # A constant may come out with a spread of rounding, and the spread of what is all but one may round to 0.
    varies = (fitted.max(axis=0) > fitted.min(axis=0)) & (spread > 0)
    scaled: Floats = (x[:, varies] - fitted[:, varies].mean(axis=0)) / spread[varies]
    return scaled


def probabilities(logits: Floats) -> Floats:
    """Of logits [n, 1] the probability of class 1, of logits [n, classes] that of each; in their shape."""
    if logits.shape[1] == 1:
        # By tanh, which overflows nowhere.
        half: Floats = 0.5 * (1.0 + np.tanh(0.5 * logits))
        return half
    powers = np.exp(logits - logits.max(axis=1, keepdims=True))
    shares: Floats = powers / powers.sum(axis=1, keepdims=True)
    return shares


def cross_entropies(logits: Floats, labels: npt.NDArray[np.int64]) -> Floats:
    """[n] losses in nats of logits [n, 1] against labels 0 and 1, or of logits [n, classes] against classes."""
    losses: Floats
    if logits.shape[1] == 1:
        losses = np.logaddexp(0.0, np.where(labels == 1, -1.0, 1.0) * logits[:, 0])
        return losses
    top = logits.max(axis=1)
    losses = top + np.log(np.exp(logits - top[:, None]).sum(axis=1)) - logits[np.arange(len(labels)), labels]
    return losses


def logistic_regression(x: Floats, labels: npt.NDArray[np.int64], *, outputs: int, penalty: float) -> Floats | None:
    """Coefficients [1 + features, outputs], the intercept first, of logits from `x` [n, features]; None if no fit.

    They minimise mean cross-entropy + penalty / 2 * (sum of squared coefficients but the intercepts). `outputs` is 1
    for labels 0 and 1, else the number of classes. Truncated Newton: the steps are found by conjugate gradients, in
    coordinates whitened by the bound X'X / 4 of the Hessian (Böhning and Lindsay 1988), where few are needed.
    """
    count = len(x)
    design = np.column_stack([np.ones(count), x])
    target = labels[:, None] == (np.arange(outputs) if outputs > 1 else 1)
    ridge = np.diag([0.0] + [penalty] * x.shape[1])
    whiten = np.linalg.inv(np.linalg.cholesky(design.T @ design / (4 * count) + ridge)).T
    design, ridge = design @ whiten, whiten.T @ ridge @ whiten

    def cost(point: Floats) -> float:
        return float(cross_entropies(design @ point, labels).mean() + 0.5 * np.vdot(point, ridge @ point))

    point = np.zeros((design.shape[1], outputs))
    for _ in range(MAX_STEPS):
        chance = probabilities(design @ point)
        gradient = design.T @ (chance - target) / count + ridge @ point
        if np.linalg.norm(gradient) <= TOLERANCE:
            found: Floats = whiten @ point
            return found

        def curved(direction: Floats, chance: Floats = chance) -> Floats:
            moved = chance * (design @ direction)
            moved -= chance * (moved if outputs == 1 else moved.sum(axis=1, keepdims=True))
            product: Floats = design.T @ moved / count + ridge @ direction
            return product

        step = _conjugate_gradients(curved, -gradient)
        before, slope, length = cost(point), float(np.vdot(gradient, step)), 1.0
        # Near the optimum the gain drowns in rounding; the slack lets the last steps through.
        while cost(point + length * step) > before + 1e-4 * length * slope + 1e-14 * before and length > 1e-6:
            length /= 2
        point = point + length * step
    return None


def linear_regression(x: Floats, labels: Floats, *, penalty: float) -> Floats:
    """Coefficients [1 + features, 1], the intercept first, of forecasts from `x` [n, features].

    They minimise mean squared error + penalty * (sum of squared coefficients but the intercept).
    """
    count, features = x.shape
    center, level = x.mean(axis=0), labels.mean()
    moved = x - center
    slopes = np.linalg.solve(moved.T @ moved / count + penalty * np.eye(features), moved.T @ (labels - level) / count)
    coefficients: Floats = np.concatenate([[level - center @ slopes], slopes])[:, None]
    return coefficients


def applied(coefficients: Floats, x: Floats) -> Floats:
    """Logits or forecasts [n, outputs] of `coefficients` [1 + features, outputs] at `x` [n, features]."""
    outputs: Floats = coefficients[0] + x @ coefficients[1:]
    return outputs


def _conjugate_gradients(curved: Callable[[Floats], Floats], right: Floats) -> Floats:
    """About the solution of curved(x) = right: to a tenth far from the optimum, and better the nearer it is."""
    solution = np.zeros_like(right)
    rest = direction = right
    size = float(np.vdot(rest, rest))
    goal = size * min(0.01, size)
    for _ in range(4 * right.size):
        product = curved(direction)
        bend = float(np.vdot(direction, product))
        if bend <= 0:
            break
        length = size / bend
        solution = solution + length * direction
        rest = rest - length * product
        before, size = size, float(np.vdot(rest, rest))
        if size <= goal:
            break
        direction = rest + size / before * direction
    return solution
