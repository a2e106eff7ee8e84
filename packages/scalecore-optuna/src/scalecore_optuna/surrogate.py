"""Fits a Gaussian process over architectures and hyper-parameters to the trials so far."""

from __future__ import annotations

import math
from collections.abc import Container, Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
from attrs import define, field, frozen
from threadpoolctl import ThreadpoolController

from scalecore.api.space import Distribution
from scalecore_optuna.coordinates import ArchitectureCoordinates, Axis
from scalecore_optuna.gaussian import Kernel, Posterior, fit
from scalecore_optuna.grid import Grid

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from scalecore.api.space import Value

    Array = NDArray[np.float64]

__all__ = ["Belief", "Found", "Observation", "Surrogate"]

MOST_FITTED = 96
MOST_KNOWN = 192
"""Most observations for the kernel and for the posterior: half are the best ones, the others are spread by age."""

FIT_EVERY = 1.08
"""Above 32 observations, the kernel is refitted when their number has grown by this factor."""


@frozen(kw_only=True)
class Observation:
    """A finished trial: row of its architecture, hyper-parameters as units, and loss. Infinity is a penalty."""

    number: int
    row: int
    units: tuple[float, ...]
    loss: float


@frozen(kw_only=True)
class Belief:
    """The posterior in the units of the losses: `centre` and `scale` undo the standardisation."""

    posterior: Posterior
    centre: float
    scale: float
    least: float
    """The lowest posterior mean at an observed point, standardised: the reference for improvements."""


@frozen(kw_only=True)
class Found:
    """A trial with the expected value of its configuration and the standard deviation, in units of the loss."""

    number: int
    value: float
    deviation: float


@define(kw_only=True)
class Surrogate:
    """A model of losses over the architectures of a grid and a space. It caches the last kernel, which is a pure
    function of the fitted observations.
    """

    grid: Grid
    space: Mapping[str, Distribution]
    roles: Mapping[str, str] | None = None
    coordinates: ArchitectureCoordinates = field(init=False)
    axes: dict[str, Axis] = field(init=False)
    _kernels: dict[tuple[Observation, ...], Kernel] = field(init=False, factory=dict)
    _threads: ThreadpoolController = field(init=False, factory=ThreadpoolController)

    def __attrs_post_init__(self) -> None:
        self.coordinates = ArchitectureCoordinates(self.grid, self.roles)
        self.axes = {name: Axis(distribution) for name, distribution in self.space.items()}

    def observation(self, number: int, values: Mapping[str, Value], loss: float) -> Observation | None:
        """The trial as an observation; None if it is outside the grid or the space."""
        if self.grid.find(values) is None or any(name not in values for name in self.space):
            return None
        if any(not self.space[name].contains(values[name]) for name in self.space):
            return None
        units = tuple(axis.unit(values[name]) for name, axis in self.axes.items())
        return Observation(number=number, row=self.grid.row(values), units=units, loss=loss)

    def features(self, rows: NDArray[np.int64], units: Array) -> Array:
        """Coordinates of grid rows and units of hyper-parameters: shape [points, coordinates]."""
        parts = [self.coordinates.scaled[rows]]
        parts += [axis.coordinates(units[:, at]) for at, axis in enumerate(self.axes.values())]
        return np.concatenate(parts, axis=1)

    def belief(self, observations: Sequence[Observation], pending: Sequence[Observation] = ()) -> Belief | None:
        """The posterior given `observations`, ordered by number; None with fewer than two losses.

        A `pending` trial counts with its expected loss.
        """
        if sum(math.isfinite(one.loss) for one in observations) < 2:
            return None
        # More threads are up to fifty times slower for these matrices; one thread also gives equal results everywhere.
        with self._threads.limit(limits=1):
            return self._belief(observations, pending)

    def recommend(self, observations: Sequence[Observation], *, among: Container[int] | None = None) -> Found | None:
        """The trial with the lowest posterior mean, of the numbers `among`; None with fewer than two losses.

        The lowest observed loss is biased by luck: the best of 50 is too good by a fifth of the range.
        """
        belief = self.belief(observations)
        if belief is None:
            return None
        tried = [one for one in observations if math.isfinite(one.loss) and (among is None or one.number in among)]
        if not tried:
            return None
        means, deviations = self.at(belief, self._points(tried))
        best = int(np.argmin(means))
        return Found(
            number=tried[best].number,
            value=float(belief.centre + belief.scale * means[best]),
            deviation=float(belief.scale * deviations[best]),
        )

    def at(self, belief: Belief, points: Array) -> tuple[Array, Array]:
        """Standardised posterior mean and standard deviation."""
        with self._threads.limit(limits=1):
            return belief.posterior.at(points)

    def _belief(self, observations: Sequence[Observation], pending: Sequence[Observation]) -> Belief:
        kernel = self._kernel(observations)
        known = _chosen(observations, MOST_KNOWN)
        losses, centre, scale = _standardised([one.loss for one in known])
        points = self._points(known)
        posterior = Posterior(kernel, points, losses)
        least = float(posterior.at(points)[0].min())
        if pending:
            waiting = self._points(pending)
            points = np.concatenate([points, waiting])
            posterior = Posterior(kernel, points, np.concatenate([losses, posterior.at(waiting)[0]]))
        return Belief(posterior=posterior, centre=centre, scale=scale, least=least)

    def _kernel(self, observations: Sequence[Observation]) -> Kernel:
        count = len(observations)
        if count > 32:
            count = int(32 * FIT_EVERY ** math.floor(math.log(count / 32, FIT_EVERY) + 1e-9))
        chosen = tuple(_chosen(observations[:count], MOST_FITTED))
        if chosen not in self._kernels:
            self._kernels.clear()
            self._kernels[chosen] = fit(self._points(chosen), _standardised([one.loss for one in chosen])[0])
        return self._kernels[chosen]

    def _points(self, observations: Sequence[Observation]) -> Array:
        rows = np.array([one.row for one in observations], dtype=np.int64)
        units = np.array([one.units for one in observations], dtype=np.float64)
        return self.features(rows, units.reshape(len(observations), len(self.axes)))


def _chosen(observations: Sequence[Observation], most: int) -> Sequence[Observation]:
    """At most `most` observations, ordered by number: half are the best ones, the others evenly spread by age."""
    if len(observations) <= most:
        return observations
    order = np.argsort([one.loss for one in observations], kind="stable")
    best = {int(at) for at in order[: most // 2]}
    rest = [at for at in range(len(observations)) if at not in best]
    count = most - len(best)
    best.update(rest[step * len(rest) // count] for step in range(count))
    return [observations[at] for at in sorted(best)]


def _standardised(losses: Sequence[float]) -> tuple[Array, float, float]:
    """Losses with mean zero and variance one, clipped above at the median plus 1.5 times the interquartile range.

    Otherwise one diverged trial would flatten the differences between all others. A penalty equals the bound.
    """
    values = np.array(losses, dtype=np.float64)
    finite = values[np.isfinite(values)]
    if not len(finite):
        return np.zeros(len(values)), 0.0, 1.0
    low, middle, high = np.quantile(finite, [0.25, 0.5, 0.75])
    bound = middle + 1.5 * (high - low) if high > low else finite.max()
    clipped = np.minimum(values, bound)
    centre, scale = float(clipped.mean()), float(clipped.std())
    scale = scale if scale > 1e-12 else 1.0
    return (clipped - centre) / scale, centre, scale
