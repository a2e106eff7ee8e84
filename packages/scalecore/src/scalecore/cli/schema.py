"""`scalecore schema`: the JSON Schema of the experiment file, options of the installed plugins included."""

from __future__ import annotations

import json
from pathlib import Path

import click

from scalecore.cli.common import NewPath, plugin_options


@click.command(short_help="Print the JSON Schema of the experiment file, for editors.")
@click.option("--output", type=NewPath(dir_okay=False), metavar="FILE", help="Write it there instead.")
@plugin_options
def schema(*, output: Path | None, no_plugins: bool, block: tuple[str, ...]) -> None:
    """Print the JSON Schema (draft 2020-12) of the experiment file, with the options of all installed plugins.

    Editors with a YAML language server take it from the first line of an experiment file:
    `# yaml-language-server: $schema=scalecore.schema.json`. Write it again when other plugins are installed.

    \b
    Examples:
      scalecore schema
      scalecore schema --output scalecore.schema.json
    """
    from scalecore.api.errors import ExperimentError
    from scalecore.api.files import write_text
    from scalecore.config.schema import experiment_schema
    from scalecore.plugins.registry import load_registry

    registry = load_registry(no_plugins=no_plugins, block=block)
    text = json.dumps(experiment_schema(registry), indent=2, ensure_ascii=False)
    if output is None:
        click.echo(text)
        return
    try:
        write_text(output, f"{text}\n")
    except OSError as error:
        raise ExperimentError(f"{output}: cannot be written: {error.strerror}") from None
    click.echo(f"{output}: written")
