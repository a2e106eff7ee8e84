"""Denominators of rates: the precision over one window is 0 or 1, however good the model is (guard G19)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from statistics import NormalDist
from typing import Any

OWN_DENOMINATOR = ("precision",)
"""Metrics with a denominator that depends on the model's predictions. Denominators of other metrics depend only on the
data, and G02 checks them before a study."""


def denominator(metric: str, matrix: Mapping[str, int] | Sequence[Sequence[int]] | None) -> int | None:
    """Return the denominator of a rate in windows, from the confusion matrix; None for other metrics.

    For a binary target: the windows predicted positive for `precision`, the positive windows for `recall`. For several
    classes: the minimum over the classes that occur; for `precision` only over those that are predicted, because the
    precision of the others is 0 by definition; 0 if none is predicted.
    """
    if matrix is None or metric not in ("accuracy", "precision", "recall"):
        return None
    if isinstance(matrix, Mapping):
        cells: dict[str, int] = {name: int(count) for name, count in matrix.items()}
        positive = {"precision": "fp", "recall": "fn"}
        return sum(cells.values()) if metric == "accuracy" else cells["tp"] + cells[positive[metric]]
    occurring = [number for number, row in enumerate(matrix) if sum(row)]
    if metric == "accuracy":
        return sum(map(sum, matrix))
    counts = [sum(matrix[c] if metric == "recall" else (row[c] for row in matrix)) for c in occurring]
    return min((count for count in counts if count), default=0)


def wilson(share: float, count: float, *, level: float) -> tuple[float, float]:
    """Return Wilson's interval (1927) of a share of `count` independent draws; it has a width even at 0 and 1."""
    z: Any = NormalDist().inv_cdf((1 + level) / 2)
    middle, spread = share + z**2 / (2 * count), z * (share * (1 - share) / count + (z / (2 * count)) ** 2) ** 0.5
    whole = 1 + z**2 / count
    return max(0.0, (middle - spread) / whole), min(1.0, (middle + spread) / whole)
