"""`scalecore import`: warm-start a study from earlier results."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import click

from scalecore.api.errors import ExitCode
from scalecore.cli.common import plugin_options, warn_removed


@click.command("import")
@click.argument("paths", metavar="PATH...", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option(
    "--into", required=True, type=click.Path(path_type=Path), help="The study's folder, or an experiment file."
)
@click.option("--dry-run", is_flag=True, help="Show a summary and the verdicts, and write nothing.")
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
    """Warm-start the study INTO from earlier results, with a verdict for each record.

    PATH is a JSON file with one trial or a list of them, a CSV table, the folder of a study, or a folder of such files.
    --dry-run begins with one summary of all files: exact repeats, trials within the budget in the name of their file,
    content that contradicts the path, forced trials, optima at an edge. Parameters are counted, never believed.

    What is taken is journalled as imported: it warm-starts the strategy, does not count as a trial, and is never the
    study's best. Importing again changes nothing.

    \b
    Exit codes: 0 something was taken or is known already, 2 bad file, 5 every record was refused.

    \b
    Examples:
      scalecore import old/trials old/results.csv --into experiment.yaml --dry-run
      scalecore import studies/earlier --into studies/now
    """
    from scalecore.importing import import_results as importing
    from scalecore.plugins.registry import load_registry
    from scalecore.store.layout import StudyFolder

    registry = load_registry(no_plugins=no_plugins, block=block)
    imported = importing.import_results(paths, into, registry=registry, dry_run=dry_run, other_data=allow_other_data)
    warn_removed([StudyFolder(imported.folder)])
    if as_json:
        click.echo(json.dumps(importing.imported_plain(imported), indent=2, allow_nan=False))
    else:
        click.echo("\n".join(importing.imported_lines(imported)))
    if all(one.verdict == "refused" for one in imported.verdicts):
        sys.exit(ExitCode.REFUSED)
