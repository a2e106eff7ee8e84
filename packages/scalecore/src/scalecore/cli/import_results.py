"""`scalecore import`: old results teach a study."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import click

from scalecore.cli.common import plugin_options
from scalecore.errors import ExitCode


@click.command("import")
@click.argument("paths", metavar="PATH...", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option(
    "--into", required=True, type=click.Path(path_type=Path), help="The study's folder, or an experiment file."
)
@click.option("--dry-run", is_flag=True, help="Show the verdicts and write nothing.")
@click.option("--allow-other-data", is_flag=True, help="Take results that were measured on other data, too.")
@click.option("--json", "as_json", is_flag=True, help="Print the verdicts as JSON.")
@plugin_options
def import_results(
    paths: tuple[Path, ...],
    into: Path,
    dry_run: bool,
    allow_other_data: bool,
    as_json: bool,
    no_plugins: bool,
    block: tuple[str, ...],
) -> None:
    """Let old results teach the study INTO, with a verdict for each record.

    PATH is a trial file, a list of trials, or the folder of a study. Parameters are counted, never believed. What is
    taken is journalled as imported: it teaches the strategy, does not count as a trial, and is never the study's best.
    Importing again changes nothing.

    \b
    Exit codes: 0 something was taken or is known already, 2 bad file, 5 every record was refused.

    \b
    Examples:
      scalecore import old/trials --into experiment.yaml --dry-run
      scalecore import studies/earlier --into studies/now
    """
    from scalecore.plugins.registry import load_registry
    from scalecore.study import importing

    registry = load_registry(no_plugins=no_plugins, block=block)
    folder, verdicts = importing.import_results(
        paths, into, registry=registry, dry_run=dry_run, other_data=allow_other_data
    )
    if as_json:
        click.echo(json.dumps(importing.verdicts_plain(folder, verdicts, dry_run=dry_run), indent=2, allow_nan=False))
    else:
        click.echo("\n".join(importing.verdict_lines(folder, verdicts, dry_run=dry_run)))
    if all(one.verdict == "refused" for one in verdicts):
        sys.exit(ExitCode.REFUSED)
