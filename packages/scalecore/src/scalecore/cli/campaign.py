"""`run`, `plan`, `status` and `stop` for a campaign: an experiment file with `sweep:`, or its folder."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import click

from scalecore.api.errors import ExitCode
from scalecore.api.escaping import without_guards
from scalecore.cli.common import echo_description
from scalecore.cli.streams import print_line

if TYPE_CHECKING:
    from scalecore.api.analysis import TrainingContext
    from scalecore.campaign.load import Campaign
    from scalecore.campaign.run import CampaignIndex


def run_all(campaign: Campaign, training: TrainingContext, *, only: Sequence[str]) -> ExitCode:
    """Run the campaign, print its table, and return the worst exit code of its studies."""
    from scalecore.campaign.run import campaign_lock, find_campaign, run_campaign, worst
    from scalecore.campaign.table import table_lines, write_tables

    ends = run_campaign(campaign, training, only=only, say=print_line)
    with campaign_lock(campaign.folder):  # the last of several jobs writes the table with all ends
        index = find_campaign(campaign.folder)
        assert index is not None
        rows = write_tables(index)
    click.echo()
    click.echo("\n".join(table_lines(rows)))
    click.echo(f"folder: {campaign.folder}")
    if campaign.analyses and only:
        click.echo("analyses not run: --only runs studies; without it, the same command runs the analyses")
    elif campaign.analyses:
        return worst([*ends.values(), _analyse(campaign, index, rows, training)])
    return worst(ends.values())


def _analyse(
    campaign: Campaign, index: CampaignIndex, rows: Sequence[Mapping[str, Any]], training: TrainingContext
) -> ExitCode:
    from scalecore.cli.analyses_at_end import run_analyses

    missing = [row["study"] for row in rows if row["state"] not in ("completed", "exhausted")]
    if missing:
        click.echo(f"analyses not run: {len(missing)} of {len(rows)} studies are incomplete: {', '.join(missing)}")
        return ExitCode.COMPLETED
    return run_analyses(campaign.analyses, [index.path], folder=index.path, training=training, say=print_line)


def show_plan(campaign: Campaign, *, only: Sequence[str], as_json: bool, allow_changed_code: bool) -> ExitCode:
    """Print the plan of the selected studies; return the exit code of a run that would refuse one, else 0.

    The text of several studies is one table; that of a single study is complete, as is JSON.
    """
    from scalecore.campaign.run import none_to_run, plan_campaign, select, worst
    from scalecore.planning.plan import silent
    from scalecore.planning.plan_text import plan_lines
    from scalecore.planning.preview import preview
    from scalecore.views.whole_plan import PlannedStudy, whole_plan
    from scalecore.views.whole_plan_text import search_lines, total_lines, warning_lines

    studies = select(campaign, only)
    say = silent if as_json else click.echo
    found, refused = plan_campaign(studies, allow_changed_code=allow_changed_code, say=say)
    reasons = {label: str(error) for label, error in refused.items()}
    planned = [
        PlannedStudy(
            label=study.label,
            values=study.values,
            foreseen=foreseen,
            preview=preview(foreseen.plan, foreseen.state),
        )
        for study, foreseen in found
    ]
    # `run --only` runs no analyses.
    whole = whole_plan(planned, () if only else campaign.analyses, folder=campaign.folder)
    if as_json:
        plans = {one.label: one.preview.plain() for one in planned}
        content = {"campaign": campaign.name, "studies": plans, "whole": whole.plain(), "refused": reasons}
        click.echo(json.dumps(content, indent=2, allow_nan=False))
    elif planned:
        echo_description(planned[0].preview.description)
        count = f"{len(planned)} of {len(campaign.studies)}"
        lines = [f"campaign {campaign.name}: {count} studies in {campaign.folder}", ""]
        if len(studies) == 1:
            lines += [planned[0].label, *plan_lines(planned[0].preview)]
        else:
            lines += [*search_lines(whole), "Data, baselines and shapes of one study: --only LABEL", ""]
            lines += warning_lines(whole, {one.label: one.preview.plan for one in planned})
        click.echo(without_guards("\n".join([*lines, "", *total_lines(whole)])))
    if refused and len(refused) == len(studies):
        raise none_to_run(refused, of=len(studies))
    for label, reason in reasons.items():
        click.echo(without_guards(f"{label} cannot run, the other studies can: {reason}"), err=True)
    return worst([error.exit_code for error in refused.values()])


def show_status(campaign: CampaignIndex, *, as_json: bool) -> None:
    """Print the current table of all studies."""
    from scalecore.api.trials import Note
    from scalecore.campaign.table import campaign_rows, table_lines
    from scalecore.views.status import note_lines

    rows = campaign_rows(campaign)
    if as_json:
        click.echo(json.dumps({"name": campaign.name, "folder": str(campaign.path), "studies": rows}, indent=2))
        return
    done = sum(row["state"] in ("completed", "exhausted") for row in rows)
    click.echo(f"campaign {campaign.name}: {done} of {len(rows)} studies completed")
    click.echo("\n".join(table_lines(rows)))
    click.echo(f"folder: {campaign.path}")
    description = next((row["description"] for row in rows if row["description"]), None)
    notes = {one["key"]: Note(**one) for row in rows for one in row["notes"]}  # each once, as `--note` adds it
    for line in note_lines(description, sorted(notes.values(), key=lambda note: (note.written, note.key))):
        click.echo(line)


def stop_running(campaign: CampaignIndex, *, wait: bool) -> None:
    """Ask the running study to stop, which also ends the campaign."""
    from scalecore.store.lock import runner_of

    running = [entry for entry in campaign.studies if runner_of(entry.folder) is not None]
    if not running:
        click.echo(f"{campaign.path}: no study of this campaign is running")
        return
    for entry in running:
        entry.folder.stop_file.touch()
        click.echo(f"{entry.folder.path}: asked to stop")
    while wait and any(runner_of(entry.folder) is not None for entry in running):
        time.sleep(0.2)
    if wait:
        click.echo("stopped")
