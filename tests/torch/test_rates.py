"""Objectives that are rates over windows chosen by the model."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from scalecore_torch.training.intervals import metric_intervals
from scalecore_torch.training.tasks import task_named
from scalecore_torch.training.training_loop import TrainingLoop

MAXIMIZE = {"metric": "precision", "direction": "maximize"}


class Scripted(nn.Module):
    """A model that in epoch n predicts `script[n]` windows as positive, starting with the first positive one."""

    def __init__(self, *script: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(1))
        self.script, self.first = list(script), 0

    def forward(self, x_BTF: torch.Tensor) -> torch.Tensor:
        logits_B = 0.0 * self.weight - torch.ones(len(x_BTF))
        if not self.training:
            logits_B = logits_B.detach()
            logits_B[self.first : self.first + self.script.pop(0)] = 1.0
        return logits_B[:, None]


class Silent:
    """A monitor that never interferes, and records the learning curve."""

    def __init__(self) -> None:
        self.lines: list[dict[str, Any]] = []

    def step(self, **_: Any) -> str:
        return "go_on"

    def epoch(self, line: Any) -> None:
        self.lines.append(line)

    def checkpoint(self, state: Any) -> None: ...


@pytest.fixture
def trained(trainer_of: Callable[..., TrainingLoop]) -> Callable[..., TrainingLoop]:
    def train(*script: int, **plan: Any) -> TrainingLoop:
        epochs = {"epochs": len(script)}
        module = Scripted(*script)
        trainer = trainer_of(module, hyperparameters=epochs, **MAXIMIZE, **plan)
        module.first = int(trainer.validation.labels.argmax())
        assert trainer.run(Silent()) == "completed"  # type: ignore[arg-type]
        return trainer

    return train


def test_g19_an_epoch_without_positive_predictions_is_the_worst_and_no_failure(
    trained: Callable[..., TrainingLoop],
) -> None:
    """Its precision is null in the learning curve; another epoch is the best one, in every order."""
    trainer = trained(0, 40, 0)
    assert [line["precision"] is None for line in trainer.progress.curve] == [True, False, True]
    assert trainer.progress.best is not None
    assert trainer.progress.best["epoch"] == 2
    assert trainer.value() == trainer.progress.curve[1]["precision"]


def test_g19_a_trial_without_positive_predictions_has_the_worst_value(trained: Callable[..., TrainingLoop]) -> None:
    """For the best and for the last epoch it is 0, the lowest precision."""
    assert trained(0, 0).value() == 0.0
    assert trained(40, 0, reduction="last").value() == 0.0


def test_g19_early_stopping_sees_no_improvement_in_such_epochs(trained: Callable[..., TrainingLoop]) -> None:
    """Later epochs need not beat a precision over one window."""
    trainer = trained(1, 40, 60, 50, patience=2, min_denominator=20)
    assert trainer.progress.curve[0]["precision"] == 1.0
    assert len(trainer.progress.curve) == 4
    assert trained(0, 0, 0, 40, patience=2).progress.epoch == 4


def test_g19_the_best_epoch_has_enough_windows_if_one_has(trained: Callable[..., TrainingLoop]) -> None:
    """Version 0.1, without a minimum number, chose the epoch with one lucky window."""
    for script, least, epoch in (((40, 1), 20, 1), ((1, 40), 20, 2), ((1, 2), 20, 1), ((40, 1), 0, 2)):
        trainer = trained(*script, min_denominator=least)
        assert trainer.progress.best is not None
        assert trainer.progress.best["epoch"] == epoch, (script, least)


@pytest.mark.parametrize(("windows", "low", "high"), [(1, 0.2, 1.0), (5, 0.56, 1.0), (19, 0.83, 1.0)])
def test_g19_the_interval_of_few_windows_is_wide(windows: int, low: float, high: float) -> None:
    """All of them are hits; resampling alone would return 1.0 to 1.0, or nothing."""
    labels = np.zeros(400)
    labels[::4] = 1.0
    outputs = np.full((400, 1), -1.0)
    outputs[::4][:windows] = 1.0
    task, outputs_NC, labels_N = task_named("binary"), torch.from_numpy(outputs), torch.from_numpy(labels)
    assert task.metrics(outputs_NC, labels_N)["precision"] == 1.0
    found = metric_intervals(task, outputs_NC, labels_N, overlap=1)[0]["precision"]
    assert (found["denominator"], found["high"]) == (windows, high)
    assert found["low"] == pytest.approx(low, abs=0.01)
    # Overlapping labels reduce the number of independent windows.
    wider = metric_intervals(task, outputs_NC, labels_N, overlap=5)[0]["precision"]
    assert wider["low"] < found["low"]


def test_g19_a_share_of_all_windows_has_an_interval_of_some_width() -> None:
    """Also if every window is correct, such as the signs of a target far from 0."""
    outputs_NC, labels_N = torch.full((300, 1), 50.0), torch.linspace(40, 60, 300)
    found = metric_intervals(task_named("forecast"), outputs_NC, labels_N, overlap=1)[0]["sign_accuracy"]
    assert found["low"] == pytest.approx(0.987, abs=1e-3)
    assert (found["high"], found["denominator"]) == (1.0, 300)
