from __future__ import annotations

import random
import weakref
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from scalecore_torch.training import checkpoint
from scalecore_torch.training.blocks import checkpoint_blocks
from scalecore_torch.training.micro_batches import StepOutOfMemory, invariance, random_state, same_random_state
from scalecore_torch.training.training_loop import TrainingLoop

from .conftest import CONTEXT
from .test_blocks import Deep
from .test_training_loop import Watcher, weights, without_times

Build = Callable[..., TrainingLoop]
CPU_ERROR = "[enforce fail at alloc_cpu.cpp:127] err == 0. DefaultCPUAllocator: can't allocate memory"


class Hungry(nn.Module):
    """A model that runs out of memory in a training pass of more than `most` windows, after part of the work."""

    def __init__(self, inner: nn.Module, *, most: int, after: int = 0, error: type[Exception] = RuntimeError) -> None:
        super().__init__()
        self.inner, self.most, self.after, self.error = inner, most, after, error
        self.calls = 0

    def forward(self, x_BTF: torch.Tensor) -> torch.Tensor:
        logits_BC = self.inner(x_BTF)
        self.calls += self.training
        if self.training and self.calls > self.after and len(x_BTF) > self.most:
            raise self.error(CPU_ERROR)
        return logits_BC


def deep(*, dropout: float, seed: int = 1) -> nn.Module:
    torch.manual_seed(seed)
    return Deep(dropout=dropout)


@pytest.mark.parametrize("error", [RuntimeError, MemoryError, torch.OutOfMemoryError])
def test_g40_out_of_memory_in_a_step_halves_the_micro_batch(trainer_of: Build, error: type[Exception]) -> None:
    """From the failing step on, the training is bitwise equal to one with the smaller micro-batch; the record contains
    it."""
    trainer = trainer_of(Hungry(deep(dropout=0.3), most=20, error=error), micro_batch=64)
    trainer.run(Watcher())
    small = trainer_of(Hungry(deep(dropout=0.3), most=64), micro_batch=16)
    small.run(Watcher())
    assert all(torch.equal(a, b) for a, b in zip(weights(trainer), weights(small), strict=True))
    assert without_times(trainer.progress.curve) == without_times(small.progress.curve)
    batching = trainer.batching()
    assert [(one["epoch"], one["step"], one["from"], one["to"]) for one in batching["halvings"]] == [
        (1, 0, 64, 32),
        (1, 0, 32, 16),
    ]
    assert batching["halvings"][0]["reason"] == CPU_ERROR
    assert (batching["micro_batch"], batching["invariance"]) == (16, "stochastic")
    assert small.batching() == {"micro_batch": 16, "halvings": [], "invariance": "stochastic"}


class FailsBackward(torch.autograd.Function):
    """The identity; its backward pass fails for more than `most` windows."""

    @staticmethod
    def forward(ctx: Any, x: torch.Tensor, most: int) -> torch.Tensor:
        ctx.most = most
        return x.clone()

    @staticmethod
    def backward(ctx: Any, *gradients: Any) -> Any:
        if len(gradients[0]) > ctx.most:
            raise RuntimeError(CPU_ERROR)
        return gradients[0], None


class HungryBackward(nn.Module):
    """A model that runs out of memory in a backward pass and counts activations left by earlier passes."""

    def __init__(self, *, most: int) -> None:
        super().__init__()
        self.first, self.last, self.most = nn.Linear(3 * CONTEXT, 8), nn.Linear(8, 1), most
        self.made: list[weakref.ref[torch.UntypedStorage]] = []
        self.left: list[int] = []

    def forward(self, x_BTF: torch.Tensor) -> torch.Tensor:
        self.left.append(sum(one() is not None for one in self.made))
        hidden_BU = torch.tanh(self.first(x_BTF.flatten(1)))
        self.made.append(weakref.ref(hidden_BU.untyped_storage()))
        return self.last(FailsBackward.apply(hidden_BU, self.most))  # type: ignore[no-untyped-call]


def test_g40_activations_of_the_failed_pass_are_freed_before_the_step_is_repeated(trainer_of: Build) -> None:
    """After memory ran out in the backward pass, its activations must not exist in addition to those of the smaller
    pass."""
    module = HungryBackward(most=32)
    trainer = trainer_of(module, micro_batch=64)
    trainer.optimizer_step()
    assert trainer.micro_batch == 32
    assert module.left == [0, 0, 0]


def test_a_step_that_never_fits_ends_as_out_of_memory(trainer_of: Build) -> None:
    """No micro-batch is smaller than one window: the error reports it and contains the attempts."""
    trainer = trainer_of(Hungry(deep(dropout=0.0), most=0), micro_batch=4)
    with pytest.raises(StepOutOfMemory) as caught:
        trainer.optimizer_step()
    assert str(caught.value) == f"a step does not fit even with a micro-batch of 1: {CPU_ERROR}"
    assert caught.value.batching["micro_batch"] == 1
    assert len(caught.value.batching["halvings"]) == 2


def test_another_error_in_a_step_is_not_treated_as_out_of_memory(trainer_of: Build) -> None:
    """It is raised unchanged, and the micro-batch stays."""
    trainer = trainer_of(Hungry(deep(dropout=0.0), most=0, error=ZeroDivisionError), micro_batch=4)
    with pytest.raises(ZeroDivisionError):
        trainer.optimizer_step()
    assert trainer.micro_batch == 4


def test_running_statistics_are_restored_before_the_step_is_repeated(trainer_of: Build) -> None:
    """Batch normalisation counts each window of the step once, not twice; it is reported as not invariant."""

    def net() -> nn.Module:
        torch.manual_seed(1)
        return nn.Sequential(nn.Flatten(), nn.Linear(3 * CONTEXT, 8), nn.BatchNorm1d(8), nn.Linear(8, 1))

    trainer = trainer_of(Hungry(net(), most=32), micro_batch=64)
    small = trainer_of(Hungry(net(), most=64), micro_batch=32)
    trainer.optimizer_step()
    small.optimizer_step()
    assert all(torch.equal(a, b) for a, b in zip(weights(trainer), weights(small), strict=True))
    assert trainer.batching()["invariance"] == "not_invariant"


def test_the_effect_of_splitting_a_batch_is_derived_or_declared() -> None:
    """Batch statistics take precedence over randomness; a declaration takes precedence over both, and must be valid."""
    plain = nn.Sequential(nn.Linear(2, 2))
    normalised = nn.Sequential(nn.Linear(2, 2), nn.BatchNorm1d(2))
    assert invariance(plain, drew=False) == "exact"
    assert invariance(plain, drew=True) == "stochastic"
    assert invariance(normalised, drew=True) == "not_invariant"
    declared: Any = nn.Sequential(nn.BatchNorm1d(2))
    declared.micro_batch_invariance = "exact"
    assert invariance(declared, drew=True) == "exact"
    declared.micro_batch_invariance = "yes"
    with pytest.raises(
        ValueError,
        match=r"Sequential\.micro_batch_invariance is 'yes', not one of exact, stochastic, not_invariant",
    ):
        invariance(declared, drew=False)


def test_a_random_draw_is_detected_on_every_device() -> None:
    """Dropout on a GPU does not change the CPU's generator."""
    before = random_state(torch.device("cpu"))
    assert same_random_state(before, random_state(torch.device("cpu")))
    torch.rand(1)
    assert not same_random_state(before, random_state(torch.device("cpu")))
    on_two = {**before, "cuda": [before["cpu"], before["cpu"]]}
    assert same_random_state(on_two, {**on_two})
    assert not same_random_state(on_two, {**on_two, "cuda": [before["cpu"], before["cpu"] + 1]})
    on_mac = {**before, "mps": before["cpu"]}
    assert not same_random_state(on_mac, {**on_mac, "mps": before["cpu"] + 1})


@pytest.mark.parametrize("recompute", [False, True])
def test_interruptions_change_no_bit_with_accumulation_recomputation_and_halving(
    trainer_of: Build, tmp_path: Path, recompute: bool
) -> None:
    """Stopped at many random steps, before and after memory ran out in the middle: weights, curve and metrics are
    equal."""

    def made(after: int) -> TrainingLoop:
        inner = deep(dropout=0.3)
        module = Hungry(inner, most=12, after=after)
        if recompute:
            assert checkpoint_blocks(inner) == 4
        return trainer_of(module, micro_batch=24)

    # 64 windows per step in micro-batches of 24 are three passes: memory runs out in the fifth step.
    whole = made(after=13)
    assert whole.run(Watcher()) == "completed"
    generator = random.Random(3)
    trainer, interruptions, passes = made(after=13), 0, 0
    while trainer.run(Watcher(stop_at=generator.randrange(1, 6), folder=tmp_path)) == "stopped":
        interruptions += 1
        passes += trainer.module.calls
        found = checkpoint.load_newest([tmp_path])
        assert found is not None
        torch.manual_seed(generator.randrange(1000))
        trainer = made(after=max(0, 13 - passes))
        trainer.restore(found[0])
    assert interruptions >= 5
    assert [(one["epoch"], one["step"], one["from"], one["to"]) for one in trainer.progress.halvings] == [
        (1, 4, 24, 12)
    ]
    assert trainer.micro_batch == whole.micro_batch == 12
    assert all(torch.equal(a, b) for a, b in zip(weights(trainer), weights(whole), strict=True))
    assert without_times(trainer.progress.curve) == without_times(whole.progress.curve)
    assert trainer.best_logits_NC is not None
    assert whole.best_logits_NC is not None
    assert torch.equal(trainer.best_logits_NC, whole.best_logits_NC)
