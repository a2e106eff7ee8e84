"""The input of an attempt's training loop, and the protocol to which the loop reports."""

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
    """The loss is not finite or has exploded: the trial ends as `diverged` with a reason and no value (guard G36)."""


@frozen(kw_only=True)
class TrainingPlan:
    """How to train, apart from the varied hyper-parameters: `training:` and `objective:` of the experiment file."""

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
    """Minimum number of windows behind the objective, if the objective is a rate over windows that the model chooses.
    An epoch below it ranks last: it is the best one only if no other epoch qualifies."""


class TrainingMonitor(Protocol):
    """Receives the reports of a training loop, once per step and once per epoch."""

    def step(self, *, epoch: int, step: int, phase: str) -> Literal["go_on", "stop", "prune"]:
        """Return whether to go on. Call it before each optimizer step; it blocks while the trial is paused."""
        ...

    def epoch(self, line: Mapping[str, Any]) -> None: ...

    def checkpoint(self, state: dict[str, Any]) -> None: ...
