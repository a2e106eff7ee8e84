"""`execution.slots: auto`: by GPUs, otherwise by cores; a number is used unchanged."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from scalecore.config.experiment import Experiment
from scalecore.config.load import load_experiment
from scalecore.execution.local.devices import FoundGpus
from scalecore.planning.slots import slots_and_why


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
        ({"slots": 3}, 0, (3, "as set")),
        ({}, 0, (4, "16 cores, 4 threads per trial")),
        ({"threads": 1}, 0, (16, "16 cores, 1 threads per trial")),
        ({"threads": 32}, 0, (1, "16 cores, 32 threads per trial")),
        ({"device": "cuda"}, 3, (3, "one for each of 3 GPUs reported by libcuda.so.1")),
        ({"device": "cuda"}, 1, (1, "one for the GPU reported by libcuda.so.1")),
        ({"device": "cuda", "slots": 4}, 1, (4, "as set")),
        ({"device": "cpu"}, 3, (4, "16 cores, 4 threads per trial")),
        ({"device": "mps"}, 0, (1, "one for the GPU of this Mac")),
    ],
)
def test_how_many_trials_run_at_once(
    tmp_path: Path, settings: dict[str, object], gpus: int, expected: tuple[int, str]
) -> None:
    """Sixteen cores; a trial has four threads unless the file sets them."""
    file = experiment(tmp_path, **settings)  # type: ignore[arg-type]
    found = FoundGpus(names=tuple(f"GPU-{index}" for index in range(gpus)), source="libcuda.so.1")
    assert slots_and_why(file, gpus=found, available=16) == expected


@pytest.mark.parametrize(("build", "device", "slots"), [("cu130", None, 2), ("cpu", None, 4), ("cu130", "cpu", 4)])
def test_gpus_count_only_if_trials_will_use_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, build: str, device: str | None, slots: int
) -> None:
    """Not with a torch build without CUDA, nor in a study that started on the CPU."""
    monkeypatch.setattr("scalecore.planning.slots.torch_build", lambda: build)
    found = FoundGpus(names=("GPU-a", "GPU-b"), source="libcuda.so.1")
    auto = experiment(tmp_path, device="auto")
    assert slots_and_why(auto, device=device, gpus=found, available=16)[0] == slots


@pytest.mark.parametrize(("device", "slots"), [("auto", 4), ("cuda", 2)])
def test_gpus_that_cuda_cannot_use_do_not_count(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, device: str, slots: int
) -> None:
    """With `auto`, trials then train on the CPU, as the plan assumes; with `cuda` they need the GPUs."""
    monkeypatch.setattr("scalecore.planning.slots.torch_build", lambda: "cu130")
    sick = FoundGpus(names=("GPU-a", "GPU-b"), source="libnvidia-ml.so.1", problem="libcuda.so.1: unknown error")
    assert slots_and_why(experiment(tmp_path, device=device), gpus=sick, available=16)[0] == slots


def test_another_word_for_slots_is_refused(tmp_path: Path) -> None:
    """Only a number or `auto`."""
    with pytest.raises(Exception, match=r"execution\.slots"):
        experiment(tmp_path, slots="many")
