"""Builds training plans and attempt specs for tests and benchmarks, without an experiment file."""

from __future__ import annotations

from typing import Any

from attrs import evolve

from scalecore.api.attempts import ModelSpec
from scalecore.api.space import DataShape
from scalecore.api.training import TrainingPlan
from scalecore_torch.spec import TorchSpec

__all__ = ["make_attempt_spec", "make_training_plan"]


def make_training_plan(batch: int = 64, **changes: Any) -> TrainingPlan:
    """A plan that minimises `val_loss` with gradient clipping and without early stopping.

    A step has `batch` windows in one micro-batch; `changes` set other fields.
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


def make_attempt_spec(**changes: Any) -> TorchSpec:
    """The spec of an attempt that trains a linear model on one feature, without data; `changes` set its fields."""
    spec = TorchSpec(
        attempt="0-0",
        number=0,
        mode="train",
        registry={"no_plugins": True, "block": []},
        model=ModelSpec(use="linear", options={}),
        architecture={},
        num_parameters=5,
        hyperparameters={"learning_rate": 1e-3, "weight_decay": 0.0, "warmup_steps": 0, "epochs": 2},
        sampled=(),
        shape=DataShape(context=4, features=1, outputs=1),
        task="binary",
        loss=None,
        label_overlap=1,
        data="data",
        seed=0,
        device="cpu",
        threads=1,
        precision="fp32",
        compile="off",
        flops=0,
        memory_limit=None,
        activation_checkpointing=False,
        keep_weights=False,
        plan=make_training_plan(),
        resume_from=(),
    )
    return evolve(spec, **changes)
