"""How many windows a rate is over: precision of one window is 0 or 1, whatever the model is worth (guard G19)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from statistics import NormalDist
from typing import Any

OWN_DENOMINATOR = ("precision",)
"""Metrics whose windows the model chooses by what it predicts. Those of the others are of the data: G02 counts them
before a study."""


def denominator(metric: str, matrix: Mapping[str, int] | Sequence[Sequence[int]] | None) -> int | None:
    """Windows that a rate of classes is over, from the confusion matrix; None for what is no such rate.

    Of a binary target: of `precision` the windows predicted positive, of `recall` the positive ones. Of several
    classes the least of a class that occurs: of `precision` among those that are predicted at all, since the precision
    of the others is 0 by definition and no luck; 0 where none is.
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
    """Interval of a share of `count` independent draws (Wilson 1927): it has a width also where all or none hit."""
    z: Any = NormalDist().inv_cdf((1 + level) / 2)
    middle, spread = share + z**2 / (2 * count), z * (share * (1 - share) / count + (z / (2 * count)) ** 2) ** 0.5
    whole = 1 + z**2 / count
    return max(0.0, (middle - spread) / whole), min(1.0, (middle + spread) / whole)
