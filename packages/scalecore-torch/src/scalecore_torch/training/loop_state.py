"""The state of the training loop that a checkpoint stores."""

from __future__ import annotations

from typing import Any

from attrs import define, field


@define
class LoopState:
    """Everything that a resumed trial needs in addition to weights, optimizer and random state."""

    epoch: int = 1
    step: int = 0
    """Optimizer steps completed in this epoch."""
    total_steps: int = 0
    loss_sum: float = 0.0
    norm_sum: float = 0.0
    clipped: int = 0
    epoch_seconds: float = 0.0
    train_seconds: float = 0.0
    stale_epochs: int = 0
    reference: float | None = None
    """The value that the next epoch must beat by `min_delta` to count as an improvement."""
    first_loss: float | None = None
    halvings: list[dict[str, Any]] = field(factory=list)
    """The steps in which memory ran out and the micro-batch was halved."""
    best: dict[str, Any] | None = None
    curve: list[dict[str, Any]] = field(factory=list)
