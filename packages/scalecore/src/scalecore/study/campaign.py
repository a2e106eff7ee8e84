"""A campaign: the studies of one experiment file with `sweep:`, run in order, resumed and told about as a whole.

Each study keeps its own folder, journal and lock; the campaign adds nothing that could be lost. Running it again skips
what is complete and continues the rest.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from attrs import frozen

from scalecore.config.campaign import Campaign, CampaignStudy, campaign_folder
from scalecore.config.load import read_tree
from scalecore.errors import DataError, ExperimentError, PluginError, RefusedError, ScalecoreError, StudyError
from scalecore.files import plain, read_json, write_json
from scalecore.study.components import create
from scalecore.study.continuation import compare_study
from scalecore.study.first_trials import no_result
from scalecore.study.journal import read_journal
from scalecore.study.layout import StudyFolder, is_file, output_folder
from scalecore.study.plan import Plan, build_plan
from scalecore.study.run import run_study
from scalecore.study.state import replay
from scalecore.trials import StudyEnd

__all__ = ["CampaignIndex", "StudyEntry", "find_campaign", "plan_campaign", "run_campaign", "select"]

INDEX = "campaign.json"
COMPLETE = (StudyEnd.COMPLETED, StudyEnd.EXHAUSTED)


@frozen(kw_only=True)
class StudyEntry:
    """One study of a campaign as its index has it."""

    label: str
    values: Mapping[str, Any]
    folder: StudyFolder


@frozen(kw_only=True)
class CampaignIndex:
    """A campaign's folder and its studies in their order, whether they have begun or not."""

    name: str
    path: Path
    studies: tuple[StudyEntry, ...]


def select(campaign: Campaign, only: Sequence[str]) -> tuple[CampaignStudy, ...]:
    """The studies whose label is, or has as its parts, one of `only`; all where it is empty.

    `budget-2M` selects every study of that budget. Raises `ExperimentError` for one that selects nothing.
    """
    for text in only:
        if not any(_selected(study, text) for study in campaign.studies):
            labels = ", ".join(study.label for study in campaign.studies)
            raise ExperimentError(f"--only {text}: the campaign {campaign.name} has no such study; it has {labels}")
    return tuple(study for study in campaign.studies if not only or any(_selected(study, text) for text in only))


def _selected(study: CampaignStudy, text: str) -> bool:
    return f"_{text}_" in f"_{study.label}_"


def is_complete(study: CampaignStudy) -> bool:
    """Whether the study ended with as many trials as the file asks for, under the settings of the file."""
    folder = StudyFolder(output_folder(study.resolved.experiment))
    if not folder.journal.exists():
        return False
    state = replay(read_journal(folder.journal))
    found = compare_study(state, study.resolved, folder=folder.path)
    same = bool(state.experiment) and not found.refused and not found.allowed
    # Version 0.1 called a study without a completed trial complete.
    done = state.end in COMPLETE and no_result(state.counted) is None
    return same and done and state.total == study.resolved.experiment.search.trials


def plan_campaign(campaign: Campaign, studies: Sequence[CampaignStudy]) -> list[tuple[CampaignStudy, Plan]]:
    """The plan of every study; raises one error that names all studies that cannot be planned or are refused."""
    for analysis in campaign.analyses:
        create("analysis", analysis)
    planned, problems = [], []
    for study in studies:
        try:
            plan = build_plan(study.loaded, study.resolved, folder=output_folder(study.resolved.experiment))
        except ScalecoreError as error:
            problems.append((study, error))
            continue
        refused = [finding for finding in plan.findings if finding.level == "refuse"]
        if refused:
            problems.append((study, RefusedError("; ".join(f"{one.subject}: {one.message}" for one in refused))))
        planned.append((study, plan))
    if problems:
        lines = "\n".join(f"  {study.label}: {error}" for study, error in problems)
        head = f"{len(problems)} of {len(studies)} studies of the campaign cannot be run, so none is started"
        first = problems[0][1]
        # Subclasses are made of other things than a message.
        kinds = (ExperimentError, PluginError, DataError, RefusedError, StudyError)
        raise next((kind for kind in kinds if isinstance(first, kind)), ScalecoreError)(f"{head}:\n{lines}")
    return planned


def run_campaign(
    campaign: Campaign,
    *,
    registry: Mapping[str, Any],
    only: Sequence[str] = (),
    verbosity: int = 0,
    allow_changed_code: bool = False,
    say: Callable[[str], None],
) -> dict[str, StudyEnd]:
    """Run the studies that are not complete, in order, and say how each selected one ended, by its label.

    A study that fails or runs out of time does not keep the next one from running; one that is stopped ends the
    campaign. Before the first one runs, all that are to run are planned, so that a mistake in the last one costs no
    day. `say` prints one line.
    """
    studies = select(campaign, only)
    open_ones = [study for study in studies if not is_complete(study)]
    plan_campaign(campaign, open_ones)
    campaign.folder.mkdir(parents=True, exist_ok=True)
    _write_index(campaign)
    ends: dict[str, StudyEnd] = {}
    for position, study in enumerate(studies, start=1):
        head = f"[{position}/{len(studies)}] {study.label}"
        if study not in open_ones:
            say(f"{head}: complete, skipped")
            ends[study.label] = StudyEnd.COMPLETED
            continue
        say(f"{head}: {', '.join(f'{key}={value}' for key, value in study.values.items())}")
        try:
            ends[study.label] = run_study(
                study.loaded,
                study.resolved,
                registry=registry,
                verbosity=verbosity,
                allow_changed_code=allow_changed_code,
            )
        except StudyError as error:
            say(f"{head}: {error}")
            ends[study.label] = StudyEnd.FAILED
        if ends[study.label] is StudyEnd.STOPPED:
            break
    return ends


def find_campaign(path: Path) -> CampaignIndex | None:
    """The campaign of a command line's argument, its folder or its experiment file; None where it is none.

    Raises `ExperimentError` for an experiment file with a sweep that was never run.
    """
    folder = path
    if is_file(path):
        tree = read_tree(path, ())
        if "sweep" not in tree.root:
            return None
        folder = campaign_folder(tree, path.absolute().parent)
        if not (folder / INDEX).exists():
            raise ExperimentError(
                f"{path}: no campaign here (there is no {folder / INDEX}); start one with `scalecore run`"
            )
    content = read_json(folder / INDEX)
    if not _is_index(content):
        return None
    return CampaignIndex(
        name=content["name"],
        path=folder,
        studies=tuple(
            StudyEntry(label=one["label"], values=one["values"], folder=StudyFolder(folder / one["label"]))
            for one in content["studies"]
        ),
    )


def _is_index(content: Any) -> bool:
    """Whether it is what `_write_index` writes: other programs have files of that name, too."""
    studies = content.get("studies") if isinstance(content, dict) else None
    whole = isinstance(studies, list) and all(
        isinstance(one, dict) and {"label", "values"} <= {*one} for one in studies
    )
    return whole and isinstance(content.get("name"), str)


def _write_index(campaign: Campaign) -> None:
    """The studies of the file; those of an earlier form of the file that have begun stay listed, behind them."""
    known = {study.label for study in campaign.studies}
    entries = [{"label": study.label, "values": plain(dict(study.values))} for study in campaign.studies]
    before = read_json(campaign.folder / INDEX)
    if _is_index(before):
        entries += [
            one
            for one in before["studies"]
            if one["label"] not in known and StudyFolder(campaign.folder / one["label"]).journal.exists()
        ]
    write_json(campaign.folder / INDEX, {"name": campaign.name, "studies": entries})
