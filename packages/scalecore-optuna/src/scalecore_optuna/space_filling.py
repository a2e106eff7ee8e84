"""The space-filling startup: architectures far from each other, hyper-parameters on a low-discrepancy sequence."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

from scalecore.api.space import middle

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from scalecore.api.space import Distribution
    from scalecore_optuna.coordinates import ArchitectureCoordinates
    from scalecore_optuna.coverage import Tried
    from scalecore_optuna.grid import Grid

__all__ = ["Spread", "farthest"]


class Spread:
    """An unlimited seeded design.

    The first architecture is the one nearest to the middle; each following one is the farthest from those tried.
    Hyper-parameters follow a scrambled Sobol sequence (A. B. Owen, Randomly permuted (t,m,s)-nets and (t,s)-sequences,
    1995), or are all at their middles with `middles`.
    """

    def __init__(
        self,
        grid: Grid,
        space: Mapping[str, Distribution],
        *,
        coordinates: ArchitectureCoordinates,
        seed: np.random.SeedSequence,
    ) -> None:
        self._grid = grid
        self._space = dict(space)
        self._scaled = coordinates.scaled
        self._seed = seed
        self._drawn: list[NDArray[np.float64]] = []
        self._sequence: Any = None

    def point(self, index: int, tried: Tried, *, middles: bool = False) -> dict[str, Any]:
        """The point with this index, counted from 0: values of all dimensions and hyper-parameters."""
        row = farthest(self._scaled, tried.visits_of(self._grid))
        if middles:
            values = {name: middle(distribution) for name, distribution in self._space.items()}
        else:
            units = self._units(index)
            values = {name: of.at(float(unit)) for (name, of), unit in zip(self._space.items(), units, strict=True)}
        return {**self._grid.architectures[row].values, **values}

    def _units(self, index: int) -> NDArray[np.float64]:
        if not self._space:
            return np.zeros(0)
        if self._sequence is None:
            from scipy.stats.qmc import Sobol  # imports in half a second; a plan needs no points

            self._sequence = Sobol(len(self._space), scramble=True, rng=np.random.default_rng(self._seed))
        while len(self._drawn) <= index:
            self._drawn.append(np.minimum(self._sequence.random(1)[0], math.nextafter(1.0, 0.0)))
        return self._drawn[index]


def farthest(scaled: NDArray[np.float64], visits: NDArray[np.int64]) -> int:
    """Of the rows with the fewest visits, the one farthest from all others; the middle row if all are equal."""
    fewest = visits == visits.min()
    if fewest.all():
        middle_of = (scaled.min(axis=0) + scaled.max(axis=0)) / 2 if len(scaled) else 0.0
        return int(np.argmin(np.round(np.linalg.norm(scaled - middle_of, axis=1), 9)))
    distances = np.full(len(scaled), np.inf)
    for row in np.flatnonzero(~fewest):
        distances = np.minimum(distances, np.linalg.norm(scaled - scaled[row], axis=1))
    return int(np.argmax(np.where(fewest, np.round(distances, 9), -1.0)))
