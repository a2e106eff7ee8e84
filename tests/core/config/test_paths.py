"""Paths with unexpanded variables, and paths that cannot be stored, are refused before a folder is created."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml

from scalecore.testing.fakes import EXPERIMENT, write_walk
from scalecore.testing.fixtures import CliResult

Experiment = Callable[..., Path]
Cli = Callable[..., CliResult]

DATASET = EXPERIMENT["dataset"]
REMEDY = (
    "write the path itself, or set this key on the command line without single quotes, where the shell expands the "
    "variable"
)


def files(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


@pytest.mark.parametrize(
    ("key", "sections", "text", "variable"),
    [
        ("output", {"output": "${SCRATCH}/study"}, "${SCRATCH}/study", "${SCRATCH}"),
        ("output", {"output": "/data/$USER"}, "/data/$USER", "$USER"),
        ("output", {"output": "~/${X:-y}/study"}, "~/${X:-y}/study", "${X:-y}"),
        ("dataset.path", {"dataset": {**DATASET, "path": "$DATA/walk.csv"}}, "$DATA/walk.csv", "$DATA"),
        ("loggers.0.path", {"loggers": [{"use": "csv", "path": "a$B/x.csv"}]}, "a$B/x.csv", "$B"),
    ],
)
@pytest.mark.parametrize("command", ["check", "plan", "run"])
def test_a_variable_in_a_path_is_refused(
    command: str, key: str, sections: dict[str, object], text: str, variable: str, experiment: Experiment, run_cli: Cli
) -> None:
    """With its position in the file; no folder of that name is created."""
    path = experiment(**sections)
    before = files(path.parent)
    done = run_cli(command, path)
    assert done.exit_code == 2
    place, _, message = done.stderr.partition(f": {key}: ")
    assert place.rpartition(":")[0].startswith(f"{path}:")
    expected = f"variables such as {variable} are not expanded in paths, got string {text!r}; {REMEDY}\n"
    assert message == expected
    assert files(path.parent) == before


def test_a_variable_in_an_override_is_refused(experiment: Experiment, run_cli: Cli) -> None:
    """Single quotes hid it from the shell."""
    done = run_cli("run", experiment(), "output=${SCRATCH}/study")
    assert done.exit_code == 2
    assert done.stderr == (
        "<command line>: output=${SCRATCH}/study: variables such as ${SCRATCH} are not expanded in paths, got string "
        f"'${{SCRATCH}}/study'; {REMEDY}\n"
    )


@pytest.mark.parametrize("sweep", [None, {"seed": [1, 2]}], ids=["study", "campaign"])
def test_a_project_may_be_in_a_folder_named_like_a_variable(
    sweep: object, tmp_path: Path, run_cli: Cli, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Paths in the file are relative to it; the folder's name is not in the file."""
    project = tmp_path / "cost$center"
    project.mkdir()
    write_walk(project)
    content = {**EXPERIMENT, "loggers": [{"use": "csv", "path": "all.csv"}]} | ({"sweep": sweep} if sweep else {})
    for name, output in (("with.yaml", {"output": "study"}), ("without.yaml", {})):
        (project / name).write_text(yaml.safe_dump({**content, **output}))
        monkeypatch.chdir(project)
        done = run_cli("check", project / name)
        assert (done.exit_code, done.stderr) == (0, "")


@pytest.mark.skipif(sys.platform != "linux", reason="other systems refuse such names themselves")
def test_a_path_that_is_not_utf8_is_refused(tmp_path: Path, run_cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    """No file of the study could contain it; the study's folder is not created."""
    project = Path(os.fsdecode(os.fsencode(tmp_path) + b"/pr\xfcf"))
    project.mkdir()
    write_walk(project)
    monkeypatch.chdir(project)
    (project / "experiment.yaml").write_text(yaml.safe_dump({**EXPERIMENT, "output": "study"}))
    done = run_cli("run", "experiment.yaml")
    assert done.exit_code == 2
    shown = f"{tmp_path}/pr\\xfcf"
    expected = f"{shown}/study: this path is not UTF-8 text; rename the folder or file\n"
    assert done.stderr.endswith(f": output: {expected}")
    (project / "experiment.yaml").write_text(
        yaml.safe_dump({**EXPERIMENT, "dataset": {**DATASET, "path": "/dev/null"}})
    )
    done = run_cli("run", "experiment.yaml")
    assert done.exit_code == 2
    assert done.stderr == f"{shown}/studies/walk: this path is not UTF-8 text; rename the folder or file\n"
    assert files(project) == ["experiment.yaml", "walk.csv"]


@pytest.mark.parametrize(
    "arguments",
    [
        ("init", "${HERE}/mine.yaml"),
        ("plugins", "--schema", "--output", "$HERE.json"),
        ("new", "model", "mine", "--into", "${HERE}"),
        ("analyze", "results", ".", "--output", "a/$HERE"),
    ],
)
def test_a_command_creates_no_folder_named_like_a_variable(
    arguments: tuple[str, ...], tmp_path: Path, run_cli: Cli, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A variable that no shell expanded is an error of the command line."""
    monkeypatch.chdir(tmp_path)
    done = run_cli(*arguments)
    assert done.exit_code == 2
    text = next(one for one in arguments if "HERE" in one)
    name = "${HERE}" if "{" in text else "$HERE"
    message = f"{text!r}: the variable {name} was not expanded; write its value\n"
    assert done.stderr.endswith(message)
    assert files(tmp_path) == []


def test_a_command_writes_to_an_existing_folder_named_like_a_variable(
    tmp_path: Path, run_cli: Cli, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Shell completion inserts such names unchanged."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "cost$center").mkdir()
    done = run_cli("plugins", "--schema", "--output", "cost$center/schema.json")
    assert done.exit_code == 0
    assert files(tmp_path / "cost$center") == ["schema.json"]
