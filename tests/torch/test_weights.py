"""The weights of the best epoch survive every interruption, and unneeded files are deleted."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Literal

import pytest
import torch

from scalecore.api.errors import DataError
from scalecore_torch.memory.step_trace import LiveStorages
from scalecore_torch.training import checkpoint
from scalecore_torch.training.training_loop import TrainingLoop
from scalecore_torch.training.weights import KeepBest, load_weights, save_weights

from .conftest import Net

SETTINGS: dict[str, Any] = {
    "hyperparameters": {"epochs": 8, "learning_rate": 1e-3},
    # On labels that cannot be learned the loss fluctuates, so that the best epoch changes.
    "metric": "accuracy",
    "direction": "maximize",
}


class StopsAt:
    """A monitor that stops at a step, like a driver; None for never. Checkpoints are real."""

    def __init__(self, folder: Path, stop_at: int | None = None) -> None:
        self.folder, self.stop_at, self.steps = folder, stop_at, 0

    def epoch(self, line: Mapping[str, Any]) -> None: ...

    def checkpoint(self, state: dict[str, Any]) -> None:
        checkpoint.save(self.folder, state)

    def step(self, *, epoch: int, step: int, phase: str) -> Literal["go_on", "stop", "prune"]:
        self.steps += phase == "train"
        return "stop" if self.steps - 1 == self.stop_at else "go_on"


def attempt(trainer: TrainingLoop, root: Path, index: int, *, stop_at: int | None) -> KeepBest:
    """Train in `attempt_INDEX`, resuming from the attempts before."""
    folder = root / f"attempt_{index}"
    folder.mkdir(parents=True)
    earlier = [root / f"attempt_{number}" for number in reversed(range(index))]
    if found := checkpoint.load_newest(earlier):
        trainer.restore(found[0])
    keeper = KeepBest(StopsAt(folder, stop_at), trainer, folder=folder, earlier=earlier)
    assert trainer.run(keeper) == ("completed" if stop_at is None else "stopped")
    return keeper


def loss_with(path: Path | None, trainer: TrainingLoop) -> float:
    assert path is not None
    load_weights(path, trainer.module)
    return trainer.evaluate(trainer.validation)[0]


def test_stored_weights_are_from_the_best_epoch(trainer_of: Callable[..., TrainingLoop], tmp_path: Path) -> None:
    """Interrupted or not, they have the loss of the best epoch, which is not the last one."""
    whole = trainer_of(**SETTINGS)
    kept = attempt(whole, tmp_path / "whole", 0, stop_at=None).path()
    best = whole.progress.best
    assert best is not None
    assert 1 < best["epoch"] < 8
    assert loss_with(kept, whole) == best["val_loss"]

    for index, stop_at in enumerate((3, 11, 9, 20, None)):
        trainer = trainer_of(**SETTINGS)
        keeper = attempt(trainer, tmp_path / "cut", index, stop_at=stop_at)
    again = keeper.path()
    assert again is not None
    assert kept is not None
    assert again.read_bytes() == kept.read_bytes()


def test_g44_only_files_that_a_checkpoint_needs_are_kept(
    trainer_of: Callable[..., TrainingLoop], tmp_path: Path
) -> None:
    """After each checkpoint, the folder contains the best weights at this checkpoint and at the one before, and no
    others."""
    trainer = trainer_of(**SETTINGS)
    seen: list[set[str]] = []

    class EachEpoch(StopsAt):
        def epoch(self, line: Mapping[str, Any]) -> None:
            keeper.checkpoint(trainer.state())
            needed = set()
            for name in ("checkpoint.pt", "checkpoint.previous.pt"):
                if (tmp_path / name).exists():
                    state = torch.load(tmp_path / name, weights_only=True)
                    needed.add(f"best_{state['progress']['best']['epoch']}.safetensors")
            seen.append({path.name for path in tmp_path.glob("best_*")})
            assert seen[-1] >= needed
            assert len(seen) < 2 or seen[-1] == needed

    keeper = KeepBest(EachEpoch(tmp_path), trainer, folder=tmp_path, earlier=())
    trainer.run(keeper)
    assert len(set().union(*seen)) > 2, "there were more best epochs than files at any time"


def test_foreign_weights_are_refused(tmp_path: Path) -> None:
    """A file of another model, or without weights, raises a `DataError` with its path."""
    save_weights(tmp_path / "other.safetensors", torch.nn.Linear(3, 1))
    (tmp_path / "text.safetensors").write_text("no weights")
    for name in ("other", "text", "absent"):
        with pytest.raises(DataError, match=rf"{name}\.safetensors: these are not the weights of the model: "):
            load_weights(tmp_path / f"{name}.safetensors", Net())


def test_weights_are_written_without_a_second_copy(tmp_path: Path) -> None:
    """Only tensors that share memory are copied, and all are restored exactly."""
    with LiveStorages() as live:
        module = torch.nn.Sequential(torch.nn.Linear(64, 64), torch.nn.Linear(64, 64), torch.nn.Linear(64, 64))
        module[1].weight = module[0].weight
        live.begin()
        save_weights(tmp_path / "tied.safetensors", module)
        copied = live.trace().peak - live.trace().resident
    assert copied == 64 * 64 * 4
    other = torch.nn.Sequential(torch.nn.Linear(64, 64), torch.nn.Linear(64, 64), torch.nn.Linear(64, 64))
    load_weights(tmp_path / "tied.safetensors", other)
    for name, tensor in module.state_dict().items():
        assert torch.equal(other.state_dict()[name], tensor)
