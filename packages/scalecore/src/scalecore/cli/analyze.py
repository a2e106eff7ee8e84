"""`scalecore analyze`: run an analysis on studies, print its result and store it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from scalecore.cli.common import NewPath, named_component, plugin_options, warn_removed
from scalecore.cli.component_arguments import describe, flags_of, list_components, split_arguments, with_plugin_files

if TYPE_CHECKING:
    from scalecore.plugins.registry import Registry


@click.command(context_settings={"ignore_unknown_options": True}, add_help_option=False)
@click.argument("name", required=False)
@click.argument("arguments", metavar="[STUDY]... [KEY=VALUE]...", nargs=-1, type=click.Path())
@click.option("--output", type=NewPath(), metavar="FOLDER", help="Write the files to FOLDER.")
@click.option("--json", "as_json", is_flag=True, help="Print the result as JSON.")
@click.option("--no-files", is_flag=True, help="Print the result without writing files.")
@click.option("--dry-run", is_flag=True, help="Show what the analysis would train, and the cost.")
@click.option("--allow-changed-code", is_flag=True, help="Train although the code has changed since the study.")
@click.option("-h", "--help", "show_help", is_flag=True, help="Show this message and the options of analysis NAME.")
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
    """Run the analysis NAME on studies. A STUDY is a study's folder, its experiment file, or a folder of studies.

    Works during a run and changes nothing in a study. An analysis that trains, such as cross-budget, requires finished
    studies. KEY=VALUE or --key VALUE sets an option of the analysis. The result is printed as Markdown and stored with
    its figures in analyses/NAME in the study's folder, or in the common parent folder of several studies. Without
    NAME, lists the analyses.

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
    component = named_component(with_plugin_files(registry, "analysis", name, arguments), "analysis", name)
    if show_help:
        click.echo(f"{context.get_help()}\n")
        describe(component)
        return
    from scalecore.api.analysis import TrainingContext
    from scalecore.config.standalone import standalone_options
    from scalecore.store.layout import StudyFolder
    from scalecore.views.analysis import analyse, listing, output_folder_of, result_json, result_markdown, write_result
    from scalecore.views.read_study import read_studies

    paths, overrides = split_arguments(arguments, flags=flags_of(component))
    options: Any = standalone_options(component.record.options, overrides)
    studies = read_studies(paths)
    warn_removed(StudyFolder(study.folder) for study in studies)
    training = TrainingContext(
        registry={"no_plugins": no_plugins, "block": list(block)},
        verbosity=-2 if as_json else 0,
        allow_changed_code=allow_changed_code,
    )
    analysed = analyse(component, options=options, studies=studies, training=training, dry_run=dry_run)
    if as_json:
        click.echo(json.dumps(result_json(analysed), indent=2, allow_nan=False, ensure_ascii=False))
    else:
        click.echo(result_markdown(analysed), nl=False)
    if not no_files and not dry_run:
        folder = output or output_folder_of(component.use, studies)
        written = write_result(analysed, folder)
        click.echo(f"written to {folder}: {listing(written, folder)}", err=as_json)


def _list(registry: Registry) -> None:
    found = registry.components("analysis")
    list_components(found)
    if found:
        click.echo("\nrun one: scalecore analyze NAME STUDY...; show its options: scalecore analyze NAME --help")
    else:
        click.echo("no analyses are available; run `pip install scalecore-analysis`, or see `scalecore plugins`")
