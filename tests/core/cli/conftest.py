"""Run the command in this process, with a plugin of the test in addition to installed ones."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from scalecore.cli.main import main

CODE = """
from attrs import frozen
from scalecore import hookimpl
from scalecore.api.options import option
from scalecore.api.components import *

@frozen(kw_only=True)
class RackOptions:
    slots_per_rack: int = option(2, help="Slots.")

def _nothing(*_):
    raise AssertionError("no component is made")

@hookimpl
def scalecore_datasets():
    return [DatasetRecord(name="my-table", summary="A table.", factory=_nothing)]

@hookimpl
def scalecore_models():
    return [ModelRecord(name="my-model", summary="A model.", factory=_nothing)]

@hookimpl
def scalecore_search_strategies():
    return [SearchStrategyRecord(name="my-search", summary="A search.", factory=_nothing)]

@hookimpl
def scalecore_loggers():
    return [LoggerRecord(name="my-logger", summary="A logger.", factory=_nothing)]

@hookimpl
def scalecore_executors():
    return [ExecutorRecord(name="my-rack", summary="A rack.", options=RackOptions, factory=_nothing)]
"""

EXPERIMENT = """\
name: mine
dataset: my-table
model: my-model
search: {use: my-search}
execution: {use: my-rack, slots_per_rack: 4}
loggers: [my-logger]
"""


@pytest.fixture
def invoke(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Result]:
    """Run `scalecore` with these arguments in a temporary folder."""
    monkeypatch.chdir(tmp_path)

    def invoke(*arguments: str) -> Result:
        return CliRunner().invoke(main, arguments, prog_name="scalecore")

    return invoke


@pytest.fixture
def mine(fake_plugin: Any, tmp_path: Path) -> str:
    """An experiment file that needs only the plugin `acme` of the test."""
    fake_plugin("acme", version="1.2", code=CODE)
    (tmp_path / "mine.yaml").write_text(EXPERIMENT)
    return "mine.yaml"
