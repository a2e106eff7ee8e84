"""Coordinates in which losses are smooth: aspect, head size, feed-forward ratio, size, and hyper-parameters.

Under a parameter budget, width and depth are nearly one axis, because width² times depth hardly changes. Their ratio,
and the ratios of heads and feed-forward width to the width, distinguish architectures.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from scalecore.api.space import Choice, Distribution, IntRange, Value

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from scalecore_optuna.grid import Grid

__all__ = ["ROLES", "ArchitectureCoordinates", "Axis", "roles_of"]

ROLES: Mapping[str, tuple[str, ...]] = {
    "width": ("d_model", "width", "hidden_size", "hidden_dim", "embed_dim", "n_embd", "dim"),
    "depth": ("n_layers", "num_layers", "depth", "layers", "n_layer", "n_blocks", "num_blocks"),
    "heads": ("n_heads", "num_heads", "heads", "n_head"),
    "feed_forward": ("d_ff", "d_inner", "ffn_dim", "mlp_dim", "intermediate_size"),
}
"""Usual names of each role, for families that do not declare their roles."""


def roles_of(names: Sequence[str], declared: Mapping[str, str] | None = None) -> dict[str, str]:
    """The dimension of each role: the declared one, otherwise the one with a usual name."""
    usual = {role: [name for name in known if name in names] for role, known in ROLES.items()}
    found = {role: known[0] for role, known in usual.items() if known}
    return {**found, **{role: name for role, name in (declared or {}).items() if name in names}}


class ArchitectureCoordinates:
    """Coordinates of architectures: shape [architectures, coordinates], each scaled to [0, 1] over the grid.

    `aspect` is log2(width / depth), `head_size` log2(width / heads), `feed_forward_ratio` log2(feed_forward / width),
    `size` log2(parameters). Dimensions without a role keep their own logarithm. Constant coordinates are left out.
    """

    def __init__(self, grid: Grid, roles: Mapping[str, str] | None = None) -> None:
        self.roles = roles_of(grid.names, roles)
        log2 = {name: grid.coordinates[:, column] for column, name in enumerate(grid.names)}
        columns: dict[str, NDArray[np.float64]] = {}
        width = self.roles.get("width")
        used: set[str] = set()
        for label, numerator, denominator in (
            ("aspect", "width", "depth"),
            ("head_size", "width", "heads"),
            ("feed_forward_ratio", "feed_forward", "width"),
        ):
            top, bottom = self.roles.get(numerator), self.roles.get(denominator)
            if top is None or bottom is None or not (grid.is_log(top) and grid.is_log(bottom)):
                continue
            columns[label] = log2[top] - log2[bottom]
            used |= {top, bottom}
        if "aspect" in columns or (width is not None and used):
            columns["size"] = np.array([math.log2(max(shape.num_parameters, 1)) for shape in grid.architectures])
        columns |= {name: values for name, values in log2.items() if name not in used}
        self.raw = {label: column for label, column in columns.items() if np.ptp(column) > 1e-9}
        self.names: tuple[str, ...] = tuple(self.raw)
        rows = len(grid.architectures)
        scaled = [(column - column.min()) / np.ptp(column) for column in self.raw.values()]
        self.scaled: NDArray[np.float64] = np.array(scaled).T.reshape(rows, len(scaled))


class Axis:
    """One hyper-parameter as coordinates: one in [0, 1] for a number, one per value for a choice of texts.

    A choice of numbers uses the ranks of its values, because they are usually listed on their natural scale.
    """

    def __init__(self, distribution: Distribution) -> None:
        self.distribution = distribution
        values = distribution.values if isinstance(distribution, Choice) else ()
        self._labels = bool(values) and any(isinstance(value, str) for value in values)
        self._rank = np.zeros(len(values))
        if values and not self._labels:
            self._rank[np.argsort([float(value) for value in values], kind="stable")] = np.linspace(0, 1, len(values))
        self.width = len(values) if self._labels else 1

    def unit(self, value: Value) -> float:
        """A number in [0, 1] for which `distribution.at` returns this value."""
        return self.distribution.unit(value)

    def coordinates(self, units: NDArray[np.float64]) -> NDArray[np.float64]:
        """Coordinates of the values at these units, after snapping: shape [points, width]."""
        found: NDArray[np.float64]
        match self.distribution:
            case Choice():
                count = len(self._rank)
                index = np.minimum((units * count).astype(int), count - 1)
                # Two different labels are at distance one.
                found = np.eye(count)[index] / math.sqrt(2) if self._labels else self._rank[index, None]
                return found
            case IntRange(log=True) as whole if whole.high > whole.low:
                low, high = math.log(whole.low), math.log(whole.high)
                found = np.clip(np.round(np.exp(low + units * (high - low))), whole.low, whole.high)
                return ((np.log(found) - low) / (high - low))[:, None]
            case IntRange() as whole if whole.high > whole.low:
                steps = (whole.high - whole.low) // whole.step
                found = np.minimum((units * (steps + 1)).astype(int), steps) * whole.step / (whole.high - whole.low)
                return found[:, None]
            case IntRange():
                return np.zeros((len(units), 1))
            case _:
                varies = self.distribution.low < self.distribution.high
                return units[:, None] if varies else np.zeros((len(units), 1))
