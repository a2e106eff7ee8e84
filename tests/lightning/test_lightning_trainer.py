"""The example for Lightning: a study with it, and the contract of trainers."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from types import MappingProxyType

import pytest

from scalecore.testing import TrainerContract

pytest.importorskip("lightning", reason="needs the tox environment `lightning`")

EXAMPLE = Path(__file__).parents[2] / "examples" / "lightning-trainer"


class TestLightning(TrainerContract):
    """Stopped and continued with Lightning's checkpoints."""

    experiment = MappingProxyType(
        {
            "training": {
                "use": "function",
                "target": f"{EXAMPLE / 'train.py'}:train",
                "threads": 1,
                "hyperparameters": {"epochs": 2},
            }
        }
    )
    diverging = MappingProxyType({"learning_rate": 1e37, "epochs": 5})


def test_the_example_runs(tmp_path: Path) -> None:
    """Each trial has a value, and each epoch a training loss."""
    command = [
        sys.executable,
        "-m",
        "scalecore",
        "run",
        str(EXAMPLE / "experiment.yaml"),
        f"output={tmp_path / 'study'}",
    ]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    records = [json.loads(one.read_text()) for one in (tmp_path / "study" / "trials").glob("*.json")]
    assert [one["state"] for one in records] == ["completed"] * 3
    for record in records:
        curve = record["user_attrs"]["learning_curve"]
        assert len(curve) == 4
        assert all(line["train_loss"] > 0 for line in curve)
