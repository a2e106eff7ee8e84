from __future__ import annotations

import copy
import random
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pytest
import torch
from torch import nn

from scalecore.api.training import Diverged
from scalecore_torch.training import checkpoint
from scalecore_torch.training.generators import seed_everything
from scalecore_torch.training.training_loop import TrainingLoop

from .conftest import Failing

Build = Callable[..., TrainingLoop]


class Watcher:
    """A monitor that records the loop's reports, and stops or prunes it at a given step."""

    def __init__(self, *, stop_at: int | None = None, prune_at: int | None = None, folder: Path | None = None) -> None:
        self.steps = 0
        self.lines: list[Mapping[str, Any]] = []
        self.stop_at, self.prune_at, self.folder = stop_at, prune_at, folder

    def step(self, *, epoch: int, step: int, phase: str) -> Literal["go_on", "stop", "prune"]:
        if phase == "train":
            self.steps += 1
            if self.steps - 1 == self.stop_at:
                return "stop"
            if self.steps - 1 == self.prune_at:
                return "prune"
        return "go_on"

    def epoch(self, line: Mapping[str, Any]) -> None:
        self.lines.append(line)

    def checkpoint(self, state: dict[str, Any]) -> None:
        if self.folder is not None:
            checkpoint.save(self.folder, state)


def without_times(curve: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [{key: value for key, value in line.items() if not key.endswith("seconds")} for line in curve]


def plain_net() -> nn.Module:
    return nn.Sequential(nn.Flatten(), nn.Linear(18, 16), nn.LayerNorm(16), nn.GELU(), nn.Linear(16, 1))


def weights(trainer: TrainingLoop) -> list[torch.Tensor]:
    return [tensor.clone() for tensor in trainer.module.state_dict().values()]


def test_an_interrupted_trial_equals_the_uninterrupted_one_bit_for_bit(trainer_of: Build, tmp_path: Path) -> None:
    """Stopped at many random steps, each time rebuilt and resumed: weights, learning curve and best epoch are equal."""
    whole = trainer_of()
    assert whole.run(Watcher()) == "completed"
    generator = random.Random(5)
    trainer, interruptions = trainer_of(), 0
    while trainer.run(Watcher(stop_at=generator.randrange(1, 7), folder=tmp_path)) == "stopped":
        interruptions += 1
        torch.manual_seed(generator.randrange(1000))
        found = checkpoint.load_newest([tmp_path])
        assert found is not None
        trainer = trainer_of()
        trainer.restore(found[0])
    assert interruptions >= 5
    assert all(torch.equal(a, b) for a, b in zip(weights(trainer), weights(whole), strict=True))
    assert without_times(trainer.progress.curve) == without_times(whole.progress.curve)
    assert trainer.best_logits_NC is not None
    assert whole.best_logits_NC is not None
    assert torch.equal(trainer.best_logits_NC, whole.best_logits_NC)


def test_without_the_random_state_the_result_would_differ(trainer_of: Build, tmp_path: Path) -> None:
    """The equality above is not trivial: dropout depends on the random state in a checkpoint."""
    whole = trainer_of()
    whole.run(Watcher())
    first = trainer_of()
    first.run(Watcher(stop_at=4, folder=tmp_path))
    found = checkpoint.load_newest([tmp_path])
    assert found is not None
    second = trainer_of()
    second.restore(found[0])
    torch.manual_seed(99)
    second.run(Watcher())
    assert not all(torch.equal(a, b) for a, b in zip(weights(second), weights(whole), strict=True))


def test_micro_batches_add_up_to_the_whole_batch(trainer_of: Build) -> None:
    """With a short last micro-batch and a short last step, gradients and losses equal those of the whole batch."""
    # Modules are built before the seed is set, so both start from the same weights; without dropout nothing else is
    # random.
    torch.manual_seed(1)
    whole = trainer_of(plain_net(), micro_batch=64)
    torch.manual_seed(1)
    pieces = trainer_of(plain_net(), micro_batch=24)
    whole.run(Watcher())
    pieces.run(Watcher())
    for a, b in zip(weights(whole), weights(pieces), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-3, atol=1e-5)
    for a, b in zip(whole.progress.curve, pieces.progress.curve, strict=True):
        assert a["train_loss"] == pytest.approx(b["train_loss"], rel=1e-5)


def test_the_training_loss_is_the_mean_over_windows(trainer_of: Build) -> None:
    """Windows of a shorter last batch have no larger weight: with a frozen model the loss equals the plain mean."""
    trainer = trainer_of(hyperparameters={"learning_rate": 1e-8, "epochs": 1})
    trainer.module.eval()
    trainer.module.train = lambda mode=True: trainer.module  # type: ignore[assignment,misc]
    expected, _, _ = trainer.evaluate(trainer.train)
    trainer.run(Watcher())
    assert trainer.progress.curve[0]["train_loss"] == pytest.approx(expected, rel=1e-4)


def test_g05_best_and_last_epoch_are_stored_separately(trainer_of: Build) -> None:
    """The value is the best epoch's by default, or the last one's if the objective requires it; both are stored."""
    settings = {"hyperparameters": {"learning_rate": 0.3, "epochs": 8}}
    best, last = trainer_of(**settings), trainer_of(**settings, reduction="last")
    best.run(Watcher())
    last.run(Watcher())
    losses = [line["val_loss"] for line in best.progress.curve]
    assert losses.index(min(losses)) != len(losses) - 1, "this test needs a best epoch that is not the last"
    assert best.value() == min(losses)
    assert last.value() == last.progress.curve[-1]["val_loss"]
    assert best.progress.best is not None
    assert best.progress.best["epoch"] == losses.index(min(losses)) + 1
    assert best.last is not None
    assert best.last["epoch"] == 8


def test_g36_divergence_is_a_state_with_a_reason(trainer_of: Build) -> None:
    """A loss that is not finite raises, naming epoch and step; it never becomes a value."""
    with pytest.raises(Diverged, match="training loss is nan in epoch 1, step 3"):
        trainer_of(Failing(call=3, factor=float("nan"))).run(Watcher())


def test_g36_a_validation_loss_that_is_not_finite_is_a_divergence_too(trainer_of: Build) -> None:
    """If only validation windows have no finite loss."""

    class Unseen(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.weight = nn.Parameter(torch.ones(1))

        def forward(self, x_BTF: torch.Tensor) -> torch.Tensor:
            return self.weight * x_BTF[:, 0, :1] * (1.0 if self.training else float("nan"))

    trainer = trainer_of(Unseen())
    with pytest.raises(Diverged, match="validation loss is nan after epoch 1"):
        trainer.run(Watcher())
    assert (trainer.progress.best, trainer.progress.curve) == (None, [])


def test_early_stopping_counts_epochs_without_improvement(trainer_of: Build) -> None:
    """With an unreachable `min_delta`, the trial ends after the first epoch plus the patience."""
    trainer = trainer_of(patience=2, min_delta=10.0, hyperparameters={"epochs": 20})
    assert trainer.run(Watcher()) == "completed"
    assert len(trainer.progress.curve) == 3


def test_a_pruned_trial_ends_at_the_next_step(trainer_of: Build) -> None:
    """Its value is the last one it reached."""
    watcher = Watcher(prune_at=9)
    trainer = trainer_of()
    assert trainer.run(watcher) == "pruned"
    assert watcher.steps == 10
    assert trainer.value() == trainer.progress.best["val_loss"] if trainer.progress.best else None


def test_every_epoch_is_reported_with_all_its_metrics(trainer_of: Build) -> None:
    """Losses, learning rate, gradient norm, times and the metrics of the task are in each line."""
    watcher = Watcher()
    trainer_of().run(watcher)
    assert [line["epoch"] for line in watcher.lines] == [1, 2, 3, 4]
    expected = {
        "train_loss",
        "val_loss",
        "learning_rate",
        "gradient_norm",
        "clipped_share",
        "train_seconds",
        "auc",
        "f1",
    }
    assert expected | {"accuracy", "precision", "recall", "confusion_matrix", "predictions"} <= set(watcher.lines[0])


def test_a_damaged_checkpoint_falls_back_to_the_one_before(trainer_of: Build, tmp_path: Path) -> None:
    """A truncated, corrupted or unsealed newest checkpoint is skipped and reported; without a valid one the result is
    None."""
    trainer = trainer_of()
    checkpoint.save(tmp_path, trainer.state())
    trainer.optimizer_step()
    checkpoint.save(tmp_path, trainer.state())
    newest = tmp_path / "checkpoint.pt"
    good = newest.read_bytes()
    flipped = bytearray(good)
    flipped[len(good) // 2] ^= 1
    for damaged, why in ((good[:-10], "bytes instead of"), (bytes(flipped), "the checksum does not match")):
        newest.write_bytes(damaged)
        found = checkpoint.load_newest([tmp_path])
        assert found is not None
        state, path, passed = found
        assert path.name == "checkpoint.previous.pt"
        assert state["progress"]["total_steps"] == 0
        assert why in passed[0]
    (tmp_path / "checkpoint.previous.pt").write_bytes(b"nothing")
    assert checkpoint.load_newest([tmp_path]) is None


def test_a_checkpoint_is_loaded_without_executing_code(trainer_of: Build, tmp_path: Path) -> None:
    """A file with pickled code is skipped like a damaged one, and the code does not run."""
    marker = tmp_path / "ran"

    class Evil:
        def __reduce__(self) -> tuple[Any, ...]:
            return (Path.touch, (marker,))

    state = copy.copy(trainer_of().state())
    checkpoint.save(tmp_path, {**state, "evil": Evil()})
    assert checkpoint.load_newest([tmp_path]) is None
    assert not marker.exists()


def test_every_random_generator_is_part_of_a_checkpoint(trainer_of: Build, tmp_path: Path) -> None:
    """A module that uses Python's and numpy's generators resumes as if it had not been interrupted."""

    class Drawing(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.inner = plain_net()

        def forward(self, x_BTF: torch.Tensor) -> torch.Tensor:
            scale = 0.5 + random.random() + float(np.random.random()) if self.training else 1.0
            return scale * self.inner(x_BTF)

    def made() -> TrainingLoop:
        seed_everything(4)
        return trainer_of(Drawing(), hyperparameters={"epochs": 2})

    whole = made()
    whole.run(Watcher())
    first = made()
    first.run(Watcher(stop_at=7, folder=tmp_path))
    second = made()
    seed_everything(99)
    found = checkpoint.load_newest([tmp_path])
    assert found is not None
    second.restore(found[0])
    second.run(Watcher())
    assert without_times(second.progress.curve) == without_times(whole.progress.curve)


def test_checkpoints_are_written_by_epoch_too(trainer_of: Build, tmp_path: Path) -> None:
    """Checkpoints follow every second epoch except the last, even short ones; without the setting only time counts."""

    class Counting(Watcher):
        def checkpoint(self, state: dict[str, Any]) -> None:
            epochs.append(state["progress"]["epoch"] - 1)

    for setting, expected in ((2, [2, 4]), (None, [])):
        epochs: list[int] = []
        trainer_of(hyperparameters={"epochs": 6}, checkpoint_epochs=setting).run(Counting(folder=tmp_path))
        assert epochs == expected
