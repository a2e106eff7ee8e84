"""What a training is given, whom it asks on the way, what it must remember to go on, and how it may end early."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal, Protocol

from attrs import define, field, frozen


class Diverged(Exception):
    """The loss is not finite or has exploded: a state with a reason, never a value (guard G36)."""


@frozen(kw_only=True)
class TrainingPlan:
    """How to train, apart from the sampled hyper-parameters.

    From `training:` and `objective:` of the experiment file.
    """

    effective_batch: int
    micro_batch: int
    schedule: str
    gradient_clip: float | None
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


class Monitor(Protocol):
    """What the loop tells and asks the world outside, once a step and once an epoch."""

    def step(self, *, epoch: int, step: int, phase: str) -> Literal["go_on", "stop", "prune"]:
        """Called before each optimizer step; blocks while the trial is paused."""
        ...

    def epoch(self, line: Mapping[str, Any]) -> None: ...

    def checkpoint(self, state: dict[str, Any]) -> None: ...


@define
class Progress:
    """Everything beside weights, optimizer and RNG that a continued trial needs."""

    epoch: int = 1
    step: int = 0
    """Optimizer steps done in this epoch."""
    total_steps: int = 0
    loss_sum: float = 0.0
    norm_sum: float = 0.0
    clipped: int = 0
    epoch_seconds: float = 0.0
    train_seconds: float = 0.0
    stale_epochs: int = 0
    reference: float | None = None
    """What the next epoch must beat by `min_delta` to count as an improvement."""
    first_loss: float | None = None
    halvings: list[dict[str, Any]] = field(factory=list)
    """Where memory ran out within a step, and the micro-batch was halved."""
    best: dict[str, Any] | None = None
    curve: list[dict[str, Any]] = field(factory=list)
