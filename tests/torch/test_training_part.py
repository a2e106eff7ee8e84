"""The training part is measured at the best epoch without dropout, once, and also after interruptions."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Literal

import pytest
import torch
from sklearn.metrics import roc_auc_score
from torch.nn import functional

from scalecore_torch.attempt import fingerprint
from scalecore_torch.training import checkpoint
from scalecore_torch.training.training_loop import TrainingLoop
from scalecore_torch.training.training_part import measure_training_part
from scalecore_torch.training.weights import KeepBest, load_weights

from .conftest import Net

Build = Callable[..., TrainingLoop]
SETTINGS: dict[str, Any] = {
    "hyperparameters": {"epochs": 8, "learning_rate": 1e-3},
    # On labels that cannot be learned the loss fluctuates, so that the best epoch is not the last.
    "metric": "accuracy",
    "direction": "maximize",
}


class Monitor:
    """Stops before a step of the training or of the measurement; checkpoints are real."""

    def __init__(self, folder: Path, *, stop_at: int | None = None, phase: str = "train") -> None:
        self.folder, self.stop_at, self.phase = folder, stop_at, phase
        self.trained = 0
        self.places: list[tuple[int, int]] = []

    def step(self, *, epoch: int, step: int, phase: str) -> Literal["go_on", "stop", "prune"]:
        self.trained += phase == "train"
        if phase == "evaluate":
            self.places.append((epoch, step))
        return "stop" if phase == self.phase and step == self.stop_at else "go_on"

    def epoch(self, line: Mapping[str, Any]) -> None:
        self.stop_at = self.stop_at if self.phase == "train" or line["epoch"] == 8 else None

    def checkpoint(self, state: dict[str, Any]) -> None:
        checkpoint.save(self.folder, state)


def attempt(trainer: TrainingLoop, root: Path, index: int, *, stop_in_measurement: int | None = None) -> Any:
    """Train in `attempt_INDEX` to the end, resuming from the attempts before, and measure.

    Returns the measurement, the fingerprint of the final weights, and the monitor.
    """
    folder = root / f"attempt_{index}"
    folder.mkdir(parents=True)
    earlier = [root / f"attempt_{number}" for number in reversed(range(index))]
    if found := checkpoint.load_newest(earlier):
        trainer.restore(found[0])
    monitor = Monitor(folder)
    keeper = KeepBest(monitor, trainer, folder=folder, earlier=earlier)
    assert trainer.run(keeper) == "completed"
    weights = trainer.final_weights or fingerprint(trainer.module)
    monitor.stop_at, monitor.phase, monitor.places = stop_in_measurement, "evaluate", []
    path = keeper.path()
    assert path is not None
    return measure_training_part(trainer, keeper, best_weights=path, fingerprint=weights), weights, monitor


def test_the_best_weights_are_measured_without_dropout(trainer_of: Build, tmp_path: Path) -> None:
    """Loss and AUC are those of the stored weights of the best epoch on all training windows, in evaluation mode."""
    trainer = trainer_of(**SETTINGS)
    found, weights, _ = attempt(trainer, tmp_path, 0)
    best = trainer.progress.best
    assert best is not None
    assert found.epoch == best["epoch"] < 8
    assert weights != fingerprint(trainer.module), "the final weights are others"
    module = Net()
    load_weights(tmp_path / "attempt_0" / f"best_{best['epoch']}.safetensors", module)
    x_NTF, y_N = trainer.train.batch(torch.arange(len(trainer.train)))
    with torch.no_grad():
        logits_N = module.eval()(x_NTF)[:, 0]
    assert found.windows == len(y_N)
    assert found.loss == pytest.approx(float(functional.binary_cross_entropy_with_logits(logits_N, y_N)), rel=1e-5)
    assert found.metrics["auc"] == pytest.approx(roc_auc_score(y_N.numpy(), logits_N.numpy()), rel=1e-6)
    assert sum(found.confusion_matrix.values()) == len(y_N)
    assert found.loss != pytest.approx(best["train_loss"], rel=1e-3), "the learning curve has the loss with dropout"


def test_a_measurement_that_was_stopped_is_repeated_without_training(trainer_of: Build, tmp_path: Path) -> None:
    """The next attempt has the same results and the fingerprint of the same final weights, and makes no step."""
    whole, weights, _ = attempt(trainer_of(**SETTINGS), tmp_path / "whole", 0)
    stopped, _, monitor = attempt(trainer_of(**SETTINGS), tmp_path / "cut", 0, stop_in_measurement=1)
    assert stopped is None
    assert monitor.places == [(8, 0), (8, 1)]
    again, weights_again, monitor = attempt(trainer_of(**SETTINGS), tmp_path / "cut", 1)
    assert (again, weights_again) == (whole, weights)
    assert monitor.trained == 0


def test_a_prune_request_after_the_last_epoch_changes_nothing(trainer_of: Build, tmp_path: Path) -> None:
    """The trial has completed: its record does not depend on when the strategy's answer arrives."""
    trainer = trainer_of(**SETTINGS)

    class Late(Monitor):
        def step(self, *, epoch: int, step: int, phase: str) -> Literal["go_on", "stop", "prune"]:
            return "go_on"

    monitor = Late(tmp_path)
    keeper = KeepBest(monitor, trainer, folder=tmp_path, earlier=())
    trainer.run(keeper)
    monitor.step = lambda **_: "prune"  # type: ignore[method-assign]
    path = keeper.path()
    assert path is not None
    assert measure_training_part(trainer, keeper, best_weights=path, fingerprint="") is not None


def test_it_needs_no_more_memory_than_validation(trainer_of: Build, tmp_path: Path) -> None:
    """No pass has more windows than the largest pass over the validation windows, and no gradients are left."""
    trainer = trainer_of(**SETTINGS)
    sizes: list[int] = []
    trainer.module.register_forward_pre_hook(lambda module, given: sizes.append(len(given[0])))
    validation = len(trainer.validation)
    assert validation < 512 < len(trainer.train) + validation
    attempt(trainer, tmp_path, 0)
    assert max(sizes) == validation
    assert all(parameter.grad is None for parameter in trainer.module.parameters())


def test_the_training_loss_has_its_own_name(trainer_of: Build, tmp_path: Path) -> None:
    """With another training loss than the task's own, the minimised loss without dropout is `training_loss`."""
    found, _, _ = attempt(trainer_of(**SETTINGS, loss={"kind": "bce", "label_smoothing": 0.2}), tmp_path, 0)
    assert "val_training_loss" not in found.metrics
    assert found.metrics["training_loss"] != found.loss
