"""The output of `scalecore new` passes its own tests, is clean, and works in a study, as files and as packages."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import tomllib
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import pytest

from scalecore.scaffold.names import PLUGIN_KINDS, Names
from scalecore.scaffold.plugin_files import package_files

from .conftest import Environment

EXPERIMENT = """\
name: try
plugins: [./my_model.py, my_dataset.py, my_strategy.py, my_logger.py, my_monitor.py, my_executor.py, my_analysis.py]
dataset: {use: my-dataset, file: prices.csv, context: 8}
model: {use: my-model, width: [4, 8, 16], depth: [1, 2]}
search:
  use: my-strategy
  explore: 0
  trials: 3
  space: {learning_rate: {log_uniform: [1e-3, 1e-2]}, dropout: {uniform: [0, 0.3]}}
training: {effective_batch: 64, threads: 1, hyperparameters: {epochs: 2, warmup_steps: 5}}
execution: {use: my-executor, prefix: [nice, -n, "5"]}
monitors: [{use: my-monitor, pause_above: 1000, interval: 0.2}]
loggers: [console, files, my-logger]
analyses: [{use: my-analysis, at_least: 1}]
"""


@pytest.fixture(scope="session")
def written(environment: Environment, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a plugin file of each kind and its test, an experiment that uses all of them, and its prices."""
    folder = tmp_path_factory.mktemp("written")
    for kind in PLUGIN_KINDS:
        done = environment.run("scalecore", "new", kind, folder=folder)
        assert (done.returncode, done.stderr) == (0, "")
    (folder / "experiment.yaml").write_text(EXPERIMENT)
    days = (date(2015, 1, 1) + timedelta(days=day) for day in range(900))
    rows = [f"{day},{100 + (index * 7919) % 13}" for index, day in enumerate(days)]
    (folder / "prices.csv").write_text("\n".join(["Date,Close", *rows]) + "\n")
    return folder


@pytest.mark.parametrize("kind", PLUGIN_KINDS)
def test_it_passes_its_own_tests(environment: Environment, written: Path, kind: str) -> None:
    """The contract of a plugin file and that of the component."""
    done = environment.run("pytest", "-q", "-p", "no:cacheprovider", f"test_my_{kind}.py", folder=written)
    assert done.returncode == 0, done.stdout
    assert "skipped" not in done.stdout
    assert "warning" not in done.stdout


def test_it_is_clean(written: Path) -> None:
    """ruff reports nothing, neither style nor formatting, also with sorted imports."""
    for command in (["check"], ["check", "--select", "E,F,I,B,UP,SIM"], ["format", "--check"]):
        done = subprocess.run(
            [sys.executable, "-m", "ruff", *command, "--isolated", "--no-cache"],
            cwd=written,  # so that its modules count as first-party
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stdout + done.stderr


def test_it_imports_only_the_public_api(written: Path) -> None:
    """`scalecore` itself, `scalecore.api`, and the test kits."""
    text = "\n".join(path.read_text() for path in written.glob("*.py"))
    used = set(re.findall(r"^ *from (scalecore\S*) import", text, re.MULTILINE))
    assert not re.findall(r"^ *import scalecore", text, re.MULTILINE)
    assert {"scalecore", "scalecore.testing", "scalecore.api.components"} <= used
    assert all(
        name.startswith(("scalecore.api.", "scalecore.testing", "scalecore_torch.testing"))
        for name in used - {"scalecore"}
    )


def test_all_seven_work_together_in_a_study(environment: Environment, written: Path) -> None:
    """Each trial is a shape of the model, with the expected number of parameters; each component is loaded from its
    file.
    """
    done = environment.run("scalecore", "run", "experiment.yaml", folder=written)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "degraded" not in done.stdout
    study = written / "studies" / "try"
    trials: list[dict[str, Any]] = [json.loads(path.read_text()) for path in sorted((study / "trials").glob("*.json"))]
    assert [trial["state"] for trial in trials] == ["completed"] * 3
    for trial in trials:
        width, depth = trial["architecture"]["width"], trial["architecture"]["depth"]
        counted = (8 + 1) * width + (depth - 1) * (width + 1) * width + width + 1
        assert trial["architecture"]["param_count"] == counted
        assert trial["user_attrs"]["data"]["name"] == "prices.csv"
        assert trial["user_attrs"]["hardware"]["load"]["samples"] > 0
        assert set(trial["user_attrs"]["versions"]) >= {"my_model.py", "my_dataset.py", "my_strategy.py"}
    reasons = [trial["origin"]["reason"] for trial in trials]
    assert reasons[0] == "drawn at random"
    assert all(reason.startswith("one change of trial ") for reason in reasons[1:])
    lines = (study / "progress.txt").read_text().splitlines()
    assert [line.split(" width")[0] for line in lines[:-1]] == [f"trial {n} completed" for n in range(3)]
    assert lines[-1].endswith(", completed")
    result = study / "analyses" / "my-analysis" / "result.json"
    assert json.loads(result.read_text())["data"]["rows"] > 0
    done = environment.run("scalecore", "analyze", "my-analysis", "studies/try", "at_least=3", folder=written)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("# Sizes of the dimensions\n")


def test_the_training_function_trains_the_scaffolded_model(environment: Environment, written: Path) -> None:
    """Instead of the trainer `torch`; its file is part of the study's code."""
    training = "training={use: function, target: ./my_trainer.py:train, threads: 1, hyperparameters: {epochs: 2}}"
    space = "search.space={learning_rate: {log_uniform: [1e-3, 1e-2]}}"
    sizes = "model={use: linear}"
    arguments = ("run", "experiment.yaml", training, space, sizes, "output=own-loop", "analyses=[]")
    done = environment.run("scalecore", *arguments, folder=written)
    assert done.returncode == 0, done.stdout + done.stderr
    trials = [json.loads(path.read_text()) for path in (written / "own-loop" / "trials").glob("*.json")]
    assert {trial["state"] for trial in trials} == {"completed"}
    assert all("my_trainer.py" in trial["user_attrs"]["versions"] for trial in trials)


def test_a_package_is_the_same_plugin_installed(environment: Environment, tmp_path: Path) -> None:
    """Each kind installs and passes the contract of a package; one passes all of its tests."""
    names = {kind: f"own-{kind}" for kind in PLUGIN_KINDS if kind != "trainer"}  # a trainer is not a plugin
    for kind, name in names.items():
        done = environment.run("scalecore", "new", kind, name, "--package", folder=tmp_path)
        assert (done.returncode, done.stderr) == (0, "")
    environment.install(*(tmp_path / name for name in names.values()))
    for kind, name in names.items():
        tests = ["tests"] if kind == "logger" else ["tests/test_package.py"]
        done = environment.run("pytest", "-q", "-p", "no:cacheprovider", *tests, folder=tmp_path / name)
        assert done.returncode == 0, done.stdout
        assert "skipped" not in done.stdout
    (tmp_path / "prices.csv").write_text("Date,Close\n")
    text = EXPERIMENT.replace("my-", "own-")
    (tmp_path / "e.yaml").write_text("\n".join(line for line in text.splitlines() if not line.startswith("plugins:")))
    done = environment.run("scalecore", "check", "e.yaml", folder=tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    for name in names.values():
        assert f"{name} ({name} 0.1.0)" in done.stdout


@pytest.mark.parametrize("kind", [kind for kind in PLUGIN_KINDS if kind != "trainer"])
def test_a_package_requires_what_its_files_import(kind: str) -> None:
    """Directly: other requirements may drop a dependency in their next version. A training function is not a plugin and
    has no package.
    """
    files = package_files(Names(name=f"my-{kind}", module=f"my_{kind}", prefix=f"My{kind.capitalize()}"), kind=kind)
    project = tomllib.loads(files["pyproject.toml"])["project"]
    required = {re.split(r"[<>=\[]", one)[0] for one in project["dependencies"]} | {"pytest"}  # of scalecore[testing]
    imported = {
        name.partition(".")[0]
        for path, text in files.items()
        if path.endswith(".py")
        for name in re.findall(r"^\s*(?:from|import) ([\w.]+)", text, re.MULTILINE)
    }
    others = imported - sys.stdlib_module_names - {f"my_{kind}"}
    assert {name.replace("_", "-") for name in others} <= required
