"""The space-filling start: architectures far from each other, hyper-parameters on a low-discrepancy sequence."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Mapping

    from scalecore.space import Distribution, Value
    from scalecore_optuna.coverage import Tried
    from scalecore_optuna.grid import Grid

__all__ = ["Spread"]

DIGITS_OF = 2.0**40
"""Each coordinate of the sequence has as many digits as tell this many values apart."""


class Spread:
    """A seeded design without an end. The seed decides the sequence and the order of equally good architectures.

    Hyper-parameters follow a Halton sequence with a random permutation of each digit (A. B. Owen, A randomized Halton
    algorithm in R, 2017, arXiv:1706.02808); architectures are chosen greedily, the farthest from those tried.
    """

    def __init__(self, grid: Grid, space: Mapping[str, Distribution], *, seed: np.random.SeedSequence) -> None:
        generator = np.random.default_rng(seed)
        self._grid = grid
        self._space = dict(space)
        self._scaled = grid.scaled()
        self._order = generator.permutation(len(grid.keys))
        self._digits = [
            [generator.permutation(base) for _ in range(math.ceil(math.log(DIGITS_OF, base)))]
            for base in _primes(len(space))
        ]

    def point(self, index: int, tried: Tried) -> dict[str, Any]:
        """The point of this index, which counts from 0: values of all dimensions and hyper-parameters."""
        return {**self._grid.architectures[self._farthest(tried)].values, **self._hyperparameters(index)}

    def _farthest(self, tried: Tried) -> int:
        visits = tried.visits_of(self._grid)
        fewest = visits == visits.min()
        if fewest.all():
            return int(self._order[0])
        known = self._scaled[~fewest]
        distances = np.linalg.norm(self._scaled[:, None, :] - known[None, :, :], axis=2).min(axis=1)
        distances[~fewest] = -1.0
        return int(self._order[np.argmax(np.round(distances[self._order], 9))])

    def _hyperparameters(self, index: int) -> dict[str, Value]:
        values: dict[str, Value] = {}
        for (name, distribution), permutations in zip(self._space.items(), self._digits, strict=True):
            base, rest, unit, share = len(permutations[0]), index, 0.0, 1.0
            for permutation in permutations:
                share /= base
                rest, digit = divmod(rest, base)
                unit += share * float(permutation[digit])
            values[name] = distribution.at(min(unit, math.nextafter(1.0, 0.0)))
        return values


def _primes(count: int) -> list[int]:
    primes: list[int] = []
    candidate = 2
    while len(primes) < count:
        if all(candidate % prime for prime in primes):
            primes.append(candidate)
        candidate += 1
    return primes
