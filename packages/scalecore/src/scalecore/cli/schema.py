"""`scalecore schema`: the JSON Schema of the experiment file, options of the installed plugins included."""

from __future__ import annotations

import json

import click

from scalecore.cli.common import plugin_options

__all__ = ["schema"]


@click.command(short_help="Print the JSON Schema of the experiment file, for editors.")
@plugin_options
def schema(*, no_plugins: bool, block: tuple[str, ...]) -> None:
    """Print the JSON Schema (draft 2020-12) of the experiment file, with the options of all installed plugins."""
    from scalecore.config.schema import experiment_schema
    from scalecore.plugins.registry import load_registry

    registry = load_registry(no_plugins=no_plugins, block=block)
    click.echo(json.dumps(experiment_schema(registry), indent=2, ensure_ascii=False))
