"""Fixtures for tests of plugins: add `pytest_plugins = ["scalecore.testing.fixtures"]` to the top `conftest.py`."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml
from attrs import frozen

from scalecore.plugins.registry import Registry, load_registry
from scalecore.testing.fakes import EXPERIMENT, write_walk

__all__ = ["CliResult", "experiment", "registry", "run_cli"]


@frozen(kw_only=True)
class CliResult:
    """Output and exit code of a command."""

    exit_code: int
    stdout: str
    stderr: str


@pytest.fixture
def registry() -> Registry:
    """A registry of scalecore's own components, without installed plugins."""
    return load_registry(no_plugins=True)


@pytest.fixture
def experiment(tmp_path: Path) -> Callable[..., Path]:
    """Write an experiment file and its data, and return the file's path. The study's folder is `study` next to it.

    The study takes seconds: a linear model on a random walk, random search, four trials of two epochs. Arguments
    replace its sections: `experiment(model={"use": "mine", "width": 4}, search={"use": "random", "trials": 2})`.
    """

    def write(name: str = "experiment.yaml", **sections: Any) -> Path:
        write_walk(tmp_path)
        content: dict[str, Any] = {**EXPERIMENT, "output": "study", **sections}
        path = tmp_path / name
        path.write_text(yaml.safe_dump(_plain(content), sort_keys=False))
        return path

    return write


@pytest.fixture
def run_cli() -> Callable[..., CliResult]:
    """Call `scalecore` in this process: `run_cli("run", path)`. Attempts still run in separate processes."""

    def call(*arguments: str | Path) -> CliResult:
        from click.testing import CliRunner

        from scalecore.cli.main import main

        done = CliRunner().invoke(main, [str(one) for one in arguments], catch_exceptions=False)
        return CliResult(exit_code=done.exit_code, stdout=done.stdout, stderr=done.stderr)

    return call


def _plain(value: Any) -> Any:
    return {key: _plain(one) for key, one in value.items()} if isinstance(value, Mapping) else value
