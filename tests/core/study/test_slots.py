"""`execution.slots: auto`: by GPUs, else by cores; a number is taken as it is."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from scalecore.config.experiment import Experiment
from scalecore.config.load import load_experiment
from scalecore.study.slots import slots_and_why


def experiment(folder: Path, *, slots: object = "auto", device: str = "cpu", threads: object = "auto") -> Experiment:
    content = {
        "name": "walk",
        "dataset": {"use": "parquet"},
        "model": "linear",
        "search": {"use": "random"},
        "training": {"device": device, "threads": threads},
        "execution": {"slots": slots},
    }
    (folder / "experiment.yaml").write_text(yaml.safe_dump(content))
    return load_experiment(folder / "experiment.yaml").experiment


@pytest.mark.parametrize(
    ("settings", "gpus", "expected"),
    [
        ({"slots": 3}, "", (3, "as set")),
        ({}, "", (4, "16 cores, 4 threads a trial")),
        ({"threads": 1}, "", (16, "16 cores, 1 threads a trial")),
        ({"threads": 32}, "", (1, "16 cores, 32 threads a trial")),
        ({"device": "cuda"}, "0,1,2", (3, "one for each of 3 GPUs")),
        ({"device": "cpu"}, "0,1,2", (4, "16 cores, 4 threads a trial")),
        ({"device": "mps"}, "", (1, "one for the GPU of this Mac")),
    ],
)
def test_how_many_trials_run_at_once(
    tmp_path: Path, settings: dict[str, object], gpus: str, expected: tuple[int, str]
) -> None:
    """Sixteen cores; a trial has four threads of them where the file does not say."""
    found = experiment(tmp_path, **settings)  # type: ignore[arg-type]
    assert slots_and_why(found, environment={"CUDA_VISIBLE_DEVICES": gpus}, available=16) == expected


def test_another_word_for_slots_is_refused(tmp_path: Path) -> None:
    """Only a number or `auto`."""
    with pytest.raises(Exception, match=r"execution\.slots"):
        experiment(tmp_path, slots="many")
