from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import nn

from scalecore_torch.training.blocks import checkpoint_blocks, repeated_blocks
from scalecore_torch.training.training_loop import TrainingLoop

from .conftest import CONTEXT
from .test_training_loop import Watcher, weights, without_times

Build = Callable[..., TrainingLoop]


class Block(nn.Module):
    def __init__(self, dropout: float) -> None:
        super().__init__()
        self.norm, self.linear, self.dropout = nn.LayerNorm(16), nn.Linear(16, 16), nn.Dropout(dropout)
        self.calls = 0

    def forward(self, x_BD: torch.Tensor) -> torch.Tensor:
        self.calls += 1
        return x_BD + self.dropout(torch.tanh(self.linear(self.norm(x_BD))))


class Deep(nn.Module):
    """A network of four equal blocks."""

    def __init__(self, *, dropout: float) -> None:
        super().__init__()
        self.embedding = nn.Linear(3 * CONTEXT, 16)
        self.blocks = nn.ModuleList(Block(dropout) for _ in range(4))
        self.head = nn.Linear(16, 1)

    def repeated_blocks(self) -> list[nn.Module]:
        return list(self.blocks)

    def forward(self, x_BTF: torch.Tensor) -> torch.Tensor:
        x_BD = self.embedding(x_BTF.flatten(1))
        for block in self.blocks:
            x_BD = block(x_BD)
        return self.head(x_BD)


@pytest.mark.parametrize("dropout", [0.0, 0.3])
def test_recomputing_the_blocks_changes_no_bit(trainer_of: Build, dropout: float) -> None:
    """Weights, curve and metrics are equal with and without recomputation, also with accumulation and dropout."""
    trainers = []
    for recompute in (False, True):
        torch.manual_seed(1)
        module = Deep(dropout=dropout)
        trainer = trainer_of(module, micro_batch=24)
        if recompute:
            assert checkpoint_blocks(module) == 4
        trainer.run(Watcher())
        trainers.append(trainer)
    plain, recomputed = trainers
    assert all(torch.equal(a, b) for a, b in zip(weights(plain), weights(recomputed), strict=True))
    assert without_times(plain.progress.curve) == without_times(recomputed.progress.curve)
    calls = [[block.calls for block in trainer.module.blocks] for trainer in trainers]
    assert min(calls[1]) > max(calls[0]), "nothing was computed again"


def test_a_module_without_blocks_is_unchanged() -> None:
    """Nothing is wrapped, and the returned number is 0."""
    module = nn.Sequential(nn.Linear(2, 2))
    assert repeated_blocks(module) == []
    assert checkpoint_blocks(module) == 0


def test_blocks_that_are_not_submodules_are_refused() -> None:
    """The error contains the class and the returned value."""

    class Wrong(nn.Module):
        def repeated_blocks(self) -> list[str]:
            return ["layers"]

    with pytest.raises(
        TypeError, match=r"Wrong.repeated_blocks\(\) returned 'layers', which is not one of its modules"
    ):
        repeated_blocks(Wrong())
