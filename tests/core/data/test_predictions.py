from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from scalecore.api.errors import DataError, RefusedError
from scalecore.data.intervals import mean_interval
from scalecore.data.predictions import Predictions, common_windows, read_predictions, write_predictions
from scalecore_torch.training.tasks import task_named


def predictions(task: str = "binary", *, start: int = 0, windows: int = 60, **about: Any) -> Predictions:
    """Windows of consecutive days from day `start` on."""
    generator = np.random.default_rng(start)
    outputs = 3 if task == "multiclass" else 1
    labels = {
        "binary": generator.integers(0, 2, windows),
        "multiclass": generator.integers(0, 3, windows),
        "forecast": generator.normal(size=windows),
    }[task]
    return Predictions(
        outputs=generator.normal(size=(windows, outputs)).astype(np.float32),
        labels=labels.astype(np.float32),
        times=np.datetime64("2001-01-01", "ns") + np.arange(start, start + windows).astype("timedelta64[D]"),
        rows=np.arange(start, start + windows),
        about={"part": "val", "epoch": 3, "task": task, "target": "t", "horizon": 1, "point": 0, **about},
    )


def test_predictions_are_read_back_without_pickles(tmp_path: Path) -> None:
    """All arrays and their description; equal content has equal bytes."""
    kept = predictions()
    digest = write_predictions(tmp_path / "one.npz", kept)
    assert write_predictions(tmp_path / "two.npz", kept) == digest
    found = read_predictions(tmp_path / "one.npz")
    for name in ("outputs", "labels", "times", "rows"):
        np.testing.assert_array_equal(getattr(found, name), getattr(kept, name))
        assert getattr(found, name).dtype == getattr(kept, name).dtype
    assert found.about == kept.about
    assert sorted(path.name for path in tmp_path.iterdir()) == ["one.npz", "two.npz"]


@pytest.mark.parametrize("damage", ["cut", "flipped", "other", "pickled", "missing"])
def test_a_damaged_file_is_refused(tmp_path: Path, damage: str) -> None:
    """Truncated, changed, of another type, with pickled objects or missing: an error names the file."""
    path = tmp_path / "trial_0001.npz"
    write_predictions(path, predictions())
    content = path.read_bytes()
    if damage == "pickled":
        stream = io.BytesIO()
        np.savez(stream, about=np.array({"epoch": 3}, dtype=object))
        content = stream.getvalue()
    half = len(content) // 2
    path.write_bytes(
        {
            "cut": content[:half],
            "flipped": content[:half] + bytes([content[half] ^ 255]) + content[half + 1 :],
            "other": b"nothing",
        }.get(damage, content)
    )
    if damage == "missing":
        path.unlink()
    with pytest.raises(DataError, match=r"trial_0001\.npz: (the predictions are damaged|no such file of predictions)"):
        read_predictions(path)


@pytest.mark.parametrize("task", ["binary", "multiclass", "forecast"])
def test_the_mean_of_losses_is_val_loss(task: str) -> None:
    """The numpy losses per window equal those of the trainer, for each task."""
    kept = predictions(task)
    expected = task_named(task).losses(torch.from_numpy(kept.outputs).double(), torch.from_numpy(kept.labels).double())
    np.testing.assert_allclose(kept.losses(), expected.numpy(), rtol=1e-6)


def test_windows_of_two_studies_are_paired_by_time() -> None:
    """Overlapping parts share the windows of equal times, which a comparison uses."""
    first, second = predictions(), predictions(start=20)
    ours, theirs = common_windows(first, second)
    assert len(ours) == 40
    np.testing.assert_array_equal(first.times[ours], second.times[theirs])
    assert mean_interval(first.losses()[ours] - second.losses()[theirs], overlap=1) is not None


def test_g07_predictions_of_two_targets_are_not_paired() -> None:
    """Another definition of the label is refused; another part of the data is an error."""
    with pytest.raises(RefusedError, match="predictions of two targets cannot be paired: target t and u"):
        common_windows(predictions(), predictions(target="u"))
    with pytest.raises(DataError, match="predictions of val and of test windows cannot be paired"):
        common_windows(predictions(), predictions(part="test"))
