"""Schedules, decay and clipping match their formulas."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from scalecore.api.training import Diverged
from scalecore_torch.training.optimizer import build_optimizer, learning_rate_at
from scalecore_torch.training.training_loop import TrainingLoop

from .conftest import Failing

Build = Callable[..., TrainingLoop]


def one_epoch(trainer: TrainingLoop) -> dict[str, Any]:
    while trainer.progress.step < trainer.steps_per_epoch:
        trainer.optimizer_step()
    return trainer._end_epoch()


@pytest.mark.parametrize("warmup", [0, 1, 7, 100])
@pytest.mark.parametrize(
    ("schedule", "shape"),
    [
        ("constant", lambda done: np.ones_like(done)),
        ("linear", lambda done: 1 - done),
        ("cosine", lambda done: (1 + np.cos(np.pi * done)) / 2),
    ],
)
def test_schedules_match_their_formulas(schedule: str, shape: Callable[[Any], Any], warmup: int) -> None:
    """The rate is k / (warmup + 1) of the peak at the k-th step, then the peak, then decays over the remaining steps.

    A warm-up longer than the training never reaches the peak, and no rate during training is negative or 0.
    """
    total, steps = 60, np.arange(60)
    after = shape(np.clip((steps - warmup) / max(1, total - warmup), 0, 1))
    expected = 3e-4 * np.where(steps < warmup, (steps + 1) / (warmup + 1), after)
    found = [
        learning_rate_at(int(step), peak=3e-4, schedule=schedule, warmup_steps=warmup, total_steps=total)
        for step in steps
    ]
    np.testing.assert_allclose(found, expected, rtol=1e-12)
    assert min(found) > 0


def test_each_epoch_reports_the_rate_of_its_last_step(trainer_of: Build) -> None:
    """It follows the formula over all planned steps."""
    trainer = trainer_of(schedule="linear")
    total = 4 * trainer.steps_per_epoch
    for epoch in range(1, 5):
        step = epoch * trainer.steps_per_epoch - 1
        assert one_epoch(trainer)["learning_rate"] == pytest.approx(1e-2 * (1 - (step - 3) / (total - 3)))


def test_decay_is_decoupled_and_excludes_biases_and_norms() -> None:
    """Without a gradient, a matrix shrinks by learning rate times decay, and nothing else changes.

    Norms and biases of any shape are excluded, not only vectors.
    """

    class Odd(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.linear, self.norm = nn.Linear(4, 3), nn.LayerNorm((2, 3))
            self.positions, self.stacked_bias = nn.Parameter(torch.ones(5, 3)), nn.Parameter(torch.ones(2, 3))

    module = Odd()
    before = {name: one.detach().clone() for name, one in module.named_parameters()}
    optimizer = build_optimizer(module, learning_rate=0.1, weight_decay=0.5)
    for parameter in module.parameters():
        parameter.grad = torch.zeros_like(parameter)
    optimizer.step()
    decayed = {name for name, one in module.named_parameters() if not torch.equal(one, before[name])}
    assert decayed == {"linear.weight", "positions"}
    torch.testing.assert_close(module.linear.weight.detach(), before["linear.weight"] * (1 - 0.1 * 0.5))


def test_clipping_bounds_the_step_and_its_rate_is_reported(trainer_of: Build) -> None:
    """The norm is measured before clipping, over the whole effective batch; the share counts steps above the limit."""
    free = trainer_of(gradient_clip=None, hyperparameters={"learning_rate": 1e-8})
    norms = []
    while free.progress.step < free.steps_per_epoch:
        free.optimizer_step()
        norms.append(float(torch.cat([one.grad.flatten() for one in free.module.parameters()]).norm()))  # type: ignore[union-attr]
    line = free._end_epoch()
    assert line["gradient_norm"] == pytest.approx(np.mean(norms), rel=1e-5)
    assert line["clipped_share"] == 0.0

    limit = float(np.median(norms))
    bounded = trainer_of(gradient_clip=limit, hyperparameters={"learning_rate": 1e-8})
    bounded.optimizer_step()
    after = torch.cat([one.grad.flatten() for one in bounded.module.parameters()]).norm()  # type: ignore[union-attr]
    assert float(after) == pytest.approx(min(norms[0], limit), rel=1e-4)
    line = one_epoch(bounded)
    assert line["gradient_norm"] == pytest.approx(np.mean(norms), rel=1e-3)
    assert line["clipped_share"] == pytest.approx(np.mean(np.array(norms) > limit), abs=1.01 / len(norms))


def test_g36_an_exploding_loss_is_a_divergence(trainer_of: Build) -> None:
    """A loss a hundred times the first epoch's ends the trial although it is finite."""
    trainer = trainer_of(Failing(call=12, factor=1e4, feature=1), hyperparameters={"learning_rate": 1e-8})
    one_epoch(trainer)
    with pytest.raises(Diverged, match=r"training loss exploded from 0\.\d+ to \d+ in epoch 2|e\+03 in epoch 2"):
        one_epoch(trainer)
