"""Parts of a training for tests of models, trainers and benchmarks, without an experiment file."""

from __future__ import annotations

from typing import Any

from attrs import evolve

from scalecore.training.plan import TrainingPlan

__all__ = ["make_training_plan"]


def make_training_plan(batch: int = 64, **changes: Any) -> TrainingPlan:
    """The plan of a training that minimises `val_loss` with clipped gradients and without early stopping.

    `batch` windows in a step, all in one micro-batch; `changes` set other fields.
    """
    plan = TrainingPlan(
        effective_batch=batch,
        micro_batch=batch,
        schedule="constant",
        gradient_clip=1.0,
        patience=None,
        min_delta=0.0,
        metric="val_loss",
        direction="minimize",
        reduction="best",
        seed=0,
        checkpoint_every=3600.0,
    )
    return evolve(plan, **changes)
