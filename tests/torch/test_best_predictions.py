from __future__ import annotations

import random
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pytest
import torch

from scalecore.data.predictions import read_predictions
from scalecore_torch.training import checkpoint
from scalecore_torch.training.best_predictions import best_predictions, write_best
from scalecore_torch.training.training_loop import TrainingLoop

Build = Callable[..., TrainingLoop]


class Watcher:
    """Stops the loop at a given step, with a checkpoint."""

    def __init__(self, *, stop_at: int | None = None, folder: Path | None = None) -> None:
        self.left, self.folder = stop_at, folder

    def step(self, *, epoch: int, step: int, phase: str) -> Literal["go_on", "stop", "prune"]:
        if self.left is None or phase != "train":
            return "go_on"
        self.left -= 1
        return "stop" if self.left < 0 else "go_on"

    def epoch(self, line: Mapping[str, Any]) -> None:
        pass

    def checkpoint(self, state: dict[str, Any]) -> None:
        if self.folder is not None:
            checkpoint.save(self.folder, state)


SETTINGS: dict[str, Any] = {"hyperparameters": {"learning_rate": 0.3, "epochs": 8}}


def test_stored_logits_are_from_the_best_epoch_also_after_interruptions(
    trainer_of: Build, prepared: Path, tmp_path: Path
) -> None:
    """A trial resumed many times stores the same file as an uninterrupted one, from its best epoch, not its last.

    The mean of the losses in the file is the best epoch's validation loss.
    """
    whole = trainer_of(**SETTINGS)
    whole.run(Watcher())
    generator, trainer = random.Random(3), trainer_of(**SETTINGS)
    while trainer.run(Watcher(stop_at=generator.randrange(1, 9), folder=tmp_path)) == "stopped":
        found = checkpoint.load_newest([tmp_path])
        assert found is not None
        trainer = trainer_of(**SETTINGS)
        trainer.restore(found[0])
    kept = [write_best(one, prepared, tmp_path / f"{name}.npz") for name, one in (("a", whole), ("b", trainer))]
    assert kept[0] is not None
    assert kept[0] == kept[1]
    assert whole.progress.best is not None
    assert kept[0]["epoch"] == whole.progress.best["epoch"] < 8, "this test needs a best epoch that is not the last"
    predictions = read_predictions(tmp_path / "a.npz")
    assert predictions.losses().mean() == pytest.approx(whole.progress.best["val_loss"], rel=1e-6)
    times, rows = np.load(prepared / "times.npy"), np.load(prepared / "val.npy")
    np.testing.assert_array_equal(predictions.times, times[rows])
    np.testing.assert_array_equal(predictions.labels, np.load(prepared / "labels.npy")[rows])


def test_logits_of_another_epoch_are_never_stored(trainer_of: Build, prepared: Path, tmp_path: Path) -> None:
    """Logits with another loss than the best epoch's raise an error and nothing is written; before the first epoch
    there are none."""
    trainer = trainer_of(**SETTINGS)
    assert write_best(trainer, prepared, tmp_path / "a.npz") is None
    trainer.run(Watcher())
    assert trainer.best_logits_NC is not None
    trainer.best_logits_NC = torch.zeros_like(trainer.best_logits_NC)
    with pytest.raises(RuntimeError, match="the logits kept for epoch"):
        best_predictions(trainer, prepared)
    assert list(tmp_path.iterdir()) == []
