"""The training loop on a GPU; skipped where there is none."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch

from scalecore.data.windows import WindowSource
from scalecore.training.policies import Policy
from scalecore.training.trainer import Trainer

from .conftest import Net
from .test_compilation import Deep

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA GPU and a torch built for it")


def on_gpu(trainer: Trainer, windows: Callable[[WindowSource], WindowSource]) -> Trainer:
    return Trainer(
        module=trainer.module.to("cuda"),
        task=trainer.task,
        plan=trainer.plan,
        hyperparameters={"learning_rate": 1e-2, "weight_decay": 0.0, "warmup_steps": 0, "epochs": 5},  # type: ignore[arg-type]
        train=windows(trainer.train),
        validation=windows(trainer.validation),
    )


def test_no_step_waits_for_the_gpu_and_the_loss_falls(trainer_of: Callable[..., Trainer]) -> None:
    """Under torch's own check for synchronising calls, in bfloat16, after the order of the epoch was drawn."""
    trainer = on_gpu(trainer_of(Deep()), lambda source: source.to("cuda"))
    trainer.policy = Policy(precision="bf16", why={})
    before, _, _ = trainer.evaluate(trainer.train)
    trainer.optimizer_step()
    torch.cuda.set_sync_debug_mode("error")
    try:
        for _ in range(trainer.steps_per_epoch - 1):
            trainer.optimizer_step()
    finally:
        torch.cuda.set_sync_debug_mode("default")
    after, _, _ = trainer.evaluate(trainer.train)
    assert after < before


def test_dropout_on_the_gpu_is_told_as_stochastic(trainer_of: Callable[..., Trainer]) -> None:
    """Its random numbers come from the generator of the GPU."""
    for rate, expected in ((0.3, "stochastic"), (0.0, "exact")):
        trainer = on_gpu(trainer_of(Net(dropout=rate)), lambda source: source.to("cuda"))
        trainer.optimizer_step()
        assert trainer.batching()["invariance"] == expected
