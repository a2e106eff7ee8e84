"""What `run`, `plan`, `status` and `stop` do with a campaign: an experiment file with `sweep:`, or its folder."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import click

from scalecore.errors import ExitCode

if TYPE_CHECKING:
    from scalecore.config.campaign import Campaign, CampaignStudy
    from scalecore.protocols import TrainingContext
    from scalecore.study.campaign import CampaignIndex
    from scalecore.study.plan import Plan
    from scalecore.trials import StudyEnd

__all__ = ["run_all", "show_plan", "show_status", "stop_running"]


def run_all(
    campaign: Campaign,
    *,
    registry: Mapping[str, Any],
    only: Sequence[str],
    verbosity: int,
    allow_changed_code: bool,
) -> ExitCode:
    """Run the campaign, print its table, and say how it ended: the worst of its studies."""
    from scalecore.protocols import TrainingContext
    from scalecore.study.campaign import find_campaign, run_campaign
    from scalecore.study.campaign_table import campaign_rows, table_lines, write_tables

    ends = run_campaign(
        campaign,
        registry=registry,
        only=only,
        verbosity=verbosity,
        allow_changed_code=allow_changed_code,
        say=click.echo,
    )
    index = find_campaign(campaign.folder)
    assert index is not None
    write_tables(index)
    rows = campaign_rows(index)
    click.echo()
    click.echo("\n".join(table_lines(rows)))
    click.echo(f"folder: {campaign.folder}")
    if campaign.analyses:
        training = TrainingContext(registry=registry, verbosity=verbosity, allow_changed_code=allow_changed_code)
        _analyse(campaign, index, rows, training)
    return worst(list(ends.values()))


def _analyse(
    campaign: Campaign, index: CampaignIndex, rows: Sequence[Mapping[str, Any]], training: TrainingContext
) -> None:
    from scalecore.study.finale import run_analyses

    missing = [row["study"] for row in rows if row["state"] not in ("completed", "exhausted")]
    if missing:
        click.echo(f"analyses wait for {len(missing)} of {len(rows)} studies: {', '.join(missing)}")
        return
    run_analyses(campaign.analyses, [index.path], folder=index.path, training=training, say=click.echo)


def worst(ends: Sequence[StudyEnd]) -> ExitCode:
    """Stopped before failed before timed out before completed."""
    from scalecore.trials import StudyEnd

    for end, code in (
        (StudyEnd.STOPPED, ExitCode.STOPPED),
        (StudyEnd.FAILED, ExitCode.FAILED),
        (StudyEnd.TIMED_OUT, ExitCode.TIMED_OUT),
    ):
        if end in ends:
            return code
    return ExitCode.COMPLETED


def show_plan(campaign: Campaign, *, only: Sequence[str], as_json: bool) -> None:
    """The plan of every selected study, one after the other."""
    from scalecore.study.campaign import plan_campaign, select
    from scalecore.study.plan_text import plan_lines

    planned = plan_campaign(campaign, select(campaign, only))
    if as_json:
        content = {study.label: _preview(study, plan) for study, plan in planned}
        click.echo(json.dumps({"campaign": campaign.name, "studies": content}, indent=2, allow_nan=False))
        return
    click.echo(f"campaign {campaign.name}: {len(planned)} studies in {campaign.folder}")
    for position, (study, plan) in enumerate(planned, start=1):
        click.echo(f"\n[{position}/{len(planned)}] {study.label}")
        click.echo("\n".join(plan_lines(_preview(study, plan))))


def _preview(study: CampaignStudy, plan: Plan) -> dict[str, Any]:
    from scalecore.study.layout import StudyFolder, output_folder
    from scalecore.study.preview import preview, state_of

    return preview(plan, state_of(StudyFolder(output_folder(study.resolved.experiment))))


def show_status(campaign: CampaignIndex, *, as_json: bool) -> None:
    """The table of all studies as it is now."""
    from scalecore.study.campaign_table import campaign_rows, table_lines

    rows = campaign_rows(campaign)
    if as_json:
        click.echo(json.dumps({"name": campaign.name, "folder": str(campaign.path), "studies": rows}, indent=2))
        return
    done = sum(row["state"] in ("completed", "exhausted") for row in rows)
    click.echo(f"campaign {campaign.name}: {done} of {len(rows)} studies completed")
    click.echo("\n".join(table_lines(rows)))
    click.echo(f"folder: {campaign.path}")


def stop_running(campaign: CampaignIndex, *, wait: bool) -> None:
    """Ask the study that runs now to stop, which ends the campaign with it."""
    from scalecore.study.lock import runner_of

    running = [entry for entry in campaign.studies if runner_of(entry.folder) is not None]
    if not running:
        click.echo(f"{campaign.path}: nobody is running a study of this campaign")
        return
    for entry in running:
        entry.folder.stop_file.touch()
        click.echo(f"{entry.folder.path}: asked to stop")
    while wait and any(runner_of(entry.folder) is not None for entry in running):
        time.sleep(0.2)
    if wait:
        click.echo("stopped")
