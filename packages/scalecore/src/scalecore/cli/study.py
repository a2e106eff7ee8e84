"""`scalecore run`, `plan`, `status` and `stop`."""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

import click

from scalecore.api.errors import ExitCode, ExperimentError
from scalecore.api.escaping import without_guards
from scalecore.cli.common import (
    echo_description,
    experiment_arguments,
    only_option,
    plugin_options,
    study_argument,
    warn_left_out,
    warn_removed,
)
from scalecore.cli.streams import print_line

if TYPE_CHECKING:
    from collections.abc import Sequence

    from scalecore.campaign.load import Campaign
    from scalecore.config.load import LoadedExperiment
    from scalecore.config.resolved import Resolved
    from scalecore.store.layout import StudyFolder


@click.command()
@experiment_arguments
@plugin_options
@click.option("--dry-run", is_flag=True, help="Show the plan without running it; the same as `scalecore plan`.")
@only_option
@click.option(
    "--allow-changed-code", is_flag=True, help="Resume although the code has changed; each record names its version."
)
@click.option("-q", "--quiet", is_flag=True, help="Print only the final result, warnings and errors.")
@click.option("-v", "--verbose", is_flag=True, help="Print every epoch and why each trial was chosen.")
def run(
    file: str,
    overrides: tuple[str, ...],
    no_plugins: bool,
    block: tuple[str, ...],
    dry_run: bool,
    only: tuple[str, ...],
    allow_changed_code: bool,
    quiet: bool,
    verbose: bool,
) -> None:
    """Run the study of an experiment FILE, or resume it. With `sweep:` in FILE, run all studies of the campaign.

    KEY=VALUE overrides a key of FILE: `search.trials=5`. After any interruption the same command resumes the study:
    finished trials stay, and the interrupted trial resumes from its checkpoint. Ctrl-C stops the running trial at its
    next step, with a checkpoint; a second Ctrl-C stops it immediately.

    \b
    Exit codes: 0 completed, 2 bad file, 3 plugin error, 4 data error, 5 refused, 6 failed, 7 stopped, 8 timed out.

    \b
    Examples:
      scalecore run experiment.yaml
      scalecore run experiment.yaml search.trials=20 --quiet
      scalecore run campaign.yaml --only budget-2M
    """
    verbosity = -1 if quiet else 1 if verbose else 0
    found = _load(file, overrides, no_plugins=no_plugins, block=block, silent=quiet)
    if dry_run:
        _show_plan(found, only=only, as_json=False, allow_changed_code=allow_changed_code)
        return
    from scalecore.api.analysis import TrainingContext

    registry = {"no_plugins": no_plugins, "block": list(block)}
    training = TrainingContext(registry=registry, verbosity=verbosity, allow_changed_code=allow_changed_code)
    if not isinstance(found, tuple):
        from scalecore.cli.campaign import run_all

        sys.exit(run_all(found, training, only=only))
    _refuse_only(only)
    from scalecore.study.run import run_study

    loaded, resolved = found
    end = run_study(loaded, resolved, training, say=print_line)
    if resolved.analyses and end.exit_code is ExitCode.COMPLETED:
        from scalecore.cli.analyses_at_end import run_analyses
        from scalecore.store.layout import output_folder

        folder = output_folder(resolved.experiment)
        code = run_analyses(resolved.analyses, [folder], folder=folder, training=training, say=print_line)
        sys.exit(code if code is not ExitCode.COMPLETED else end.exit_code)
    sys.exit(end.exit_code)  # guard G38


@click.command()
@experiment_arguments
@plugin_options
@only_option
@click.option("--allow-changed-code", is_flag=True, help="Plan a run with this option.")
@click.option("--json", "as_json", is_flag=True, help="Print the plan as JSON, with every architecture.")
def plan(
    file: str,
    overrides: tuple[str, ...],
    no_plugins: bool,
    block: tuple[str, ...],
    only: tuple[str, ...],
    allow_changed_code: bool,
    as_json: bool,
) -> None:
    """Show what a run of FILE would do and need, and what remains unknown. Trains and writes nothing.

    With `sweep:` in FILE, show one table of all studies, and what searches and analyses take together.

    If `scalecore run` would refuse the study, the plan ends with the reason and the same exit code: 2 bad file, 3
    plugin error, 4 data error, 5 refused.

    \b
    Examples:
      scalecore plan experiment.yaml
      scalecore plan experiment.yaml search.budget=200k --json
      scalecore plan campaign.yaml --only budget-2M
    """
    found = _load(file, overrides, no_plugins=no_plugins, block=block, silent=as_json)
    _show_plan(found, only=only, as_json=as_json, allow_changed_code=allow_changed_code)


@click.command()
@study_argument
@click.option("--json", "as_json", is_flag=True, help="Print the state as JSON.")
@click.option("--note", metavar="TEXT", help="Add a note to the study first; `status` and the report show all notes.")
def status(study: Path, *, as_json: bool, note: str | None) -> None:
    """Show the progress of a STUDY, named by its folder or its experiment file. Works during a run.

    A note is stored in the study's journal with its time. For a campaign it is added to every study that has begun.

    \b
    Examples:
      scalecore status studies/quickstart
      scalecore status experiment.yaml --json
      scalecore status experiment.yaml --note "Fan replaced before trial 12."
    """
    from scalecore.api.trials import Note
    from scalecore.campaign.run import find_campaign
    from scalecore.store.layout import find_study
    from scalecore.views.status import note_lines, status_lines, study_status

    campaign = find_campaign(study)
    if campaign is not None:
        from scalecore.cli.campaign import show_status

        warn_removed(entry.folder for entry in campaign.studies)
        if note is not None:
            _note([entry.folder for entry in campaign.studies if entry.folder.journal.exists()], note, of=campaign.path)
        show_status(campaign, as_json=as_json)
        return
    folder = find_study(study)
    warn_removed([folder])
    if note is not None:
        _note([folder], note, of=folder.path)
    found = study_status(folder)
    if as_json:
        click.echo(json.dumps(found, indent=2, allow_nan=False))
    else:
        click.echo(without_guards("\n".join(status_lines(found))))
        for line in note_lines(found["description"], (Note(**one) for one in found["notes"])):
            click.echo(line)


def _note(folders: Sequence[StudyFolder], text: str, *, of: Path) -> None:
    from scalecore.store.notes import add_note, new_note
    from scalecore.store.state import read_state

    note = new_note(text)
    if not folders:
        raise ExperimentError(f"{of}: no study of this campaign has begun, so there is none to add a note to")
    for folder in folders:
        read_state(folder.journal)  # if one is damaged, none gets the note
    for folder in folders:
        add_note(folder, note)


@click.command()
@study_argument
@click.option("--wait", is_flag=True, help="Wait until the run has ended.")
def stop(study: Path, wait: bool) -> None:
    """Stop the run of a STUDY at its next step, with a checkpoint. `scalecore run` resumes it.

    \b
    Examples:
      scalecore stop studies/quickstart
      scalecore stop experiment.yaml --wait
    """
    from scalecore.campaign.run import find_campaign
    from scalecore.store.layout import find_study
    from scalecore.store.lock import runner_of

    campaign = find_campaign(study)
    if campaign is not None:
        from scalecore.cli.campaign import stop_running

        stop_running(campaign, wait=wait)
        return
    folder = find_study(study)
    runner = runner_of(folder)
    if runner is None:
        click.echo(f"{folder.path}: this study is not running")
        return
    folder.stop_file.touch()
    click.echo(f"{folder.path}: asked {runner.who} to stop")
    while wait and runner_of(folder) is not None:
        time.sleep(0.2)
    if wait:
        click.echo("stopped")


def _load(
    file: str, overrides: tuple[str, ...], *, no_plugins: bool, block: tuple[str, ...], silent: bool
) -> Campaign | tuple[LoadedExperiment, Resolved]:
    if not silent:  # before importing plugins, which may be slow
        print_line(f"reading {file}")
    from scalecore.campaign.load import load_campaign
    from scalecore.plugins.registry import load_registry
    from scalecore.store.kept_study import load_stored
    from scalecore.store.layout import has_begun, holding_study

    registry = load_registry(no_plugins=no_plugins, block=block)
    study = holding_study(Path(file))
    if study is not None:
        found: Campaign | tuple[LoadedExperiment, Resolved] = load_stored(study, overrides=overrides, registry=registry)
    else:
        found = load_campaign(file, overrides=overrides, registry=registry, begun=has_begun)
    warn_left_out(found)
    return found


def _refuse_only(only: tuple[str, ...]) -> None:
    if only:
        raise ExperimentError("--only selects studies of a campaign, but this file has no `sweep`")


def _show_plan(
    found: Campaign | tuple[LoadedExperiment, Resolved],
    *,
    only: tuple[str, ...],
    as_json: bool,
    allow_changed_code: bool,
) -> None:
    if not isinstance(found, tuple):
        from scalecore.cli.campaign import show_plan

        sys.exit(show_plan(found, only=only, as_json=as_json, allow_changed_code=allow_changed_code))
    _refuse_only(only)
    from scalecore.planning.plan import silent
    from scalecore.planning.plan_text import plan_lines
    from scalecore.planning.preview import preview
    from scalecore.study.dry_run import foresee
    from scalecore.views.whole_plan import PlannedStudy, whole_plan
    from scalecore.views.whole_plan_text import total_lines

    say = silent if as_json else click.echo
    foreseen = foresee(*found, allow_changed_code=allow_changed_code, say=say)
    say(f"planning the trials: search {found[1].search.use}")
    found_plan = preview(foreseen.plan, foreseen.state)
    study = PlannedStudy(label=found_plan.plan.name, values={}, foreseen=foreseen, preview=found_plan)
    whole = whole_plan([study], found[1].analyses, folder=study.folder.path)
    if as_json:
        refused = None if foreseen.refusal is None else str(foreseen.refusal)
        content = {**found_plan.plain(), "whole": whole.plain(), "refused": refused}
        click.echo(json.dumps(content, indent=2, allow_nan=False))
    else:
        echo_description(found_plan.description)
        total = ["", *total_lines(whole)] if whole.analyses else []
        click.echo(without_guards("\n".join([*plan_lines(found_plan), *total])))
    if foreseen.refusal is not None:
        raise foreseen.refusal
