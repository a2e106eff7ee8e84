from __future__ import annotations

from typing import Any

PLUGIN = """
from scalecore import hookimpl
from scalecore.api.components import DatasetRecord

@hookimpl
def scalecore_datasets():
    return [DatasetRecord(name="sales", summary="Sales.", factory=lambda o, c: None, commands="sales_cli:group")]
"""
COMMANDS = """
import click

@click.group()
def group():
    pass

@group.command()
@click.argument("file")
def fetch(file):
    "Fetch the sales."
    click.echo(f"fetched {file}")
"""


def test_a_dataset_plugin_brings_its_commands(fake_plugin: Any, invoke: Any) -> None:
    """What its record names as commands is offered by `scalecore data`."""
    folder = fake_plugin("scalecore-sales", code=PLUGIN)
    (folder / "sales_cli.py").write_text(COMMANDS)
    listed = invoke("data", "--help")
    assert "fetch" in listed.stdout
    assert "Fetch the sales." in listed.stdout
    assert invoke("data", "fetch", "a.csv").stdout == "fetched a.csv\n"


def test_a_command_that_no_plugin_has_is_told(fake_plugin: Any, invoke: Any) -> None:
    """A misspelt command is a wrong command line."""
    folder = fake_plugin("scalecore-sales", code=PLUGIN)
    (folder / "sales_cli.py").write_text(COMMANDS)
    result = invoke("data", "fetsch")
    assert result.exit_code == 2
    assert "No such command 'fetsch'" in result.stderr
