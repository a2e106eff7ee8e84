"""The feasible architectures as points. Each dimension is a coordinate in which a factor of two has length one."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from scalecore.api.space import Architecture

__all__ = ["Grid", "Key"]

Key = tuple[int, ...]
"""The values of an architecture in the order of the dimensions. It identifies the content (guard G21)."""


class Grid:
    """Feasible architectures, found by content, with coordinates of shape [architectures, dimensions].

    They are sorted by their values, so that results do not depend on the order of the argument. Raises `ValueError` for
    an empty sequence.
    """

    def __init__(self, architectures: Sequence[Architecture]) -> None:
        if not architectures:
            raise ValueError("a grid needs at least one architecture")
        self.names: tuple[str, ...] = tuple(architectures[0].values)
        self._by_key = {self.key(architecture.values): architecture for architecture in architectures}
        self.keys: tuple[Key, ...] = tuple(sorted(self._by_key))
        self._rows = {key: row for row, key in enumerate(self.keys)}
        self.architectures: tuple[Architecture, ...] = tuple(self._by_key[key] for key in self.keys)
        columns = [sorted({key[position] for key in self.keys}) for position in range(len(self.names))]
        self.values: Mapping[str, list[int]] = dict(zip(self.names, columns, strict=True))
        self.coordinates: NDArray[np.float64] = np.array(
            [self.locate(architecture.values) for architecture in self.architectures], dtype=np.float64
        ).reshape(len(self.keys), len(self.names))

    def key(self, values: Mapping[str, Any]) -> Key:
        return tuple(values[name] for name in self.names)

    def find(self, values: Mapping[str, Any]) -> Architecture | None:
        """The architecture with these values; None if it is not feasible. Other names are ignored."""
        if any(name not in values for name in self.names):
            return None
        return self._by_key.get(self.key(values))

    def row(self, values: Mapping[str, Any]) -> int:
        """The index of a feasible architecture in `keys`, `architectures` and `coordinates`."""
        return self._rows[self.key(values)]

    def is_log(self, name: str) -> bool:
        """Whether the dimension uses a logarithmic scale, which requires positive values."""
        return self.values[name][0] >= 1

    def locate(self, values: Mapping[str, Any]) -> NDArray[np.float64]:
        """The coordinates of values of the dimensions, feasible or not: shape [dimensions]."""
        shifts = [0 if self.is_log(name) else 1 - self.values[name][0] for name in self.names]
        return np.array([math.log2(values[name] + shift) for name, shift in zip(self.names, shifts, strict=True)])

    def scaled(self) -> NDArray[np.float64]:
        """The coordinates with each dimension scaled to [-1, 1]; 0 for a constant dimension."""
        low, high = self.coordinates.min(axis=0), self.coordinates.max(axis=0)
        scaled: NDArray[np.float64] = (2 * self.coordinates - low - high) / np.where(high > low, high - low, 1.0)
        return scaled
