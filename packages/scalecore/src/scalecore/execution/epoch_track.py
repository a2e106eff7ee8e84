"""Tracks the epochs of one training by its objective: learning curve, best epoch, early stopping."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from attrs import define, field

from scalecore.api.metrics import objective_value
from scalecore.api.training import TrainingPlan
from scalecore.data.rates import denominator

KEPT = ("curve", "best", "last", "reference", "stale")


@define(kw_only=True)
class EpochTrack:
    """Collects the line of each epoch, with the rules of the trainer `torch`, for trainers that do not use torch."""

    plan: TrainingPlan
    curve: list[dict[str, Any]] = field(factory=list)
    best: dict[str, Any] | None = None
    last: dict[str, Any] | None = None
    reference: float | None = None
    """The value that the next improvement is measured against."""
    stale: int = 0

    def take(self, line: dict[str, Any]) -> bool:
        """Add an epoch; return whether it is the best one so far."""
        value = self._value(line)
        self.curve.append({name: one for name, one in line.items() if not isinstance(one, dict | list)})
        is_best = self.best is None or self._rank(line) > self._rank(self.best)
        if is_best:
            self.best = line
        self.last = line
        if value is not None and not self._supported(line):
            value = objective_value({self.plan.metric: None}, metric=self.plan.metric, direction=self.plan.direction)
        if value is not None and (self.reference is None or self._improves(value)):
            self.reference, self.stale = value, 0
        else:
            self.stale += 1
        return is_best

    @property
    def is_stale(self) -> bool:
        """Whether early stopping ends the training."""
        return self.plan.patience is not None and self.stale >= self.plan.patience

    def value(self) -> float | None:
        """Return the objective of the best or the last epoch (guard G05); None if it has no value there."""
        line = self.best if self.plan.reduction == "best" else self.last
        return None if line is None else self._value(line)

    def state(self) -> dict[str, Any]:
        """Return the state for a checkpoint, in JSON types."""
        return {name: getattr(self, name) for name in KEPT}

    def _value(self, line: Mapping[str, Any]) -> float | None:
        return objective_value(line, metric=self.plan.metric, direction=self.plan.direction)

    def _supported(self, line: Mapping[str, Any]) -> bool:
        """Whether the objective covers as many windows as the plan requires (guard G19)."""
        count = denominator(self.plan.metric, line.get("confusion_matrix"))
        return count is None or count >= self.plan.min_denominator

    def _rank(self, line: Mapping[str, Any]) -> tuple[bool, float]:
        value = self._value(line)
        if value is None:
            return False, -math.inf
        return self._supported(line), -value if self.plan.direction == "minimize" else value

    def _improves(self, value: float) -> bool:
        assert self.reference is not None
        by = self.plan.min_delta
        return value < self.reference - by if self.plan.direction == "minimize" else value > self.reference + by
