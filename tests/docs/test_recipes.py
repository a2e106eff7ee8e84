"""The plugins of docs/writing-plugins.md, installed unchanged, run a study."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest
import yaml

from scalecore.api.analysis import Analysis, AnalysisResult
from scalecore.api.monitor import HardwareMonitor, MonitorContext
from scalecore.api.readings import Reading
from scalecore.api.space import Architecture
from scalecore.api.trials import Origin, StudyView, TrialRecord, TrialState
from scalecore.testing.plans import make_plan

from .conftest import ROOT, files, scalecore

PAGE = ROOT / "docs" / "writing-plugins.md"


def install(folder: Path, contents: list[tuple[str, str]]) -> Path:
    """Write a package and the `.dist-info` that pip would create, and return its `src`."""
    for name, text in contents:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    project = tomllib.loads((folder / "pyproject.toml").read_text())["project"]
    info = folder / "src" / f"{project['name'].replace('-', '_')}-{project['version']}.dist-info"
    info.mkdir()
    required = "".join(f"Requires-Dist: {requirement}\n" for requirement in project["dependencies"])
    (info / "METADATA").write_text(
        f"Metadata-Version: 2.1\nName: {project['name']}\nVersion: {project['version']}\n{required}"
    )
    points = "".join(f"{name} = {value}\n" for name, value in project["entry-points"]["scalecore"].items())
    (info / "entry_points.txt").write_text(f"[scalecore]\n{points}")
    return folder / "src"


def packages() -> dict[str, list[tuple[str, str]]]:
    """The packages of the page by name: each `pyproject.toml` with the files in `src` that follow it."""
    found: dict[str, list[tuple[str, str]]] = {}
    current: list[tuple[str, str]] = []
    for name, text in files(PAGE):
        if name == "pyproject.toml":
            current = found.setdefault(tomllib.loads(text)["project"]["name"], [])
        if name == "pyproject.toml" or name.startswith("src/"):
            current.append((name, text))
    return found


def recipes() -> list[tuple[str, str]]:
    return [(name, text) for name, text in files(PAGE) if name.startswith("recipes/")]


@pytest.fixture
def installed(tmp_path: Path) -> tuple[Path, ...]:
    """The package of the page, and its other recipes as a second package."""
    places = [install(tmp_path / name, contents) for name, contents in packages().items()]
    names = [Path(name).stem for name, _ in recipes()]
    points = "\n".join(f'recipe-{name} = "recipes.{name}"' for name in names)
    project = (
        f'[project]\nname = "recipes"\nversion = "1.0"\ndependencies = []\n[project.entry-points.scalecore]\n{points}\n'
    )
    contents = [("pyproject.toml", project), ("src/recipes/__init__.py", "")]
    places.append(install(tmp_path / "recipes", [*contents, *((f"src/{name}", text) for name, text in recipes())]))
    return tuple(places)


def experiment(folder: Path) -> dict[str, Any]:
    (text,) = [text for name, text in files(PAGE) if name == "try.yaml"]
    (folder / "try.yaml").write_text(text)
    shutil.copy(ROOT / "examples" / "data" / "spy_daily.parquet", folder)
    content: dict[str, Any] = yaml.safe_load(text)
    return content


def records(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(path.read_text()) for path in sorted((folder / "studies" / "try" / "trials").glob("*.json"))]


def test_every_plugin_of_the_page_is_ok(installed: tuple[Path, ...], tmp_path: Path) -> None:
    """Each provides the components in the text."""
    listed = scalecore("plugins", "--json", folder=tmp_path, path=installed)
    assert listed.returncode == 0, listed.stderr
    ours = [one for one in json.loads(listed.stdout) if one["distribution"] in ("my-plugin", "recipes")]
    assert {one["status"] for one in ours} == {"ok"}, [one["reason"] for one in ours]
    offered = {(component["kind"], component["name"]) for one in ours for component in one["components"]}
    assert offered == {
        ("model", "dlinear"),
        ("logger", "notify"),
        ("search", "every-shape"),
        ("monitor", "battery"),
        ("dataset", "walk"),
        ("executor", "nice"),
        ("analysis", "slowest"),
    }


def test_the_model_and_the_logger_run_a_study(installed: tuple[Path, ...], tmp_path: Path) -> None:
    """`try.yaml` with the logger added runs; every trial trains the model of the page."""
    experiment(tmp_path)
    script = tmp_path / "append.py"
    script.write_text("import sys; open('told.txt', 'a').write(sys.argv[1] + '\\n')")
    command = json.dumps([sys.executable, str(script)])
    loggers = f"loggers=[console, files, {{use: notify, every_trial: true, command: {command}}}]"
    for name in ("check", "plan"):
        done = scalecore(name, "try.yaml", folder=tmp_path, path=installed)
        assert done.returncode == 0, done.stderr
    done = scalecore("run", "try.yaml", loggers, folder=tmp_path, path=installed)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "degraded" not in done.stdout
    trials = records(tmp_path)
    assert [trial["state"] for trial in trials] == ["completed"] * 3
    for trial in trials:
        width = trial["architecture"]["width"]
        assert trial["architecture"]["param_count"] == 2 * (40 * width + width) + width + 1
    best = min(trials, key=lambda trial: trial["value"])
    assert (tmp_path / "told.txt").read_text().splitlines() == [
        *(f"try: trial {trial['number']} completed, {trial['value']}" for trial in trials),
        f"try: completed, 3 of 3 trials, best {best['value']:.4f}, trial {best['number']}",
    ]


def test_the_model_satisfies_its_contract(installed: tuple[Path, ...], tmp_path: Path) -> None:
    """The tests of the page pass on its package, including a study of one trial."""
    (tmp_path / "tests").mkdir()
    for name, text in files(PAGE):
        if name.startswith("tests/"):
            (tmp_path / name).write_text(text)
    for name in ("__init__.py", "py.typed"):
        (installed[0] / "my_plugin" / name).touch()
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "tests"],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": os.pathsep.join([str(installed[0]), os.environ.get("PYTHONPATH", "")])},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout
    assert re.search(r"^\d\d passed in ", done.stdout, flags=re.MULTILINE), done.stdout


def test_the_other_recipes_run_a_study(installed: tuple[Path, ...], tmp_path: Path) -> None:
    """Dataset, strategy, monitor and executor of the page run each shape once, starting with the smallest."""
    content = experiment(tmp_path)
    content |= {"dataset": {"use": "walk", "rows": 1500}, "monitors": ["battery"]}
    content["dataset"]["target"] = {"kind": "direction"}
    content["search"] |= {"use": "every-shape", "trials": 9}
    content["execution"] = {"use": "nice", "niceness": 5}
    (tmp_path / "try.yaml").write_text(yaml.safe_dump(content))
    done = scalecore("run", "try.yaml", folder=tmp_path, path=installed)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "degraded" not in done.stdout
    assert "try: completed: every configuration has been tried" in done.stdout
    trials = records(tmp_path)
    widths = [trial["architecture"]["width"] for trial in trials]
    assert widths == sorted(set(widths))
    assert len(widths) >= 2
    for trial in trials:
        assert trial["state"] == "completed"
        assert trial["user_attrs"]["data"]["name"] == "walk"
        assert trial["params"]["dropout"] == 0.25
        battery = trials[0]["user_attrs"]["hardware"]["battery"]
        assert "unavailable" in battery or 0 <= battery["min"] <= 100


def test_the_training_loop_of_the_page_runs_a_study(tmp_path: Path) -> None:
    """`own_loop.yaml` runs with `own_loop.py`, which is part of the study's code."""
    shutil.copy(ROOT / "examples" / "data" / "spy_daily.parquet", tmp_path)
    for name, text in files(PAGE):
        if name.startswith("own_loop."):
            (tmp_path / name).write_text(text)
    for arguments in (["check", "own_loop.yaml"], ["run", "own_loop.yaml"], ["verify", "studies/own-loop"]):
        done = scalecore(*arguments, folder=tmp_path)
        assert done.returncode == 0, done.stdout + done.stderr
    trials = [json.loads(one.read_text()) for one in (tmp_path / "studies" / "own-loop" / "trials").glob("*.json")]
    assert [trial["state"] for trial in trials] == ["completed"] * 3
    assert all("own_loop.py" in trial["user_attrs"]["versions"] for trial in trials)


def recipe(name: str) -> dict[str, Any]:
    """The names that a recipe defines."""
    (text,) = [text for path, text in recipes() if path == f"recipes/{name}.py"]
    namespace: dict[str, Any] = {"__name__": name}
    exec(compile(text, f"{PAGE}:{name}", "exec"), namespace)
    return namespace


def test_the_monitor_of_the_page_pauses(tmp_path: Path) -> None:
    """It pauses only on a low battery; without a battery it continues, with a reason instead of a number."""
    (record,) = recipe("monitor")["scalecore_hardware_monitors"]()
    monitor = record.factory(record.options(pause_below=30.0), MonitorContext(folder=tmp_path))
    assert isinstance(monitor, HardwareMonitor)

    def at(value: float | None) -> Reading:
        reason = "no battery" if value is None else None
        return Reading(quantity="battery", source="psutil", unit="%", value=value, reason=reason)

    assert [monitor.verdict([at(value)]).action for value in (29.0, 31.0, None)] == ["pause", "go_on", "go_on"]
    assert monitor.verdict([at(29.0)]).reason == "the battery is at 29 %"


def test_the_analysis_of_the_page_computes_from_records(tmp_path: Path) -> None:
    """The slowest trial is first; trials without a duration are omitted."""
    (record,) = recipe("analysis")["scalecore_analyses"]()
    analysis = record.factory(record.options())
    assert isinstance(analysis, Analysis)
    trials = [
        TrialRecord(
            number=number,
            hash=str(number),
            seed=1,
            state=TrialState.COMPLETED if duration else TrialState.OUT_OF_MEMORY,
            reason=None,
            value=None,
            origin=Origin(kind="sampled"),
            architecture=Architecture(values={}, num_parameters=1, flops=1),
            hyperparameters={},
            duration=duration,
        )
        for number, duration in enumerate([3.0, None, 9.04])
    ]
    study = StudyView(name="s", folder=tmp_path, experiment={}, plan=make_plan(), total=3, trials=trials)
    result = analysis.run([study])
    assert isinstance(result, AnalysisResult)
    assert result.tables["slowest"] == [
        {"study": "s", "trial": 2, "seconds": 9.04},
        {"study": "s", "trial": 0, "seconds": 3.0},
    ]
