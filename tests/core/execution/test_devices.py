"""One GPU for each slot: which one an attempt may see."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from scalecore.execution.devices import GpuSlots, visible_gpus
from scalecore.execution.folder import AttemptFolder
from scalecore.execution.local import LocalExecutor
from scalecore.execution.options import LocalOptions

from .conftest import pid_of


def test_gpus_are_those_that_cuda_names_or_that_the_driver_has(tmp_path: Path) -> None:
    """The user's choice holds; without a driver there are none."""
    assert visible_gpus({"CUDA_VISIBLE_DEVICES": "2, GPU-5ebe9fd0"}) == ["2", "GPU-5ebe9fd0"]
    assert visible_gpus({"CUDA_VISIBLE_DEVICES": ""}) == visible_gpus({"CUDA_VISIBLE_DEVICES": "-1"}) == []
    assert visible_gpus({}, root=tmp_path) == []
    for name in ("0000:01:00.0", "0000:41:00.0"):
        (tmp_path / "proc/driver/nvidia/gpus" / name).mkdir(parents=True)
    assert visible_gpus({}, root=tmp_path) == ["0", "1"]


def test_every_slot_has_a_gpu_of_its_own() -> None:
    """The least used one; with more slots than GPUs they are shared evenly; one GPU leaves no choice."""
    slots = GpuSlots(["0", "1"])
    assert [slots.take() for _ in range(4)] == ["0", "1", "0", "1"]
    slots.give_back("1")
    assert slots.take() == "1"
    assert GpuSlots(["0"]).take() is None


def test_an_attempt_sees_its_gpu_only(
    attempt: Callable[..., AttemptFolder], start: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two attempts of one executor are told two GPUs, before CUDA could start."""
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "3,5")
    executor = LocalExecutor(LocalOptions(start=start))  # type: ignore[arg-type]
    try:
        folders = [attempt(name, device="cpu", epochs=1_000_000) for name in ("a", "b")]
        for folder in folders:
            executor.submit(folder.path)
        for folder in folders:
            pid_of(folder)
        assert [json.loads(folder.process.read_text())["visible_gpus"] for folder in folders] == ["3", "5"]
    finally:
        executor.close()
    assert os.environ["CUDA_VISIBLE_DEVICES"] == "3,5"
