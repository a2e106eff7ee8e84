from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import nn

from scalecore.api.errors import RefusedError
from scalecore.execution.hyperparameters import Hyperparameters
from scalecore_torch.attempt import smoke
from scalecore_torch.training.output_checks import returns_probabilities
from scalecore_torch.training.training_loop import TrainingLoop


def deep(last: nn.Module) -> nn.Module:
    """Thirty layers without a norm, in which large weights overflow."""
    layers = [layer for _ in range(30) for layer in (nn.Linear(8, 8), nn.ReLU())]
    return nn.Sequential(nn.Flatten(), nn.Linear(12, 8), *layers, nn.Linear(8, 1), last)


def zero_head() -> nn.Module:
    """A head initialised with zeros after one small step: all outputs are slightly above 0."""
    head = nn.Linear(12, 1)
    with torch.no_grad():
        head.weight.fill_(1e-6)
        head.bias.fill_(1e-5)
    return nn.Sequential(nn.Flatten(), head)


@pytest.mark.parametrize(
    ("build", "expected"),
    [
        (lambda: nn.Sequential(nn.Flatten(), nn.Linear(12, 1)), False),
        (lambda: nn.Sequential(nn.Flatten(), nn.Linear(12, 3), nn.LogSoftmax(1)), False),
        (zero_head, False),
        (lambda: deep(nn.Identity()), False),
        (lambda: nn.Sequential(nn.Flatten(), nn.Linear(12, 1), nn.Sigmoid()), True),
        (lambda: nn.Sequential(nn.Flatten(), nn.Linear(12, 3), nn.Softmax(1)), True),
        (lambda: deep(nn.Sigmoid()), True),
    ],
    ids=["linear", "log-softmax", "zero-head", "deep", "sigmoid", "softmax", "deep-sigmoid"],
)
def test_g10_probabilities_are_distinguished_from_logits(build: Callable[[], nn.Module], expected: bool) -> None:
    """The check uses the outputs for growing weights, not their initial range."""
    torch.manual_seed(0)
    module, x_BTF = build(), torch.randn(16, 4, 3)
    assert returns_probabilities(module, x_BTF) is expected


@pytest.mark.parametrize("metric", ["confusion_matrix", "predictions", "sharpe"])
def test_g23_a_metric_that_is_not_a_number_cannot_rank_trials(
    trainer_of: Callable[..., TrainingLoop], metric: str
) -> None:
    """The smoke step refuses it and lists the numeric metrics."""
    with pytest.raises(
        RefusedError,
        match=rf"^objective\.metric: '{metric}' is not measured; the task binary measures accuracy, auc, brier, f1, "
        r"pr_auc, precision, recall, train_loss, val_loss \[G23\]$",
    ):
        smoke(trainer_of(metric=metric), Hyperparameters({}), sampled=[], outputs=1)
