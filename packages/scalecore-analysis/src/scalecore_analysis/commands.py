"""The commands `scalecore report`, which runs the analysis `report`, `confirm` and `import`."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from scalecore.api.commands import (
    NewPath,
    analyze,
    end_early,
    opened_study,
    plugin_options,
    retraining_options,
    study_argument,
    warn_removed,
)
from scalecore.api.errors import ExitCode

if TYPE_CHECKING:
    from scalecore.api.analysis import TrainingContext


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


@click.command()
@study_argument
@click.option(
    "--top", type=click.IntRange(min=1), default=3, show_default=True, help="Number of best trials to retrain."
)
@click.option("--seeds", type=click.IntRange(min=1), default=5, show_default=True, help="Fresh seeds per trial.")
@click.option("--test", is_flag=True, help="Also evaluate the replicates on test data, counted as one opening.")
@retraining_options
def confirm(study: Path, top: int, seeds: int, test: bool, how: TrainingContext) -> None:
    """Retrain the best trials of a STUDY on fresh seeds and test whether they differ.

    STUDY is the study's folder or its experiment file. The best value of a search is optimistic, because it was
    selected from many noisy values. The replicates measure this optimism and the variation between seeds, and test
    whether the best trial is significantly better than the others. They run like trials but do not count as trials of
    the search. After an interruption, or with more seeds or trials, the command trains only the missing replicates.

    \b
    Exit codes: 0 completed, 2 bad command line, 3 plugin, 4 data, 5 refused, 6 failed, 7 stopped, 8 time limit.

    \b
    Examples:
      scalecore confirm studies/spy-2m-h1
      scalecore confirm studies/spy-2m-h1 --top 2 --seeds 10 --test
    """
    from scalecore_analysis.confirmation.confirm import confirm as run
    from scalecore_analysis.confirmation.text import report_lines

    with opened_study(study, how) as found:
        done = run(found, top=top, seeds=seeds, test=test)
    if done.content is None:
        end_early(done.end)
    else:
        click.echo("\n".join(report_lines(done.content)))
        click.echo(f"results: {done.folder}")
