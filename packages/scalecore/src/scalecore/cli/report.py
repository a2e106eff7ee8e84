"""`scalecore report`: the analysis `report` of studies, under a name of its own."""

from __future__ import annotations

from pathlib import Path

import click

from scalecore.cli.common import NewPath, plugin_options


@click.command()
@click.argument("studies", metavar="STUDY...", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option("--output", type=NewPath(), metavar="FOLDER", help="Where the files go.")
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
    """Tell everything about a STUDY: its folder, its experiment file, or a folder of studies.

    Printed as Markdown, and stored as analyses/report in the study's folder: result.json, result.md, and report.html
    with figures and all trials, which opens offline. Works while a study runs, and changes nothing in it. It is the
    analysis `report` of scalecore-analysis.

    \b
    Examples:
      scalecore report studies/quickstart
      scalecore report studies --output report
    """
    from scalecore.cli.analyze import analyze

    context.invoke(
        analyze,
        name="report",
        # Absolute, so that none reads like an option of the analysis.
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
