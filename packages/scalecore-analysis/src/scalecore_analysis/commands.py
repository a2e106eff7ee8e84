"""The commands `scalecore report`, which runs the analysis `report`, and `scalecore import`."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import click

from scalecore.api.commands import NewPath, analyze, plugin_options, warn_removed
from scalecore.api.errors import ExitCode


@click.command()
@click.argument("studies", metavar="STUDY...", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option("--output", type=NewPath(), metavar="FOLDER", help="Write the files to FOLDER.")
@click.option("--json", "as_json", is_flag=True, help="Print the report as JSON.")
@plugin_options
@click.pass_context
def report(
    context: click.Context,
    studies: tuple[Path, ...],
    output: Path | None,
    as_json: bool,
    no_plugins: bool,
    block: tuple[str, ...],
) -> None:
    """Write a report of one or more studies.

    STUDY is a study's folder, its experiment file, or a folder of studies such as a campaign's. The report is printed
    as Markdown and stored in analyses/report of the study's folder: result.json, result.md, and report.html, which
    contains figures and all trials and opens offline. For several studies, report.html is about all of them, each has a
    page of its name, and figures and tables for papers are in the folders figures and tables. Studies may be running
    and are not changed. The command runs the analysis `report` of scalecore-analysis.

    \b
    Examples:
      scalecore report studies/quickstart
      scalecore report studies/spy-campaign
      scalecore report studies --output report
    """
    context.invoke(
        analyze,
        name="report",
        # Absolute, so that no path can be mistaken for an option of the analysis.
        arguments=tuple(str(study.absolute()) for study in studies),
        output=output,
        as_json=as_json,
        no_files=False,
        dry_run=False,
        allow_changed_code=False,
        show_help=False,
        no_plugins=no_plugins,
        block=block,
    )


@click.command("import")
@click.argument("paths", metavar="PATH...", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option(
    "--into", required=True, type=click.Path(path_type=Path), help="The study's folder, or an experiment file."
)
@click.option("--dry-run", is_flag=True, help="Show a summary and the verdicts; write nothing.")
@click.option("--allow-other-data", is_flag=True, help="Also import results that were measured on other data.")
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
    """Warm-start a study from earlier results.

    PATH is a JSON file with one trial or a list of trials, a CSV table, the folder of a study, or a folder of such
    files. Every record gets a verdict. --dry-run first prints a summary of all files: exact repeats, trials within the
    budget in their file name, content that contradicts the path, forced trials, optima at an edge. Parameter counts are
    recomputed, not read from the records.

    Imported records are added to the journal. They warm-start the strategy, do not count as trials, and are never the
    study's best. Importing them again changes nothing.

    \b
    Exit codes: 0 a record was imported or already known, 2 bad file, 5 every record was refused.

    \b
    Examples:
      scalecore import old/trials old/results.csv --into experiment.yaml --dry-run
      scalecore import studies/earlier --into studies/now
    """
    from scalecore.api.engine import load_registry
    from scalecore.api.studies import StudyFolder
    from scalecore_analysis.importing import import_results as importing

    registry = load_registry(no_plugins=no_plugins, block=block)
    imported = importing.import_results(paths, into, registry=registry, dry_run=dry_run, other_data=allow_other_data)
    warn_removed([StudyFolder(imported.folder)])
    if as_json:
        click.echo(json.dumps(importing.imported_plain(imported), indent=2, allow_nan=False))
    else:
        click.echo("\n".join(importing.imported_lines(imported)))
    if all(one.verdict == "refused" for one in imported.verdicts):
        sys.exit(ExitCode.REFUSED)
