"""After a plugin package is uninstalled, everything else works, and messages name the package to install."""

from __future__ import annotations

import json
import os
import re
import site
import subprocess
import sysconfig
import venv
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from scalecore.cli.plugin_commands import PROVIDERS

from .conftest import Study, tiny_experiment

USES = {
    "scalecore-patchtst": ("model", "model 'patchtst'"),
    "scalecore-optuna": ("search", "search 'architectural'"),
    "scalecore-hwmon": ("monitors.0", "monitor 'disk'"),
    "scalecore-analysis": ("analyses.0", "analysis 'results'"),
}
"""The component of each package that the study of these tests uses, with its key."""

OTHERS: dict[str, tuple[str, str, dict[str, Any]]] = {
    "scalecore-market": ("dataset", "dataset 'market'", {"dataset": {"use": "market", "symbol": "SPY"}}),
    "scalecore-trackers": ("loggers.0", "logger 'tensorboard'", {"loggers": ["tensorboard"]}),
}
"""Packages that it does not use: key and component of a file that does, and their replacement."""

COMMANDS_ONLY = "scalecore-promotion"
"""The package without components: `scalecore plugins` does not list it, and no file needs it."""

Python = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory, bars: Path) -> Study:
    """A finished study that used four packages."""
    study = Study(tmp_path_factory.mktemp("made"), tiny_experiment(bars))
    study.experiment["search"] |= {"trials": 2}
    study.experiment |= {"monitors": ["disk"], "analyses": ["results"]}
    study.run()
    return study


def without(package: str, folder: Path) -> Python:
    """Runs `scalecore` in a copy of this environment without one package.

    Its site-packages are links to all entries of this environment's that do not belong to the package.
    """
    environment, kept = folder / "environment", folder / "kept"
    kept.mkdir()
    module = package.replace("-", "_")
    for place in site.getsitepackages():
        # Python lists folders that may not exist.
        for entry in Path(place).iterdir() if Path(place).is_dir() else ():
            if not re.search(rf"(^|_){module}(\W|$)", entry.name):
                (kept / entry.name).symlink_to(entry)
    venv.create(environment, symlinks=True)
    own = sysconfig.get_path("purelib", "venv", {"base": str(environment), "platbase": str(environment)})
    (Path(own) / "kept.pth").write_text(f"import site; site.addsitedir({str(kept)!r})\n")

    def run(*arguments: str, folder: Path) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [str(environment / "bin" / "python"), "-m", "scalecore", *arguments],
            cwd=folder,
            env={**os.environ, "OMP_NUM_THREADS": "1"},
            capture_output=True,
            text=True,
            check=False,
        )

    return run


@pytest.mark.parametrize("package", [*USES, *OTHERS, COMMANDS_ONLY])
def test_everything_else_works_without_it(package: str, made: Study, tmp_path: Path) -> None:
    """The list of plugins has all others, and a file that needs the package is refused with its name.

    A study that used it can still be read and verified, and other files work.
    """
    scalecore = without(package, tmp_path)
    listed = json.loads(scalecore("plugins", "--json", folder=tmp_path).stdout)
    names = {one["distribution"] for one in listed}
    assert package not in names
    assert {*USES, *OTHERS, "scalecore"} - {package} <= names
    assert {one["status"] for one in listed} == {"ok"}

    if package != COMMANDS_ONLY:
        refused_without(package, scalecore, made=made, folder=tmp_path)

    status = scalecore("status", str(made.folder), folder=made.root)
    assert (status.returncode, status.stderr) == (0, "")
    assert status.stdout.startswith("tiny: completed; 2 of 2 trials finished (2 completed)")
    verified = scalecore("verify", str(made.folder), folder=made.root)
    assert (verified.returncode, verified.stderr) == (0, ""), verified.stdout
    report = scalecore("report", str(made.folder), "--output", str(tmp_path / "report"), folder=made.root)
    missing = [name for name, (provider, _) in PROVIDERS.items() if provider == package]
    if "report" not in missing:
        assert (report.returncode, report.stderr) == (0, ""), report.stderr
    for name in missing:
        done = scalecore(name, str(made.folder), folder=made.root)
        message = f"the command {name!r} is not installed; `pip install {package}` provides it\n"
        assert (done.returncode, done.stdout, done.stderr) == (3, "", message)

    alone = experiment_without(package, made.experiment)
    (tmp_path / "alone.yaml").write_text(yaml.safe_dump(alone))
    done = scalecore("plan", str(tmp_path / "alone.yaml"), folder=tmp_path)
    assert (done.returncode, done.stderr) == (0, ""), done.stderr


def refused_without(package: str, scalecore: Python, *, made: Study, folder: Path) -> None:
    """Check the messages of `check` and `run` for a file that needs the package."""
    if package in USES:
        file, (place, component) = made.file, USES[package]
    else:
        place, component, instead = OTHERS[package]
        file = folder / "experiment.yaml"
        file.write_text(yaml.safe_dump({**made.experiment, **instead}))
    for command in ("check", "run"):
        done = scalecore(command, str(file), folder=made.root)
        stages = f"reading {file}\n" if command == "run" else ""
        assert (done.returncode, done.stdout) == (3, stages), done.stdout
        told = rf"{re.escape(str(file))}:\d+:\d+: {re.escape(place)}(\.use)?: "
        message = f"{component} is not installed; `pip install {package}` provides it\n"
        assert re.fullmatch(told + re.escape(message), done.stderr), done.stderr


def experiment_without(package: str, experiment: dict[str, Any]) -> dict[str, Any]:
    """The same study with built-in components in place of the package's."""
    search = {name: value for name, value in experiment["search"].items() if name != "startup_trials"}
    space = {"learning_rate": experiment["search"]["space"]["learning_rate"]}
    without_model = {name: value for name, value in experiment["search"].items() if name not in ("budget", "tolerance")}
    instead: dict[str, dict[str, Any]] = {
        "scalecore-patchtst": {"model": "linear", "search": {**without_model, "space": space}},
        "scalecore-optuna": {"search": {**search, "use": "random"}},
        "scalecore-hwmon": {"monitors": []},
        "scalecore-analysis": {"analyses": []},
    }
    return {**experiment, **instead.get(package, {})}
