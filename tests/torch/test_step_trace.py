"""The trace of a step: the training loop's step on fake tensors."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from scalecore.execution.hyperparameters import Hyperparameters
from scalecore_torch.memory.step_trace import FakeWindows, trace_step
from scalecore_torch.testing.training import make_training_plan
from scalecore_torch.training.tasks import task_named
from scalecore_torch.training.training_loop import TrainingLoop


class Encoder(nn.Module):
    """Two layers, which torch's own encoder creates as copies of a third."""

    def __init__(self, *, copied: bool) -> None:
        super().__init__()
        layers = [
            nn.TransformerEncoderLayer(16, 2, 32, dropout=0.1, batch_first=True) for _ in range(1 if copied else 2)
        ]
        self.layers = nn.TransformerEncoder(layers[0], 2) if copied else nn.Sequential(*layers)
        self.head = nn.Linear(16, 1)

    def forward(self, x_BTF: Tensor) -> Tensor:
        logits_BC: Tensor = self.head(self.layers(x_BTF).mean(1))
        return logits_BC


def trainer(*, copied: bool) -> TrainingLoop:
    windows: Any = FakeWindows(windows=64, context=10, features=16, device=torch.device("cpu"))
    return TrainingLoop(
        module=Encoder(copied=copied),
        task=task_named("binary", None),
        plan=make_training_plan(32),
        hyperparameters=Hyperparameters({"learning_rate": 1e-3, "weight_decay": 0.0, "warmup_steps": 0, "epochs": 2}),
        train=windows,
        validation=windows,
    )


@pytest.mark.filterwarnings("ignore:Accessing the data pointer of FakeTensor")  # by torch when it copies one
def test_layers_that_a_model_copies_are_traced_as_if_it_built_each() -> None:
    """`torch.nn.TransformerEncoder` copies its layer argument."""
    copied, built = (trace_step(lambda copied=copied: trainer(copied=copied), evaluate=32) for copied in (True, False))
    assert copied.peak == built.peak > 0
    assert copied.resident == built.resident
