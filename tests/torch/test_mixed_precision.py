"""Training in bfloat16 over several micro-batches: weights are cast once per step, and nothing else differs."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest
import torch
from attrs import evolve
from torch.utils._python_dispatch import TorchDispatchMode

from scalecore_torch.training.blocks import checkpoint_blocks
from scalecore_torch.training.policies import Policy
from scalecore_torch.training.training_loop import TrainingLoop

from .conftest import Net
from .test_compilation import Deep

Build = Callable[..., TrainingLoop]


class Casts(TorchDispatchMode):
    """Counts how often each parameter of a training loop is cast to bfloat16."""

    def __init__(self, trainer: TrainingLoop) -> None:
        super().__init__()
        self.names = {one.data_ptr(): name for name, one in trainer.module.named_parameters()}
        self.counts: Counter[str] = Counter()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        if func is torch.ops.aten._to_copy.default and result.dtype == torch.bfloat16:
            name = self.names.get(args[0].data_ptr())
            if name is not None:
                self.counts[name] += 1
        return result


def in_bf16(trainer: TrainingLoop) -> TrainingLoop:
    trainer.policy = Policy(precision="bf16", why={})
    return trainer


@pytest.mark.parametrize("micro_batch", [64, 16, 5])
def test_weights_are_cast_once_per_step(trainer_of: Build, micro_batch: int) -> None:
    """For all micro-batches together, and again in the next step; weights of norms are not cast."""
    trainer = in_bf16(trainer_of(micro_batch=micro_batch))
    linear = {f"layers.{part}.{name}" for part in (1, 5) for name in ("weight", "bias")}
    for _ in range(2):
        with Casts(trainer) as casts:
            trainer.optimizer_step()
        assert casts.counts == dict.fromkeys(linear, 1)


@pytest.mark.parametrize("checkpointing", [False, True])
def test_casting_once_changes_no_bit(trainer_of: Build, checkpointing: bool) -> None:
    """Losses, gradients and weights equal those of a training that casts for each micro-batch."""
    results = []
    for anew in (False, True):
        trainer = in_bf16(trainer_of(Deep(), micro_batch=24))
        if checkpointing:
            assert checkpoint_blocks(trainer.module) > 0
        written = trainer.logits

        def logits(x_MTF: torch.Tensor, written: Any = written, anew: bool = anew) -> torch.Tensor:
            if anew:
                torch.clear_autocast_cache()
            return written(x_MTF)

        trainer.logits = logits  # type: ignore[method-assign]
        for _ in range(2 * trainer.steps_per_epoch // 3):
            trainer.optimizer_step()
        results.append((trainer.state(), [one.grad for one in trainer.module.parameters()]))
    (state, gradients), (expected, other) = results
    assert state["progress"]["loss_sum"] == expected["progress"]["loss_sum"]
    assert all(torch.equal(a, b) for a, b in zip(gradients, other, strict=True) if a is not None and b is not None)
    assert all(torch.equal(a, expected["module"][name]) for name, a in state["module"].items())


def test_only_the_model_computes_in_bfloat16(trainer_of: Build) -> None:
    """Neither the loss nor the optimizer runs under autocast, and no cast weight outlives its step."""
    trainer = in_bf16(trainer_of(Net(dropout=0.0), micro_batch=16))
    total, seen = trainer.task.training.total, []

    def watched(logits_MC: torch.Tensor, y_M: torch.Tensor) -> torch.Tensor:
        seen.append((torch.is_autocast_enabled("cpu"), logits_MC.dtype))
        return total(logits_MC, y_M)

    trainer.task = evolve(trainer.task, training=evolve(trainer.task.training, total=watched))
    trainer.optimizer_step()
    assert seen == [(False, torch.float32)] * 4
    assert torch.autocast_increment_nesting() == 1
    assert torch.autocast_decrement_nesting() == 0
