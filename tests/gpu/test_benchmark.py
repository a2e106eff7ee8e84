"""The benchmark of a GPU is a program that runs."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import torch

PROGRAM = Path(__file__).parents[2] / "benchmarks" / "gpu.py"


def test_the_benchmark_measures_or_says_what_it_did_not_reach(tmp_path: Path, device: torch.device) -> None:
    """A step of the trainer, an evaluation and two packed processes, on tiny shapes; a verdict for each goal."""
    command = [sys.executable, str(PROGRAM), "--device", device.type, "--short", "--seconds", "8"]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
    done = subprocess.run(
        [*command, "--json", str(tmp_path / "gpu.json")],
        env=environment,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    result = json.loads((tmp_path / "gpu.json").read_text())
    assert len([note for note in result["notes"] if note.startswith("goal ")]) == 4
    first, *others = result["rows"]
    assert first["ms_a_step"] > 0
    assert first["evaluated/trained"] > 0
    assert 0 < first["MFU_%"] < 100
    assert all(one["windows/s"] or one["note"] for one in others)
