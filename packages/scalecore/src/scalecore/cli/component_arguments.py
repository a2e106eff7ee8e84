"""Studies and options of a component on one command line, for `analyze` and `export`."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from scalecore.api.errors import ExperimentError, PluginError

if TYPE_CHECKING:
    from scalecore.plugins.registry import Registered, Registry

_OVERRIDE = re.compile(r"[A-Za-z_]\w*(\.\w+)*=")


def split_arguments(arguments: Iterable[str], *, flags: Iterable[str] = ()) -> tuple[list[Path], list[str]]:
    """Split the arguments into studies and options, as `KEY=VALUE`.

    `--key VALUE`, `--key=VALUE` and, for `flags`, `--key` set an option too. An argument that exists as a path is a
    study, whatever its name.
    """
    paths: list[Path] = []
    overrides: list[str] = []
    rest = list(arguments)
    while rest:
        text = rest.pop(0)
        if text.startswith("--") and len(text) > 2:
            key, equals, value = text[2:].partition("=")
            key = key.replace("-", "_")
            if not equals and key in flags:
                value = "true"
            elif not equals:
                if not rest:
                    raise ExperimentError(f"{text} needs a value: {text} VALUE")
                value = rest.pop(0)
            overrides.append(f"{key}={value}")
        elif _OVERRIDE.match(text) and not os.path.exists(text):
            overrides.append(text)
        else:
            paths.append(Path(text))
    return paths, overrides


def with_plugin_files(registry: Registry, kind: str, name: str, arguments: Iterable[str]) -> Registry:
    """The registry; if it lacks the component, extended by the plugin files of the studies among the arguments."""
    from scalecore.store.kept_study import move_of
    from scalecore.views.read_study import read_studies

    try:
        registry.get(kind, name)
    except PluginError:
        studies = read_studies([Path(text) for text in arguments if Path(text).exists()])
        moves = [(one, move_of(one.experiment, one.plan, one.folder)) for one in studies]
        files = [file for one, move in moves for file in move.apply(one.experiment.get("plugins", []))]
        return registry.with_files(dict.fromkeys(files))
    return registry


def list_components(components: Iterable[Registered]) -> None:
    """Print each component with its summary."""
    found = list(components)
    width = max((len(one.use) for one in found), default=0)
    for one in found:
        click.echo(f"{one.use:<{width}}  {one.record.summary}")


def flags_of(component: Registered) -> list[str]:
    """The names of its boolean options."""
    from scalecore.config.fields import fields_of

    return [one.name for one in fields_of(component.record.options) if one.type is bool]


def describe(component: Registered) -> None:
    """Print the component's options, for `--help`."""
    from scalecore.config.fields import fields_of

    click.echo(f"{component.kind.capitalize()} {component.name}: {component.record.summary} From {component.provider}.")
    rows: list[tuple[str, str]] = []
    for one in fields_of(component.record.options):
        default = "required" if one.required else f"default {_shown(one.default)}"
        rows.append((one.name, f"{one.help} ({default})"))
    formatter = click.HelpFormatter(width=100)
    with formatter.section(f"Options of the {component.kind}, KEY=VALUE or --key VALUE"):
        formatter.write_dl(rows or [("none", "It has no options.")])
    click.echo(formatter.getvalue(), nl=False)


def _shown(value: Any) -> str:
    return json.dumps(value) if not isinstance(value, str) else value
