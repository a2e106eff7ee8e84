"""Run, resume and report a campaign: the studies of one experiment file with `sweep:`, in order.

Each study has its own folder, journal and lock; the campaign stores nothing that could be lost. Running it again skips
complete studies and resumes the others.
"""

from __future__ import annotations

import traceback
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from attrs import frozen
from filelock import FileLock

from scalecore.api.analysis import TrainingContext
from scalecore.api.errors import (
    DataError,
    ExitCode,
    ExperimentError,
    PluginError,
    RefusedError,
    ScalecoreError,
    StudyError,
)
from scalecore.api.files import write_json
from scalecore.api.record_parts import Part
from scalecore.api.trials import StudyEnd
from scalecore.campaign.load import Campaign, CampaignStudy, campaign_folder
from scalecore.config.kept import find_kept, read_kept
from scalecore.config.load import read_tree
from scalecore.planning.continuation import compare_study
from scalecore.planning.plan import silent
from scalecore.store.layout import CAMPAIGN, StudyFolder, is_file, output_folder
from scalecore.store.lock import runner_of
from scalecore.store.state import read_state
from scalecore.study.dry_run import Foreseen, foresee
from scalecore.study.repeated_failures import no_result
from scalecore.study.run import run_study

COMPLETE = (StudyEnd.COMPLETED, StudyEnd.EXHAUSTED)
_FROM_THE_WORST = (
    *(ExitCode.STOPPED, ExitCode.UNEXPECTED, ExitCode.FAILED, ExitCode.REFUSED, ExitCode.DATA, ExitCode.PLUGIN),
    *(ExitCode.BAD_FILE, ExitCode.TIMED_OUT, ExitCode.COMPLETED),
)


@frozen(kw_only=True, slots=False)
class ProblemFile(Part):
    """The reason why a study failed, and its exit code."""

    reason: str
    code: int


@frozen(kw_only=True, slots=False)
class EntryFile(Part):
    """A study in the index of its campaign."""

    label: str
    values: Mapping[str, object]
    problem: ProblemFile | None = None


@frozen(kw_only=True, slots=False)
class CampaignFile(Part):
    """The index of a campaign, as stored in its folder."""

    name: str
    studies: Sequence[EntryFile]


WRITTEN_ANEW = "`scalecore run` writes it again"


@frozen(kw_only=True)
class StudyEntry:
    """One study in the index of a campaign."""

    label: str
    values: Mapping[str, Any]
    folder: StudyFolder
    problem: ProblemFile | None = None
    """Reason and exit code of the last run if it failed; otherwise None."""


@frozen(kw_only=True)
class CampaignIndex:
    """A campaign's folder and its studies in order, begun or not."""

    name: str
    path: Path
    studies: tuple[StudyEntry, ...]


def select(campaign: Campaign, only: Sequence[str]) -> tuple[CampaignStudy, ...]:
    """The studies with one of `only` as their label or as parts of it; all studies if `only` is empty.

    `budget-2M` selects every study of that budget. Raises `ExperimentError` for a text that selects nothing.
    """
    for text in only:
        if not any(_selected(study, text) for study in campaign.studies):
            labels = ", ".join(study.label for study in campaign.studies)
            raise ExperimentError(f"--only {text}: the campaign {campaign.name} has no such study; it has {labels}")
    return tuple(study for study in campaign.studies if not only or any(_selected(study, text) for text in only))


def _selected(study: CampaignStudy, text: str) -> bool:
    return f"_{text}_" in f"_{study.label}_"


def is_complete(study: CampaignStudy) -> bool:
    """Whether the study ended with all the trials of the file, under the settings of the file."""
    folder = _folder(study)
    if not folder.journal.exists():
        return False
    state = read_state(folder.journal)
    found = compare_study(state, study.resolved, folder=folder.path)
    same = bool(state.experiment) and not found.refused and not found.allowed
    # In version 0.1, a study without a completed trial counted as complete.
    done = state.end in COMPLETE and no_result(state.counted) is None
    return same and done and state.total == study.resolved.experiment.search.trials


def plan_campaign(
    studies: Sequence[CampaignStudy], *, allow_changed_code: bool = False, say: Callable[[str], None] = silent
) -> tuple[list[tuple[CampaignStudy, Foreseen]], dict[str, ScalecoreError]]:
    """The plan of each study that has one, and by label the errors with which a run would refuse studies.

    `say` prints one line before each.
    """
    planned: list[tuple[CampaignStudy, Foreseen]] = []
    refused: dict[str, ScalecoreError] = {}
    for study in studies:
        say(f"planning {study.label}")
        try:
            foreseen = foresee(study.loaded, study.resolved, allow_changed_code=allow_changed_code)
            # A run skips complete studies.
            if foreseen.refusal is not None and not is_complete(study):
                refused[study.label] = foreseen.refusal
        except ScalecoreError as error:
            refused[study.label] = error
            continue
        planned.append((study, foreseen))
    return planned, refused


def none_to_run(refused: Mapping[str, ScalecoreError], *, of: int) -> ScalecoreError:
    """One error for a campaign in which no study can run: all reasons, and the worst exit code."""
    lines = "\n".join(f"  {label}: {error}" for label, error in refused.items())
    code = worst(error.exit_code for error in refused.values())
    # Subclasses have other arguments than a message.
    kinds = (ExperimentError, PluginError, DataError, RefusedError, StudyError)
    kind = next((kind for kind in kinds if kind.exit_code is code), ScalecoreError)
    return kind(f"{len(refused)} of {of} studies of the campaign cannot run, so none is started:\n{lines}")


def worst(codes: Iterable[ExitCode]) -> ExitCode:
    """The exit code of a campaign: the worst of its studies. A stop comes first, since it ends the whole campaign."""
    return min(codes, key=_FROM_THE_WORST.index, default=ExitCode.COMPLETED)


def run_campaign(
    campaign: Campaign, training: TrainingContext, *, only: Sequence[str] = (), say: Callable[[str], None]
) -> dict[str, ExitCode]:
    """Run the studies that are not complete, in order; return the exit code of each selected study by label.

    If a study is refused, fails or times out, the next one runs, and the campaign's index keeps the reason. A stopped
    study ends the campaign. All studies are planned before the first one runs, so that a mistake in the last one is
    reported at once; if none can run, an error is raised, and nothing is written except the reasons of studies that
    `only` selects. `say` prints one line.
    """
    studies = select(campaign, only)
    ends: dict[str, ExitCode] = {}
    refused: dict[str, ScalecoreError] = {}
    open_ones: list[CampaignStudy] = []
    for study in studies:
        try:
            if not is_complete(study):
                open_ones.append(study)
        except ScalecoreError as error:  # its journal cannot be read
            refused[study.label] = error
    before = say if training.verbosity >= 0 else silent
    _, found = plan_campaign(open_ones, allow_changed_code=training.allow_changed_code, say=before)
    refused |= found
    if refused and len(refused) == len(studies):
        if only:  # one job of several: the others run
            index = _Index(campaign, selected=studies)
            for study in studies:
                index.note(study, str(refused[study.label]), code=refused[study.label].exit_code)
        raise none_to_run(refused, of=len(studies))
    for label, refusal in refused.items():
        say(f"{label} cannot run, the other studies can: {refusal}")
    index = _Index(campaign, selected=studies)
    for position, study in enumerate(studies, start=1):
        label, head = study.label, f"[{position}/{len(studies)}] {study.label}"
        if study not in open_ones and label not in refused:
            say(f"{head}: complete, skipped")
            ends[label] = ExitCode.COMPLETED
            continue
        say(f"{head}: {', '.join(f'{key}={value}' for key, value in study.values.items())}")
        try:
            # A refused study is tried too: the reason may no longer apply.
            ends[label] = run_study(study.loaded, study.resolved, training, say=say).exit_code
            index.note(study, None, code=ends[label])
        except ScalecoreError as error:
            say(f"{head}: failed: {error}")
            ends[label] = error.exit_code
            index.note(study, str(error), code=error.exit_code)
        except Exception as error:
            # A bug in one study must not stop the others, but its traceback is needed.
            traceback.print_exc()
            say(f"{head}: failed: {type(error).__name__}: {error}")
            ends[label] = ExitCode.UNEXPECTED
            index.note(study, f"{type(error).__name__}: {error}", code=ExitCode.UNEXPECTED)
        if ends[label] is ExitCode.STOPPED:
            break
    return ends


def find_campaign(path: Path) -> CampaignIndex | None:
    """The campaign that an argument names, by its folder or its experiment file; None if it names none.

    Raises `ExperimentError` for an experiment file with a sweep that was never run.
    """
    folder = path
    if is_file(path):
        tree = read_tree(path, ())
        if "sweep" not in tree.root:
            return None
        folder = campaign_folder(tree, path.absolute().parent)
        if not (folder / CAMPAIGN).exists():
            raise ExperimentError(
                f"{path}: no campaign here (there is no {folder / CAMPAIGN}); start one with `scalecore run`"
            )
    content = find_kept(folder / CAMPAIGN, CampaignFile)
    if content is None:  # other programs use this file name too
        if folder != path:
            read_kept(folder / CAMPAIGN, CampaignFile, error=ExperimentError, remedy=WRITTEN_ANEW)
        return None
    entries = (
        StudyEntry(label=one.label, values=one.values, folder=StudyFolder(folder / one.label), problem=one.problem)
        for one in content.studies
    )
    return CampaignIndex(name=content.name, path=folder, studies=tuple(entries))


def campaign_lock(folder: Path) -> FileLock:
    """The lock of the files that all studies of a campaign share."""
    return FileLock(folder / f".{CAMPAIGN}.lock")


class _Index:
    """The file that lists the studies of a campaign. Several processes may run studies of one campaign, so each change
    reads the file and replaces it under a lock.
    """

    def __init__(self, campaign: Campaign, *, selected: Sequence[CampaignStudy]) -> None:
        """Begun studies of an earlier version of the file stay listed, after those of the file.

        A study that failed before and is not `selected` now keeps its reason, and so does one that another process
        runs.
        """
        self._campaign = campaign
        campaign.folder.mkdir(parents=True, exist_ok=True)
        self._lock = campaign_lock(campaign.folder)
        runs = {study.label for study in selected if runner_of(_folder(study)) is None}
        with self._changed() as problems:
            for label in runs:
                problems[label] = None

    def note(self, study: CampaignStudy, reason: str | None, *, code: ExitCode) -> None:
        """Keep why a study failed; None if it did not. A study that another process runs did not fail."""
        if reason is not None and runner_of(_folder(study)) is not None:
            return
        with self._changed() as problems:
            problems[study.label] = None if reason is None else ProblemFile(reason=reason, code=int(code))

    @contextmanager
    def _changed(self) -> Iterator[dict[str, ProblemFile | None]]:
        """Yield the problem of each study, and write the file with the changed ones."""
        file = self._campaign.folder / CAMPAIGN
        with self._lock:
            before = find_kept(file, CampaignFile)
            old = {} if before is None else {one.label: one for one in before.studies}
            problems = {label: one.problem for label, one in old.items()}
            yield problems
            entries = [
                EntryFile(label=study.label, values=dict(study.values), problem=problems.get(study.label))
                for study in self._campaign.studies
            ]
            own = {entry.label for entry in entries}
            entries += [
                one
                for label, one in old.items()
                if label not in own and StudyFolder(self._campaign.folder / label).journal.exists()
            ]
            write_json(file, CampaignFile(name=self._campaign.name, studies=entries))


def _folder(study: CampaignStudy) -> StudyFolder:
    return StudyFolder(output_folder(study.resolved.experiment))
