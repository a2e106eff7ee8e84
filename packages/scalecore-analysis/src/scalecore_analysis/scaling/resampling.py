"""Bootstrap of a fit: all resamples at once, each by damped Gauss-Newton steps on the same objective.

The unit of resampling is a run: one configuration with one seed. Epochs and windows of a run are not independent and
are never drawn separately. If every cell of N, D and configuration has three or more runs, runs are drawn within their
cell, because the cells were chosen and not sampled.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from scalecore_analysis.scaling.estimator import DELTA, Fit, huber
from scalecore_analysis.scaling.laws import Floats, Inputs, Law, Points, centred

__all__ = ["descend_all", "resampled", "weights_of", "widened"]

STEPS = 200
LEAST_DRAWN = 3
"""With two runs per cell the variance estimate is so poor that 95 % intervals would cover the truth in only 89 %."""
MOST_AT_ONCE = 1_000_000
"""Maximum of runs times resamples that are fitted together."""
TOLERANCE = 1e-7
"""A resample has converged if the relative improvement of its objective is below this."""


def resampled(fit: Fit, *, resamples: int, seed: int, delta: float = DELTA) -> Floats:
    """Parameters [resamples, count] of fits to resampled runs, each started from the fit to all runs."""
    points = fit.points
    weights = points.weights * weights_of(points, resamples=resamples, seed=seed)
    inputs = centred(points.parameters, points.windows, of=points)
    parts = []
    # In parts, since the gradients of all resamples of thousands of runs would not fit into memory.
    step = max(1, MOST_AT_ONCE // len(points.losses))
    for first in range(0, resamples, step):
        part = weights[first : first + step]
        targets = np.broadcast_to(np.log(points.losses), part.shape)
        start = np.broadcast_to(fit.theta, (len(part), len(fit.theta)))
        parts.append(descend_all(fit.law, start, inputs, targets, weights=part, delta=delta))
    return np.concatenate(parts)


def widened(fit: Fit, thetas: Floats) -> Floats:
    """Resampled parameters, scaled about the fit to all runs to correct the variance of sampling with replacement.

    Resamples of n runs in k cells have (n - k) / n of the true variance: two thirds with three runs per cell. If all
    runs are drawn from one group, the number of parameters of the law replaces the number of cells.
    """
    count = len(np.unique(fit.points.clusters))
    drawn_in = _groups(fit.points)
    freedom = count - (len(drawn_in) if len(drawn_in) > 1 else fit.law.count)
    low = [-np.inf if bound is None else bound for bound, _ in fit.law.bounds]
    high = [np.inf if bound is None else bound for _, bound in fit.law.bounds]
    wide: Floats = np.clip(fit.theta + np.sqrt(count / max(freedom, 1)) * (thetas - fit.theta), low, high)
    return wide


def _groups(points: Points) -> list[npt.NDArray[np.int64]]:
    """Groups of clusters, by position, within which runs are drawn: one per cell, or one if a cell has too few."""
    clusters, first = np.unique(points.clusters, return_index=True)
    cells = points.cells[first]
    groups = [np.flatnonzero(cells == one) for one in np.unique(cells)]
    return [np.arange(len(clusters))] if any(len(group) < LEAST_DRAWN for group in groups) else groups


def weights_of(points: Points, *, resamples: int, seed: int) -> Floats:
    """Number of times each run is drawn: [resamples, runs]. Runs of one cluster are drawn together."""
    generator = np.random.default_rng(seed)
    clusters, member = np.unique(points.clusters, return_inverse=True)
    counts = np.zeros((resamples, len(clusters)))
    for group in _groups(points):
        share = np.full(len(group), 1 / len(group))
        counts[:, group] = generator.multinomial(len(group), share, size=resamples)
    drawn: Floats = counts[:, member]
    return drawn


def descend_all(law: Law, start: Floats, inputs: Inputs, targets: Floats, *, weights: Floats, delta: float) -> Floats:
    """Minimise the weighted sum of Huber losses of many problems at once, from `start` [problems, count].

    `targets` are logs of losses [problems, runs]. Levenberg-Marquardt with the weights of iteratively reweighted least
    squares, which rejects steps that increase an objective.
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
        # A parameter at its bound must not leave it.
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
