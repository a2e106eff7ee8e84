"""Studies of 0.1 that used removed loggers are read as before and continued without these."""

from __future__ import annotations

import json
from typing import Any

import pytest
import yaml

from scalecore.config.removed import REMOVED, removed

from .conftest import Project

LOGGERS = [name for kind, name in REMOVED if kind == "logger" and "." not in name]


@pytest.fixture
def named(project: Project) -> Project:
    """The project, with all removed loggers in the experiment files and journals."""
    for study in ("classification", "forecast"):
        folder = project.study(study)
        own = project.path / f"{study}.yaml"
        content = yaml.safe_load(own.read_text())
        content["loggers"] += [*LOGGERS, {"use": LOGGERS[0], "path": "elsewhere"}]
        own.write_text(yaml.safe_dump(content))
        kept = [{"use": name, "path": None} for name in LOGGERS] + [{"use": LOGGERS[0], "path": "elsewhere"}]
        frozen = yaml.safe_load((folder / "experiment.yaml").read_text())
        frozen["loggers"] += kept
        (folder / "experiment.yaml").write_text(yaml.safe_dump(frozen))
        lines = []
        for line in (folder / "journal.jsonl").read_text().splitlines():
            event: dict[str, Any] = json.loads(line)
            if event["event"] == "study":
                event["experiment"]["loggers"] += kept
            lines.append(json.dumps(event))
        (folder / "journal.jsonl").write_text("\n".join(lines) + "\n")
    return project


WARNINGS = [f"warning: {removed('logger', name)}" for name in LOGGERS]


def test_every_command_that_reads_the_study_warns_once(named: Project) -> None:
    """The output is unchanged; stderr names each logger once, for one and several studies."""
    folder = named.study("classification")
    out = named.path / "page"
    for arguments in (
        ["status", folder],
        ["status", named.path / "classification.yaml", "--json"],
        ["verify", folder],
        ["verify", named.path / "studies"],
        ["report", folder, "--output", out],
        ["analyze", "coverage", folder, "--no-files"],
    ):
        done = named.scalecore(*arguments)
        assert done.returncode == 0, done.stdout + done.stderr
        assert [line for line in done.stderr.splitlines() if line.startswith("warning:")] == WARNINGS
        assert LOGGERS[0] not in done.stdout


@pytest.mark.parametrize("file", ["forecast.yaml", "studies/forecast/experiment.yaml"])
def test_run_continues_without_them(named: Project, file: str) -> None:
    """One warning for each; afterwards the study does not name them."""
    assert named.scalecore("plan", file, "--allow-changed-code").stderr.splitlines() == WARNINGS
    done = named.scalecore("run", file, "--allow-changed-code")
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stderr.splitlines() == WARNINGS
    assert len(named.records("forecast")) == 2
    for command in ("verify", "status"):
        again = named.scalecore(command, named.study("forecast"))
        assert (again.returncode, again.stderr) == (0, ""), again.stdout
