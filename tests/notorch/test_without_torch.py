"""The core without torch: commands work, or name the missing package.

The tests run in an environment with only scalecore and scalecore-hwmon, and are skipped in others.
"""

from __future__ import annotations

import importlib.metadata
import importlib.util
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

STUDY = Path(__file__).parents[1] / "old" / "v0_1" / "studies" / "classification"
MODEL = """
from scalecore import hookimpl
from scalecore.api.components import ModelRecord
from scalecore.api.space import ArchitectureSpace, Hyperparameter


class Stack:
    def hyperparameters(self):
        return [Hyperparameter(name="dropout", default=0.1, low=0.0, high=0.9, help="Share of dropped units.")]

    def architecture_space(self, data):
        shapes = tuple({"width": width, "depth": depth} for width in (8, 16) for depth in (1, 2, 3))
        return ArchitectureSpace(dimensions={"width": (8, 16), "depth": (1, 2, 3)}, architectures=shapes)

    def num_parameters(self, architecture, data):
        return architecture["width"] * (data.context * data.features + architecture["width"] * architecture["depth"])

    def flops(self, architecture, data):
        return 2 * self.num_parameters(architecture, data)

    def saved_activations(self, architecture, data):
        return architecture["width"] * architecture["depth"]

    def build(self, architecture, hyperparameters, data):
        raise NotImplementedError


@hookimpl
def scalecore_models():
    return [ModelRecord(name="stack", summary="A stack of layers.", factory=lambda options: Stack())]
"""
EXPERIMENT = """
name: walk
plugins: [model.py]
dataset: {use: parquet, path: walk.csv, features: [Close, Volume], target: {kind: direction}, context: 8}
model: stack
search: {use: random, trials: 4, space: {dropout: {uniform: [0.0, 0.5]}, learning_rate: {log_uniform: [1e-4, 1e-2]}}}
training: {effective_batch: 64, hyperparameters: {epochs: 2}}
monitors: [memory, disk]
"""
MISSING = "trainer 'torch' is not installed; `pip install scalecore-torch` provides it"

pytestmark = pytest.mark.skipif(
    os.environ.get("SCALECORE_ALONE") != "notorch", reason="only in the tox environment `notorch`"
)


def scalecore(*arguments: str, folder: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "scalecore", *arguments]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """An experiment with a model in a file, whose sizes have closed forms."""
    from scalecore.testing.fakes import write_walk

    write_walk(tmp_path)
    (tmp_path / "model.py").write_text(MODEL)
    (tmp_path / "experiment.yaml").write_text(EXPERIMENT)
    return tmp_path


def test_no_dependency_installs_torch() -> None:
    """Neither the core nor the monitors depend on it, directly or indirectly."""
    assert importlib.util.find_spec("torch") is None
    names = {dist.name for dist in importlib.metadata.distributions() if dist.name.startswith("scalecore")}
    assert names == {"scalecore", "scalecore-hwmon"}


def test_plugins_lists_both_distributions(tmp_path: Path) -> None:
    """Both distributions have the status ok."""
    done = scalecore("plugins", "--json", folder=tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    status = {one["distribution"]: one["status"] for one in json.loads(done.stdout)}
    assert status == {"scalecore": "ok", "scalecore-hwmon": "ok"}


def test_check_reports_mistakes_and_the_missing_trainer(folder: Path) -> None:
    """Without its trainer a valid file has the exit code of a missing plugin; other mistakes are reported too."""
    done = scalecore("check", "experiment.yaml", folder=folder)
    assert (done.returncode, done.stdout) == (3, "")
    assert done.stderr == f"experiment.yaml:7:1: training: {MISSING}\n"
    done = scalecore("check", "experiment.yaml", "search.trials=0", folder=folder)
    assert (done.returncode, done.stdout) == (2, "")
    assert "<command line>: search.trials=0: must be at least 1, got 0\n" in done.stderr
    assert f"training: {MISSING}\n" in done.stderr


def test_plan_shows_data_and_shapes(folder: Path) -> None:
    """It shows splits, baselines and sizes of shapes; memory is unknown, the last line names the package."""
    done = scalecore("plan", "experiment.yaml", folder=folder)
    assert done.returncode == 3
    assert done.stderr == f"experiment.yaml:7:1: training: {MISSING}\n"
    assert "Architectures: 6 feasible of 6 legal\n" in done.stdout
    assert "baselines to beat, validation loss with 95 % interval:\n" in done.stdout
    assert "Predicted memory of a trial: unknown without the trainer\n" in done.stdout
    assert " 0 B" not in done.stdout
    assert f"refuse trainer: {MISSING}\n" in done.stdout.replace("  ", " ")
    assert not (folder / "studies").exists()


def test_run_ends_before_anything_is_written(folder: Path) -> None:
    """It prints one message, with the exit code of a missing plugin."""
    done = scalecore("run", "experiment.yaml", folder=folder)
    assert (done.returncode, done.stderr) == (3, f"experiment.yaml:7:1: training: {MISSING}\n")
    assert not (folder / "studies" / "walk" / "journal.jsonl").exists()


def test_a_study_of_the_trainer_function_runs(folder: Path) -> None:
    """It is planned, completes and passes `verify` without torch."""
    from scalecore.testing.function_files import MODEL as FLAT
    from scalecore.testing.function_files import TRAIN

    (folder / "model.py").write_text(FLAT)
    (folder / "train.py").write_text(TRAIN)
    changes = (
        "training={use: function, target: ./train.py:train, threads: 1, hyperparameters: {epochs: 3}}",
        "model=flat",
        "search.space={learning_rate: {log_uniform: [1e-2, 1.0]}}",
    )
    for command in ("check", "plan", "run"):
        done = scalecore(command, "experiment.yaml", *changes, folder=folder)
        assert done.returncode == 0, done.stdout + done.stderr
    done = scalecore("status", "studies/walk", folder=folder)
    assert done.stdout.startswith("walk: completed; 4 of 4 trials finished")
    done = scalecore("verify", "studies/walk", folder=folder)
    assert done.returncode == 0, done.stdout + done.stderr


def test_a_study_can_be_read(tmp_path: Path) -> None:
    """`status` and `verify` need no plugin of the study."""
    shutil.copytree(STUDY, tmp_path / "study")
    done = scalecore("status", "study", folder=tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("classification: stopped; 8 of 11 trials finished")
    done = scalecore("verify", "study", folder=tmp_path)
    assert done.stderr == ""
    assert "ok     journal" in done.stdout


@pytest.mark.parametrize(
    ("command", "package"), [("report", "analysis"), ("confirm", "analysis"), ("evaluate", "promotion")]
)
def test_a_command_of_another_package_names_it(command: str, package: str, tmp_path: Path) -> None:
    """Exit code 3, with the package to install."""
    done = scalecore(command, "study", folder=tmp_path)
    assert (done.returncode, done.stdout) == (3, "")
    text = f"the command '{command}' is not installed; `pip install scalecore-{package}` provides it\n"
    assert done.stderr == text
