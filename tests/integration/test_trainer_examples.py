"""The examples of `examples/function-trainer/`: studies with them, and the contract of trainers."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from types import MappingProxyType

import pytest

from scalecore.testing import PluginFileContract, TrainerContract

from .conftest import ROOT

EXAMPLE = ROOT / "examples" / "function-trainer"


def training(function: str) -> dict[str, object]:
    """The section `training` with a function of the examples, for two epochs."""
    target = f"{EXAMPLE / function}:train"
    return {"use": "function", "target": target, "threads": 1, "hyperparameters": {"epochs": 2}}


class TestScikitLearn(TrainerContract):
    """A scikit-learn model, pickled into checkpoints."""

    experiment = MappingProxyType(
        {"plugins": [str(EXAMPLE / "mlp.py")], "model": "sklearn-mlp", "training": training("train.py")}
    )


class TestPlainLoop(TrainerContract):
    """A user's PyTorch loop, with optimizer and random state in checkpoints."""

    experiment = MappingProxyType(
        {
            "training": {
                **training("train_torch.py"),
                "hyperparameters": {"epochs": 2, "noise": 0.1},
            }
        }
    )
    diverging = MappingProxyType({"learning_rate": 1e36, "epochs": 5})


class TestMlp(PluginFileContract):
    """The plugin of the example."""

    file = str(EXAMPLE / "mlp.py")


@pytest.mark.parametrize(("name", "trials"), [("sklearn", 6), ("torch", 4)])
def test_the_example_runs(tmp_path: Path, name: str, trials: int) -> None:
    """It stays within its budget, stores predictions and a report, and `verify` finds nothing wrong."""
    study = tmp_path / "study"
    commands = ["run", str(EXAMPLE / f"{name}.yaml"), f"output={study}"], ["verify", str(study)], ["report", str(study)]
    for arguments in commands:
        command = [sys.executable, "-m", "scalecore", *arguments]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr
    records = [json.loads(one.read_text()) for one in (study / "trials").glob("*.json")]
    assert [one["state"] for one in records] == ["completed"] * trials
    assert all(one["user_attrs"]["predictions"] for one in records)
    if name == "sklearn":
        assert all(300 <= one["architecture"]["param_count"] <= 1700 for one in records)
