"""The trainer `torch` passes the contract of trainers."""

from __future__ import annotations

from types import MappingProxyType

from scalecore.testing import TrainerContract


class TestTorch(TrainerContract):
    """With the baseline model."""

    experiment = MappingProxyType(
        {"training": {"effective_batch": 64, "threads": 1, "hyperparameters": {"epochs": 2, "warmup_steps": 5}}}
    )
    diverging = MappingProxyType({"learning_rate": 10.0, "weight_decay": 10.0, "warmup_steps": 0, "epochs": 50})
