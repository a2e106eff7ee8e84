"""Sections of a report, with sentences, tables and figures, and the values that all of them use."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from attrs import field, frozen

from scalecore.api.trials import StudyView, TrialRecord, TrialState, best_first, best_trial
from scalecore_analysis.vega import Spec

__all__ = ["Row", "Section", "Subject", "finite", "numbers_text"]

Row = dict[str, Any]
LISTED = 12
"""Maximum number of trial numbers in a cell; the rest is counted."""


@frozen(kw_only=True)
class Section:
    """One section; `data` contains all numbers unrounded, for the JSON."""

    title: str
    text: Sequence[str] = ()
    tables: Mapping[str, Sequence[Row]] = field(factory=dict)
    figures: Mapping[str, Spec] = field(factory=dict)
    data: Any = None
    captions: Mapping[str, str] = field(factory=dict)
    """Explanations of tables and figures by title."""


@frozen(kw_only=True)
class Subject:
    """A study with the values that the report uses."""

    study: StudyView
    metric: str
    direction: str
    completed: tuple[TrialRecord, ...]
    """Completed trials that count and have a finite value, by number."""
    best: TrialRecord | None

    @classmethod
    def of(cls, study: StudyView) -> Subject:
        objective = study.experiment["objective"]
        completed = tuple(
            trial
            for trial in sorted(study.counted, key=lambda one: one.number)
            if trial.state is TrialState.COMPLETED and finite(trial.value) is not None
        )
        return cls(
            study=study,
            metric=objective["metric"],
            direction=objective["direction"],
            completed=completed,
            best=best_trial(completed, direction=objective["direction"]),
        )

    @property
    def values(self) -> list[float]:
        """The objective of the completed trials."""
        return [float(trial.value) for trial in self.completed if trial.value is not None]

    def better(self, values: Iterable[float]) -> float | None:
        """The best value; None if there is none."""
        return (min if self.direction == "minimize" else max)(values, default=None)

    def ranked(self) -> list[TrialRecord]:
        """Completed trials, best first, those that predict a constant last; then all others by number."""
        first = best_first(self.completed, direction=self.direction)
        known = {trial.number for trial in first}
        return first + [trial for trial in self.study.trials if trial.number not in known]


def finite(value: Any) -> float | None:
    """A number as a float; None if it is missing, NaN, infinite or no number (guard G25)."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return float(value) if math.isfinite(value) else None


def numbers_text(numbers: Sequence[int]) -> str:
    """`3, 7, 9 and 40 more`."""
    listed = ", ".join(str(number) for number in numbers[:LISTED])
    return listed if len(numbers) <= LISTED else f"{listed} and {len(numbers) - LISTED} more"
