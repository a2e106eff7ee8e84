"""What `scalecore new plugin` writes installs, passes its own tests, is clean, and works in a study; for each kind."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from scalecore.scaffold.names import PLUGIN_KINDS

from .conftest import Environment


@pytest.fixture(scope="session")
def written(environment: Environment, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a package of each kind, `my-KIND`, all installed."""
    folder = tmp_path_factory.mktemp("written")
    for kind in PLUGIN_KINDS:
        done = environment.run("scalecore", "new", "plugin", f"my-{kind}", "--kind", kind, folder=folder)
        assert (done.returncode, done.stderr) == (0, "")
    environment.install(*(folder / f"my-{kind}" for kind in PLUGIN_KINDS))
    return folder


def study(environment: Environment, folder: Path, kind: str, *overrides: str) -> list[dict[str, Any]]:
    """Run the experiment of a package to its end; its trials."""
    done = environment.run("scalecore", "run", "experiment.yaml", *overrides, folder=folder / f"my-{kind}")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "degraded" not in done.stdout
    files = sorted((folder / f"my-{kind}" / "studies" / f"my-{kind}-try" / "trials").glob("*.json"))
    trials = [json.loads(path.read_text()) for path in files]
    assert trials
    assert {trial["state"] for trial in trials} == {"completed"}
    return trials


@pytest.mark.parametrize("kind", PLUGIN_KINDS)
def test_it_passes_its_own_tests(environment: Environment, written: Path, kind: str) -> None:
    """The contract of the package and that of the component, and what only this component has to hold."""
    done = environment.run("pytest", "-q", "-p", "no:cacheprovider", folder=written / f"my-{kind}")
    assert done.returncode == 0, done.stdout
    assert "skipped" not in done.stdout
    assert "warning" not in done.stdout


def test_it_is_clean(written: Path) -> None:
    """ruff has nothing to say, neither of style nor of formatting."""
    for command in (["check"], ["format", "--check"]):
        done = subprocess.run(
            [sys.executable, "-m", "ruff", *command, "--no-cache", *map(str, sorted(written.iterdir()))],
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("kind", PLUGIN_KINDS)
def test_its_experiment_file_names_it(environment: Environment, written: Path, kind: str) -> None:
    """The check passes, and says that the component is the new package's."""
    done = environment.run("scalecore", "check", "experiment.yaml", folder=written / f"my-{kind}")
    assert (done.returncode, done.stderr) == (0, "")
    assert f"my-{kind} (my-{kind} 0.1.0)" in done.stdout


def test_model_strategy_and_logger_work_together(environment: Environment, written: Path) -> None:
    """Each trial is a shape of the model, as large as a formula says; the strategy steps from earlier trials; the
    logger has a line for each.
    """
    trials = study(
        environment, written, "model", "search.use=my-strategy", "search.explore=0", "loggers=[files, my-logger]"
    )
    for trial in trials:
        width, depth = trial["architecture"]["width"], trial["architecture"]["depth"]
        counted = (8 * 2 + 1) * width + (depth - 1) * (width + 1) * width + width + 1
        assert trial["architecture"]["param_count"] == counted
    reasons = [trial["origin"]["reason"] for trial in trials]
    assert reasons[0] == "drawn at random"
    assert all(reason.startswith("a step from trial ") for reason in reasons[1:])
    lines = (written / "my-model" / "studies" / "my-model-try" / "progress.txt").read_text().splitlines()
    assert [line.split(" width")[0] for line in lines[:-1]] == [f"trial {n} completed" for n in range(len(trials))]
    assert lines[-1].endswith(", completed")


def test_dataset_monitor_executor_and_analysis_work_together(environment: Environment, written: Path) -> None:
    """The data, the readings and the result of each; the executor alone ran the attempts."""
    trials = study(
        environment,
        written,
        "dataset",
        "monitors=[{use: my-monitor, pause_above: 1000, interval: 0.2}]",
        'execution={use: my-executor, prefix: [nice, -n, "5"]}',
        "analyses=[my-analysis]",
    )
    for trial in trials:
        assert trial["user_attrs"]["data"]["name"] == "prices.csv"
        assert trial["user_attrs"]["hardware"]["load"]["samples"] > 0
    result = written / "my-dataset" / "studies" / "my-dataset-try" / "analyses" / "my-analysis" / "result.json"
    assert json.loads(result.read_text())["data"] == {"trials": len(trials), "rows": 0}
