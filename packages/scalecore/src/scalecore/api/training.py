"""What a training loop of an attempt is given, and what it reports to."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal, Protocol

from attrs import frozen

__all__ = [
    "Diverged",
    "TrainingMonitor",
    "TrainingPlan",
]


class Diverged(Exception):
    """The loss is not finite or has exploded: a state with a reason, never a value (guard G36)."""


@frozen(kw_only=True)
class TrainingPlan:
    """How to train, apart from the sampled hyper-parameters.

    From `training:` and `objective:` of the experiment file.
    """

    effective_batch: int
    micro_batch: int
    schedule: str = "constant"
    gradient_clip: float | None = None
    patience: int | None
    min_delta: float
    metric: str
    direction: Literal["minimize", "maximize"]
    reduction: Literal["best", "last"]
    seed: int
    checkpoint_every: float
    checkpoint_epochs: int | None = None
    min_denominator: int = 0
    """Windows that the objective must be over, where it is a rate of windows that the model chooses: an epoch below it
    counts as the worst, and is the best one only where no other is."""


class TrainingMonitor(Protocol):
    """What a training loop reports and asks, once a step and once an epoch."""

    def step(self, *, epoch: int, step: int, phase: str) -> Literal["go_on", "stop", "prune"]:
        """Called before each optimizer step; blocks while the trial is paused."""
        ...

    def epoch(self, line: Mapping[str, Any]) -> None: ...

    def checkpoint(self, state: dict[str, Any]) -> None: ...
