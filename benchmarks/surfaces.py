"""Synthetic loss surfaces over the PatchTST shapes of a budget and four training parameters, with noise.

Losses are base(N) plus 0.1 times a sum of terms: how far log2(width / depth) is from one or two wells, the size of a
head, the feed-forward ratio, the learning rate (its optimum falls with width and depth, and beyond a cliff that comes
earlier for deep networks and later with warm-up the training diverges), dropout, weight decay, warm-up. All constants
are drawn anew for each instance.

* `well`: one broad well in aspect, in the interior;
* `corner`: a narrow optimum at an end, and a broad decoy that is 70 % as deep;
* `cliff`: the optimum is among deep networks, and the cliff is near;
* `flat`: the aspect does not matter.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from scalecore.api.space import Architecture, DataShape, Distribution, LogUniform, Uniform
from scalecore.config.experiment import Budget
from scalecore.planning.feasible import feasible_grid

__all__ = ["FAMILIES", "SPACE", "Surface", "architectures"]

FAMILIES = ("well", "corner", "cliff", "flat")
SPACE: Mapping[str, Distribution] = {
    "learning_rate": LogUniform(low=1e-5, high=1e-2),
    "weight_decay": LogUniform(low=1e-6, high=1e-1),
    "dropout": Uniform(low=0.0, high=0.7),
    "warmup": Uniform(low=0.0, high=0.3),
}
GAIN = 0.1


def architectures(budget: str) -> tuple[Architecture, ...]:
    """The feasible PatchTST shapes of `2M`, `20M`, `200M` or `2B` parameters, within 25 %, for 25 features."""
    from scalecore_patchtst.family import PatchTSTFamily
    from scalecore_patchtst.options import PatchTSTOptions

    sizes = {"2M": 2_000_000, "20M": 20_000_000, "200M": 200_000_000, "2B": 2_000_000_000}
    shape = DataShape(context=60, features=25, outputs=1)
    family = PatchTSTFamily(PatchTSTOptions())
    return feasible_grid(
        family, shape, budget=Budget(text=budget, parameters=sizes[budget]), tolerance=0.25, exclude=()
    ).architectures


class Surface:
    """One instance: `loss` without noise, `observed` with it, `regret` from 0 (the best there is) to 1 (median random).

    `noise` is the scale of the noise as a share of the gain; it has Student's t with 4 degrees of freedom, and grows
    with depth. The optimum of the training parameters is off their middles, by up to 0.8 decades for the learning rate.
    """

    def __init__(self, family: str, shapes: Sequence[Architecture], *, noise: float, seed: int) -> None:
        draw = np.random.default_rng([seed, FAMILIES.index(family)])
        self.space = SPACE
        self.shapes = list(shapes)
        self._noise = noise
        self._noise_draw = np.random.default_rng([seed, 1_000 + FAMILIES.index(family)])
        self._rows = {shape.id: row for row, shape in enumerate(self.shapes)}
        width, depth, heads, inner = (
            np.array([float(shape.values[name]) for shape in self.shapes])
            for name in ("d_model", "n_layers", "n_heads", "d_ff")
        )
        aspect = np.log2(width / depth)
        u = 2 * (aspect - aspect.min()) / np.ptp(aspect) - 1
        if family == "corner":
            end = draw.choice([-1.0, 1.0])
            wells = [(1.0, end * draw.uniform(0.85, 1.0), 0.12), (0.7, -end * draw.uniform(0.2, 0.5), 0.45)]
        elif family == "cliff":
            wells = [(1.0, draw.uniform(-0.9, -0.6), 0.35)]
        else:
            wells = [(1.0, draw.uniform(-0.5, 0.5), 0.45)]
        hills = np.max([height * np.exp(-((u - c) ** 2) / (2 * w**2)) for height, c, w in wells], axis=0)
        weight = 0.0 if family == "flat" else 0.8
        head = np.log2(width / heads)
        best_head, best_ratio = draw.uniform(head.min(), head.max()), draw.choice([2.0, 4.0])
        count = np.array([float(shape.num_parameters) for shape in self.shapes])
        self._architecture = (
            0.3
            + 0.15 * (count / 2e6) ** -0.12
            + GAIN * (weight * (1 - hills) + 0.3 * np.minimum(1, ((head - best_head) / 3) ** 2))
            + GAIN * 0.1 * (inner / width != best_ratio)
        )
        offset = draw.uniform(-0.8, 0.8)
        narrow, deep = np.log2(width / 512), np.log2(depth / 16)
        self._best_rate = -3.5 + offset - 0.3 * draw.uniform(0, 1) * narrow - 0.15 * draw.uniform(0, 1) * deep
        self._best_rate = np.clip(self._best_rate, -4.8, -2.2)
        room = draw.uniform(0.3, 0.6) if family == "cliff" else draw.uniform(0.7, 1.2)
        self._cliff = self._best_rate + room - 0.05 * np.maximum(deep, 0)
        self._depth = np.log2(depth) / 16
        self._best = {
            "dropout": draw.uniform(0.05, 0.6),
            "decay": draw.uniform(-5, -2),
            "warmup": draw.uniform(0.05, 0.25),
        }
        self.least = float(self._architecture.min())
        self.typical = self._typical()

    def _terms(self, row: NDArray[np.int64], units: NDArray[np.float64]) -> NDArray[np.float64]:
        """Losses of architectures (rows) with log10 learning rate, log10 weight decay, dropout, warm-up."""
        rate, decay, dropout, warmup = units.T
        z = rate - self._best_rate[row]
        loss = self._architecture[row] + GAIN * (
            np.minimum(1, np.where(z < 0, z**2, (z / 0.7) ** 2))
            + 0.4 * np.minimum(1, ((dropout - self._best["dropout"]) / 0.35) ** 2)
            + 0.15 * np.minimum(1, ((decay - self._best["decay"]) / 2.5) ** 2)
            + 0.1 * np.minimum(1, ((warmup - self._best["warmup"]) / 0.15) ** 2)
        )
        return np.where(rate > self._cliff[row] + 1.5 * (warmup - 0.1), loss + 2.5 * GAIN, loss)

    def loss(self, architecture: Architecture, values: Mapping[str, Any]) -> float:
        """The loss without noise."""
        units = [
            math.log10(values["learning_rate"]),
            math.log10(values["weight_decay"]),
            values["dropout"],
            values["warmup"],
        ]
        return float(self._terms(np.array([self._rows[architecture.id]]), np.array([units]))[0])

    def observed(self, architecture: Architecture, values: Mapping[str, Any]) -> float:
        """The loss as one training would show it."""
        scale = GAIN * self._noise * (1 + float(self._depth[self._rows[architecture.id]]))
        return self.loss(architecture, values) + scale * float(self._noise_draw.standard_t(4)) / math.sqrt(2)

    def regret(self, loss: float) -> float:
        return (loss - self.least) / (self.typical - self.least)

    def _typical(self) -> float:
        """The median loss of points drawn at random."""
        draw = np.random.default_rng(0)
        rows = draw.integers(0, len(self.shapes), size=4096)
        low, high = np.array([-5.0, -6.0, 0.0, 0.0]), np.array([-2.0, -1.0, 0.7, 0.3])
        return float(np.median(self._terms(rows, low + draw.random((4096, 4)) * (high - low))))
