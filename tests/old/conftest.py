"""A copy of the project of version 0.1 that a test may change."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from attrs import frozen

from scalecore.api.files import read_json

from .places import MARKER, PORTABLE, TEXTS

HERE = Path(__file__).parent


@frozen
class Project:
    """A copy of `v0_1`."""

    path: Path

    def study(self, name: str) -> Path:
        return self.path / "studies" / name

    def scalecore(self, *arguments: str | Path) -> subprocess.CompletedProcess[str]:
        """Run a command in the project with the kernels of the golden results."""
        return subprocess.run(
            [sys.executable, "-m", "scalecore", *map(str, arguments)],
            cwd=self.path,
            env={**os.environ, **PORTABLE, "COLUMNS": "200"},
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
        )

    def records(self, name: str) -> dict[int, dict[str, Any]]:
        """The journal's records by trial number."""
        import json

        lines = (self.study(name) / "journal.jsonl").read_text().splitlines()
        events = [json.loads(line) for line in lines]
        return {event["number"]: event["record"] for event in events if event["event"] == "trial_finished"}


def project_in(path: Path, *, made_in: Path) -> Project:
    """Copy the project to `path`; its files name `made_in` as their original place."""
    shutil.copytree(HERE / "v0_1", path)
    for file in path.rglob("*"):
        if file.suffix in TEXTS and MARKER in (text := file.read_text()):
            file.write_text(text.replace(MARKER, str(made_in)))
    return Project(path)


@pytest.fixture
def project(tmp_path: Path) -> Project:
    path = tmp_path.resolve() / "project"
    return project_in(path, made_in=path)


@pytest.fixture
def moved(tmp_path: Path) -> Project:
    """The project in a new place; its original place does not exist."""
    return project_in(
        tmp_path.resolve() / "new home \u00e9" / "project", made_in=tmp_path.resolve() / "old" / "project"
    )


@pytest.fixture(scope="session")
def golden() -> dict[str, Any]:
    content: dict[str, Any] = read_json(HERE / "golden.json")
    return content
