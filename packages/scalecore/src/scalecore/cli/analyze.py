"""`scalecore analyze`: let an analysis of a plugin look at studies; print what it found, and store it."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from scalecore.api.errors import ExperimentError
from scalecore.cli.common import NewPath, plugin_options, warn_removed
from scalecore.cli.completing import component_names, studies

if TYPE_CHECKING:
    from scalecore.plugins.registry import Registered, Registry

_OVERRIDE = re.compile(r"[A-Za-z_]\w*(\.\w+)*=")


@click.command(context_settings={"ignore_unknown_options": True}, add_help_option=False)
@click.argument("name", required=False, shell_complete=component_names("analysis"))
@click.argument(
    "arguments", metavar="[STUDY]... [KEY=VALUE]...", nargs=-1, type=click.UNPROCESSED, shell_complete=studies
)
@click.option("--output", type=NewPath(), metavar="FOLDER", help="Where the files go.")
@click.option("--json", "as_json", is_flag=True, help="Print the result as JSON.")
@click.option("--no-files", is_flag=True, help="Print the result, write nothing.")
@click.option("--dry-run", is_flag=True, help="Of an analysis that trains: show what it would train, and the cost.")
@click.option("--allow-changed-code", is_flag=True, help="Train under other versions of the code than the study's.")
@click.option("-h", "--help", "show_help", is_flag=True, help="Show this message, and the options of analysis NAME.")
@plugin_options
@click.pass_context
def analyze(
    context: click.Context,
    name: str | None,
    arguments: tuple[str, ...],
    output: Path | None,
    as_json: bool,
    no_files: bool,
    dry_run: bool,
    allow_changed_code: bool,
    show_help: bool,
    no_plugins: bool,
    block: tuple[str, ...],
) -> None:
    """Let the analysis NAME look at studies: their folders, their experiment files, or a folder that holds several.

    Works while a study runs, and changes nothing in it; one that trains, such as cross-budget, wants finished ones.
    KEY=VALUE or --key VALUE sets options of the analysis. The result is printed as Markdown, and stored with its
    figures as analyses/NAME in the study's folder; of several studies in the folder that holds them all. Without NAME
    the analyses are listed.

    \b
    Examples:
      scalecore analyze
      scalecore analyze coverage studies/quickstart
      scalecore analyze results studies --json
      scalecore analyze coverage --help
    """
    if show_help and name is None:
        click.echo(context.get_help())
        return
    from scalecore.plugins.registry import load_registry

    registry = load_registry(no_plugins=no_plugins, block=block)
    if name is None:
        _list(registry)
        return
    component = registry.get("analysis", name)
    if show_help:
        click.echo(f"{context.get_help()}\n")
        _describe(component)
        return
    from scalecore.api.protocols import TrainingContext
    from scalecore.config.standalone import standalone_options
    from scalecore.study.analysis import analyse, output_folder_of, result_json, result_markdown, write_result
    from scalecore.study.layout import StudyFolder
    from scalecore.study.results import read_studies

    paths, overrides = split_arguments(arguments, flags=_flags(component))
    options: Any = standalone_options(component.record.options, overrides)
    studies = read_studies(paths)
    warn_removed(StudyFolder(study.folder) for study in studies)
    training = TrainingContext(
        registry={"no_plugins": no_plugins, "block": list(block)}, allow_changed_code=allow_changed_code
    )
    analysed = analyse(component, options=options, studies=studies, training=training, dry_run=dry_run)
    if as_json:
        click.echo(json.dumps(result_json(analysed), indent=2, allow_nan=False, ensure_ascii=False))
    else:
        click.echo(result_markdown(analysed), nl=False)
    if not no_files and not dry_run:
        folder = output or output_folder_of(component.use, studies)
        written = write_result(analysed, folder)
        click.echo(f"written to {folder}: {', '.join(path.name for path in written)}", err=as_json)


def split_arguments(arguments: Iterable[str], *, flags: Iterable[str] = ()) -> tuple[list[Path], list[str]]:
    """Studies, and the options of the analysis as `KEY=VALUE`. `--key VALUE`, `--key=VALUE` and, of `flags`, `--key`
    alone are other ways to write one. What exists as a path is a study, whatever its name.
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


def _flags(component: Registered) -> list[str]:
    from scalecore.config.fields import fields_of

    return [one.name for one in fields_of(component.record.options) if one.type is bool]


def _list(registry: Registry) -> None:
    found = registry.components("analysis")
    width = max((len(one.use) for one in found), default=0)
    for one in found:
        click.echo(f"{one.use:<{width}}  {one.record.summary}")
    if found:
        click.echo("\nscalecore analyze NAME STUDY...; scalecore analyze NAME --help has the options of one")
    else:
        click.echo("no analyses can be used; pip install scalecore-analysis, or see `scalecore plugins`")


def _describe(component: Registered) -> None:
    from scalecore.config.fields import fields_of

    click.echo(f"Analysis {component.name}: {component.record.summary} From {component.provider}.")
    rows: list[tuple[str, str]] = []
    for one in fields_of(component.record.options):
        default = "required" if one.required else f"default {_shown(one.default)}"
        rows.append((one.name, f"{one.help} ({default})"))
    formatter = click.HelpFormatter(width=100)
    with formatter.section("Options of the analysis, KEY=VALUE or --key VALUE"):
        formatter.write_dl(rows or [("none", "It has no options.")])
    click.echo(formatter.getvalue(), nl=False)


def _shown(value: Any) -> str:
    return json.dumps(value) if not isinstance(value, str) else value
