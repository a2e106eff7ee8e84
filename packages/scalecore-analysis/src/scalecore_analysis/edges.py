"""Whether a trial is at the end of a dimension or a range."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from scalecore.api.space import Choice, levels
from scalecore.api.trials import StudyView, TrialRecord

__all__ = ["EDGE", "edges_of", "is_numeric"]

EDGE = 0.05
"""Width of an edge, as a share of a range on its own scale."""
LEVELS = 3
"""Minimum number of values: with fewer, every value is an end of its dimension or range."""


def edges_of(study: StudyView, trial: TrialRecord, *, edge: float = EDGE) -> list[dict[str, Any]]:
    """One row per dimension and numeric hyper-parameter of the space with at least three values.

    `on edge` is `at its minimum`, `at its maximum`, or None.
    """
    rows: list[dict[str, Any]] = []

    def add(name: str, value: Any, low: Any, high: Any, end: str | None) -> None:
        rows.append({"trial": trial.number, "name": name, "value": value, "low": low, "high": high})
        rows[-1]["on edge"] = f"at its {end}" if end else None

    for name, values in study.plan.architectures.dimensions.items():
        if len(values) >= LEVELS and name in trial.architecture.values:
            size = trial.architecture.values[name]
            low, high = min(values), max(values)
            add(name, size, low, high, "minimum" if size <= low else "maximum" if size >= high else None)
    for name, distribution in study.plan.space.items():
        value = trial.hyperparameters.get(name)
        bounds, count = distribution.bounds(), levels(distribution)
        if value is None or not distribution.contains(value) or (count is not None and count < LEVELS):
            continue
        if not isinstance(distribution, Choice):
            unit = distribution.unit(value)
            end = "minimum" if unit <= edge else "maximum" if unit >= 1 - edge else None
            add(name, value, bounds[0], bounds[-1], end)
        elif is_numeric(bounds):
            lowest, highest = min(bounds), max(bounds)
            add(name, value, lowest, highest, "minimum" if value == lowest else "maximum" if value == highest else None)
    return rows


def is_numeric(values: Sequence[Any]) -> bool:
    """True if all values are numbers."""
    return all(isinstance(value, int | float) and not isinstance(value, bool) for value in values)
