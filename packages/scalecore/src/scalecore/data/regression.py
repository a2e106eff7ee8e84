"""Ridge-penalised logistic and linear regression on standardised features, for the baselines."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

TOLERANCE = 1e-9
"""A fit ends at this norm of the gradient, in coordinates with a curvature of about 1."""
ACCEPTED = 1e-7
"""A fit that no step improves is accepted up to this norm of the gradient."""
MAX_STEPS = 1000

Floats = npt.NDArray[np.float64]


def standardised(x: Floats, *, fit_rows: int) -> Floats:
    """Standardise `x` [n, features] with mean and standard deviation of its first `fit_rows` rows.

    Features that are constant in these rows are dropped.
    """
    fitted = x[:fit_rows]
    spread = fitted.std(axis=0)
    # Rounding may give a constant a spread above 0, and the spread of almost constant values may round to 0.
    varies = (fitted.max(axis=0) > fitted.min(axis=0)) & (spread > 0)
    scaled: Floats = (x[:, varies] - fitted[:, varies].mean(axis=0)) / spread[varies]
    return scaled


def probabilities(logits: Floats) -> Floats:
    """Convert logits [n, 1] to probabilities of class 1, or logits [n, classes] to those of each class."""
    if logits.shape[1] == 1:
        # tanh does not overflow.
        half: Floats = 0.5 * (1.0 + np.tanh(0.5 * logits))
        return half
    powers = np.exp(logits - logits.max(axis=1, keepdims=True))
    shares: Floats = powers / powers.sum(axis=1, keepdims=True)
    return shares


def cross_entropies(logits: Floats, labels: npt.NDArray[np.int64]) -> Floats:
    """Return losses [n] in nats of logits [n, 1] for labels 0 and 1, or of logits [n, classes] for classes."""
    losses: Floats
    if logits.shape[1] == 1:
        losses = np.logaddexp(0.0, np.where(labels == 1, -1.0, 1.0) * logits[:, 0])
        return losses
    top = logits.max(axis=1)
    losses = top + np.log(np.exp(logits - top[:, None]).sum(axis=1)) - logits[np.arange(len(labels)), labels]
    return losses


def logistic_regression(x: Floats, labels: npt.NDArray[np.int64], *, outputs: int, penalty: float) -> Floats | None:
    """Return coefficients [1 + features, outputs], intercept first, of logits from `x` [n, features]; None without fit.

    They minimise mean cross-entropy + penalty / 2 * (sum of squared coefficients except the intercepts). `outputs` is 1
    for labels 0 and 1, otherwise the number of classes. The fit uses coordinates whitened with the bound X'X / 4 of the
    Hessian (Böhning and Lindsay 1988), in which L-BFGS needs few steps for any features.
    """
    from scipy.optimize import minimize

    count = len(x)
    design = np.column_stack([np.ones(count), x])
    target = labels[:, None] == (np.arange(outputs) if outputs > 1 else 1)
    ridge = np.diag([0.0] + [penalty] * x.shape[1])
    whiten = np.linalg.inv(np.linalg.cholesky(design.T @ design / (4 * count) + ridge)).T
    design, ridge = design @ whiten, whiten.T @ ridge @ whiten

    def cost_and_gradient(flat: Floats) -> tuple[float, Floats]:
        point = flat.reshape(-1, outputs)
        logits, shrunk = design @ point, ridge @ point
        gradient = design.T @ (probabilities(logits) - target) / count + shrunk
        return float(cross_entropies(logits, labels).mean() + 0.5 * np.vdot(point, shrunk)), gradient.ravel()

    start = np.zeros(design.shape[1] * outputs)
    # Only the gradient ends the search: the cost stops changing in its last digit earlier.
    limits = {"gtol": TOLERANCE, "ftol": 0.0, "maxiter": MAX_STEPS, "maxfun": 2 * MAX_STEPS}
    found = minimize(cost_and_gradient, start, jac=True, method="L-BFGS-B", options=limits)
    coefficients: Floats = whiten @ found.x.reshape(-1, outputs)
    return coefficients if np.linalg.norm(found.jac) <= ACCEPTED else None


def linear_regression(x: Floats, labels: Floats, *, penalty: float) -> Floats:
    """Return coefficients [1 + features, 1], the intercept first, of forecasts from `x` [n, features].

    They minimise mean squared error + penalty * (sum of squared coefficients except the intercept).
    """
    count, features = x.shape
    center, level = x.mean(axis=0), labels.mean()
    moved = x - center
    slopes = np.linalg.solve(moved.T @ moved / count + penalty * np.eye(features), moved.T @ (labels - level) / count)
    coefficients: Floats = np.concatenate([[level - center @ slopes], slopes])[:, None]
    return coefficients


def applied(coefficients: Floats, x: Floats) -> Floats:
    """Return logits or forecasts [n, outputs] of `coefficients` [1 + features, outputs] at `x` [n, features]."""
    outputs: Floats = coefficients[0] + x @ coefficients[1:]
    return outputs
