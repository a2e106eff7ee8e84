"""`scalecore plugins`: list plugins with their status and components, or print the schema of the experiment file.

Works even if every plugin is broken.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from scalecore.cli.common import NewPath, plugin_options

if TYPE_CHECKING:
    from scalecore.plugins.discovery import Plugin
    from scalecore.plugins.registry import Registry

SLOW = 0.2
"""Seconds. Importing the core's own modules takes about 0.1 s."""


@click.command(short_help="List plugins, or print the schema of the experiment file.")
@click.option("--json", "as_json", is_flag=True, help="Print the list as JSON.")
@click.option(
    "-v",
    "--verbose",
    is_flag=True,
    help="Also print summaries, locations, tracebacks of failed imports, and slow imports.",
)
@click.option("--schema", "as_schema", is_flag=True, help="Print the JSON Schema of the experiment file instead.")
@click.option("--output", type=NewPath(dir_okay=False), metavar="FILE", help="Write the schema to FILE.")
@plugin_options
def plugins(
    *, as_json: bool, verbose: bool, as_schema: bool, output: Path | None, no_plugins: bool, block: tuple[str, ...]
) -> None:
    """List the installed plugins: their status, the reason if one cannot be used, and their components.

    --schema prints the JSON Schema (draft 2020-12) of the experiment file, with the options of all installed plugins.
    Write it again after installing or removing plugins. Editors with a YAML language server find the schema if the
    first line of an experiment file names it:

    \b
      # yaml-language-server: $schema=scalecore.schema.json

    \b
    Examples:
      scalecore plugins
      scalecore plugins --verbose
      scalecore plugins --json
      scalecore plugins --schema --output scalecore.schema.json
    """
    if as_schema and (as_json or verbose):
        raise click.UsageError("--schema cannot be combined with --json or --verbose")
    if output is not None and not as_schema:
        raise click.UsageError("--output requires --schema")
    from scalecore.plugins.discovery import Status
    from scalecore.plugins.registry import clash_text, load_registry

    registry = load_registry(no_plugins=no_plugins, block=block)
    if as_schema:
        _write_schema(registry, output)
        return
    if as_json:
        click.echo(json.dumps(_as_json(registry), indent=2))
        return
    width = max((len(plugin.provider) for plugin in registry.plugins), default=0)
    for plugin in registry.plugins:
        click.echo(f"{plugin.provider:<{width}}  {plugin.status}{f': {plugin.reason}' if plugin.reason else ''}")
        _write_components(registry, plugin, verbose=verbose)
        if verbose:
            click.echo(f"    entry point {plugin.name} = {plugin.value}, in {plugin.location}")
            for line in (plugin.details or "").splitlines():
                click.echo(f"    | {line}")
            if plugin.status is Status.OK and (slow := _slow_import(plugin.value)) is not None:
                click.echo(f"    {slow}")
    if not registry.plugins:
        click.echo("no plugins are installed, not even scalecore's own: is scalecore installed?")
    for rivals in registry.conflicts():
        click.echo(f"conflict: {clash_text(rivals)}")


def _write_schema(registry: Registry, output: Path | None) -> None:
    from scalecore.api.errors import ExperimentError
    from scalecore.api.files import write_text
    from scalecore.config.schema import experiment_schema

    text = json.dumps(experiment_schema(registry), indent=2, ensure_ascii=False)
    if output is None:
        click.echo(text)
        return
    try:
        write_text(output, f"{text}\n")
    except OSError as error:
        raise ExperimentError(f"{output}: cannot be written: {error.strerror}") from None
    click.echo(f"{output}: written")


def _slow_import(module: str) -> str | None:
    """A warning with the import time of a plugin and its slowest dependency; None below `SLOW` seconds.

    Measured in a fresh interpreter that has imported only the core.
    """
    mark = "-- plugin --"
    code = f"import scalecore.plugins.registry, sys; print({mark!r}, file=sys.stderr, flush=True); import {module}"
    done = subprocess.run(
        [sys.executable, "-X", "importtime", "-c", code],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        capture_output=True,
        text=True,
        check=False,
    )
    found = re.findall(r"^import time:\s+\d+ \|\s+(\d+) \|( +)(\S+)$", done.stderr.partition(mark)[2], re.MULTILINE)
    total = sum(int(micros) for micros, indent, _ in found if indent == " ") / 1e6
    if done.returncode or total < SLOW:
        return None
    own = module.partition(".")[0]
    others = {name: int(micros) / 1e6 for micros, _, name in found if "." not in name and name != own}
    name = max(others, key=others.__getitem__, default=None)
    most = "" if name is None or others[name] < total / 4 else f", {others[name]:.2f} s of it for {name}"
    return f"slow import: {total:.2f} s{most}; import it inside the factory, since every command imports plugins"


def _write_components(registry: Registry, plugin: Plugin, *, verbose: bool) -> None:
    by_kind: dict[str, list[str]] = {}
    for one in registry.provided_by(plugin):
        by_kind.setdefault(one.kind, []).append(f"{one.use}: {one.record.summary}" if verbose else one.use)
    for kind, names in by_kind.items():
        if verbose:
            for name in names:
                click.echo(f"    {kind} {name}")
        else:
            click.echo(f"    {kind}: {', '.join(names)}")


def _as_json(registry: Registry) -> list[dict[str, Any]]:
    return [
        {
            "name": plugin.name,
            "module": plugin.value,
            "distribution": plugin.distribution,
            "version": plugin.version,
            "location": plugin.location,
            "status": str(plugin.status),
            "reason": plugin.reason,
            "components": [
                {
                    "kind": one.kind,
                    "name": one.name,
                    "use": one.use,
                    "summary": one.record.summary,
                    "conflict": one.contested,
                }
                for one in registry.provided_by(plugin)
            ],
        }
        for plugin in registry.plugins
    ]
