"""The benchmark of a GPU runs."""

from __future__ import annotations

import importlib
import io
import json
import os
import subprocess
import sys
import weakref
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch
from torch.autograd import DeviceType
from torch.autograd.profiler_util import FunctionEvent

PROGRAM = Path(__file__).parents[2] / "benchmarks" / "gpu.py"


def result_of(folder: Path, device: torch.device, *, seconds: float) -> dict[str, Any]:
    """Run the benchmark on tiny shapes and return its results."""
    command = [sys.executable, str(PROGRAM), "--device", device.type, "--short", "--seconds", str(seconds)]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
    done = subprocess.run(
        [*command, "--json", str(folder / "gpu.json")],
        env=environment,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    result: dict[str, Any] = json.loads((folder / "gpu.json").read_text())
    return result


@pytest.fixture
def program(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """The module of the benchmark."""
    monkeypatch.syspath_prepend(str(PROGRAM.parent))
    return importlib.import_module("gpu")


def test_the_benchmark_measures_or_reports_unmet_goals(tmp_path: Path, device: torch.device) -> None:
    """It measures a step, an evaluation and two packed processes on tiny shapes, and reports each goal."""
    result = result_of(tmp_path, device, seconds=8)
    assert len([note for note in result["notes"] if note.startswith("goal ")]) == 4
    first, *others = result["rows"]
    assert first["ms_a_step"] > 0
    assert first["evaluated/trained"] > 0
    assert 0 < first["MFU_%"] < 100
    assert all(one["windows/s"] or one["note"] for one in others)


def test_the_benchmark_measures_one_cell_even_after_a_slow_start(tmp_path: Path, device: torch.device) -> None:
    """Initialising CUDA may take as long as the time limit of a short benchmark."""
    first, *others = result_of(tmp_path, device, seconds=0)["rows"]
    assert first["ms_a_step"] > 0
    assert {one["note"] for one in others} == {"not reached in --seconds"}


def test_a_packed_process_keeps_no_trainer_of_an_earlier_cell(
    program: ModuleType, prepared: Path, device: torch.device, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two trainers of 2B parameters would occupy the memory of the next cell."""
    made, alive = program.trainer_of, []
    trainers: weakref.WeakSet[Any] = weakref.WeakSet()

    def watched(*args: Any, **kwargs: Any) -> Any:
        alive.append(len(trainers))
        trainer = made(*args, **kwargs)
        trainers.add(trainer)
        return trainer

    monkeypatch.setattr(program, "trainer_of", watched)
    program.prepare_walk(prepared.parent / "walk", rows=2_000)
    asked = json.dumps({"shape": [16, 2, 2, 32], "cell": program.Cell("2M", 8), "seconds": 0.01})
    monkeypatch.setattr(sys, "stdin", io.StringIO(f"{asked}\n{{}}\n" * 2))
    program.work(device, prepared.parent / "walk")
    assert (alive, len(trainers)) == ([0, 0], 0)


def test_marked_ranges_are_not_counted_in_addition_to_their_kernels(program: ModuleType) -> None:
    """torch also marks the step of an optimizer on the GPU."""
    events = [
        FunctionEvent(1, "kernel", 0, 0, 30, device_type=DeviceType.CUDA, use_device="cuda"),
        FunctionEvent(2, "step", 0, 0, 50, device_type=DeviceType.CUDA, use_device="cuda", is_user_annotation=True),
        FunctionEvent(3, "call", 0, 0, 90, device_type=DeviceType.CPU, use_device="cuda"),
    ]
    assert program.kernel_seconds(events) == pytest.approx(30e-6)


def test_goals_can_be_met_with_compiled_blocks(program: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    """With a GPU and a compiler, cells of the goals' size are the first compiled ones."""
    monkeypatch.setattr(program, "missing_compiler", lambda device: None)
    found = program.cells(["2M", "20M", "200M", "2B"], short=False, on_gpu=True)
    assert [one[:2] for one in found if one.compile == "block"][:2] == [("200M", 1024), ("2B", 1024)]
    assert found[-6].compile == "block"
    assert found.index(program.Cell("2M", 256, launches="graph")) == len(program.GOALS)
    monkeypatch.setattr(program, "missing_compiler", lambda device: "no compiler")
    assert not [one for one in program.cells(["2M", "20M"], short=False, on_gpu=True) if one.compile != "off"]
