"""Bootstrap of a fit: all resamples at once, each by damped Gauss-Newton steps on the same objective.

What is resampled is a run: one configuration under one seed. Single epochs or windows of a run share its luck and are
never drawn apart. Where every size has several runs they are drawn within their size, since the sizes were chosen and
not drawn.
"""

from __future__ import annotations

import numpy as np

from scalecore_analysis.scaling.estimator import DELTA, Fit, huber
from scalecore_analysis.scaling.laws import Floats, Inputs, Law, Points, centred

__all__ = ["descend_all", "resampled", "weights_of"]

STEPS = 200
TOLERANCE = 1e-7
"""An improvement of the objective by a smaller share than this ends the search of a resample."""


def resampled(fit: Fit, *, resamples: int, seed: int, delta: float = DELTA) -> Floats:
    """Parameters [resamples, count] of fits to resampled runs, each started from those of the whole."""
    points = fit.points
    weights = weights_of(points, resamples=resamples, seed=seed)
    inputs = centred(points.parameters, points.windows, of=points)
    targets = np.broadcast_to(np.log(points.losses), weights.shape)
    start = np.broadcast_to(fit.theta, (resamples, len(fit.theta)))
    return descend_all(fit.law, start, inputs, targets, weights=weights, delta=delta)


def weights_of(points: Points, *, resamples: int, seed: int) -> Floats:
    """How often each run is drawn: [resamples, runs]. Runs of one cluster are drawn together."""
    generator = np.random.default_rng(seed)
    clusters, first, member = np.unique(points.clusters, return_index=True, return_inverse=True)
    budget = points.budgets[first]
    groups = [np.flatnonzero(budget == one) for one in np.unique(budget)]
    if any(len(group) < 2 for group in groups):
        groups = [np.arange(len(clusters))]
    counts = np.zeros((resamples, len(clusters)))
    for group in groups:
        share = np.full(len(group), 1 / len(group))
        counts[:, group] = generator.multinomial(len(group), share, size=resamples)
    drawn: Floats = counts[:, member]
    return drawn


def descend_all(law: Law, start: Floats, inputs: Inputs, targets: Floats, *, weights: Floats, delta: float) -> Floats:
    """Minimise the weighted sum of Huber losses of many problems at once, from `start` [problems, count].

    `targets` are logs of losses [problems, runs]. Levenberg-Marquardt with the weights of iteratively reweighted least
    squares: no step that makes an objective larger is taken.
    """
    low = np.array([-np.inf if bound is None else bound for bound, _ in law.bounds])
    high = np.array([np.inf if bound is None else bound for _, bound in law.bounds])
    theta = np.clip(np.array(start, dtype=np.float64), low, high)
    damping = np.full(len(theta), 1e-3)
    value, gradient = law.terms(theta, inputs)
    residual = value - targets
    sums = (weights * huber(residual, delta)).sum(axis=1)
    active = np.ones(len(theta), dtype=bool)
    for _ in range(STEPS):
        rows = np.flatnonzero(active)
        if not len(rows):
            break
        r, g, w = residual[rows], gradient[rows], weights[rows]
        pull = w * np.minimum(1.0, delta / np.maximum(np.abs(r), 1e-300))
        slope = np.einsum("bn,bnk->bk", pull * r, g)
        curvature = np.einsum("bn,bnk,bnl->bkl", pull, g, g)
        # A parameter on its bound that would leave it stays.
        at = theta[rows]
        stuck = ((at <= low) & (slope > 0)) | ((at >= high) & (slope < 0))
        slope[stuck] = 0.0
        diagonal = np.einsum("bkk->bk", curvature)
        scale = np.maximum(diagonal, 1e-12 * diagonal.max(axis=1, keepdims=True) + 1e-300)
        damped = curvature + np.eye(theta.shape[1]) * (damping[rows, None] * scale)[:, :, None]
        step = -np.linalg.solve(damped, slope[..., None])[..., 0]
        tried = np.clip(at + step, low, high)
        new_value, new_gradient = law.terms(tried, inputs)
        new_residual = new_value - targets[rows]
        new_sums = (w * huber(new_residual, delta)).sum(axis=1)
        better = new_sums < sums[rows]
        gained = sums[rows] - new_sums
        damping[rows] = np.where(better, np.maximum(damping[rows] / 5, 1e-12), damping[rows] * 6)
        active[rows] = np.where(better, gained > TOLERANCE * sums[rows], damping[rows] < 1e8)
        taken = rows[better]
        theta[taken], residual[taken] = tried[better], new_residual[better]
        gradient[taken], sums[taken] = new_gradient[better], new_sums[better]
    return theta
