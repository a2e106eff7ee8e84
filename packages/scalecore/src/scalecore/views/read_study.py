"""Read studies for analyses from their folders, whether they are finished, running, interrupted or damaged."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path

from attrs import evolve

from scalecore.api.errors import ExperimentError
from scalecore.api.trials import RestoredTrial, StudyView
from scalecore.campaign.run import find_campaign
from scalecore.store.confirmations import confirmations
from scalecore.store.layout import StudyFolder, find_study
from scalecore.store.learning_curves import reports_of
from scalecore.store.lock import runner_of
from scalecore.store.notes import notes_of, pending_notes
from scalecore.store.state import StudyState, read_state


def read_study(folder: StudyFolder) -> StudyView:
    """Read the study of a folder from its journal alone. Takes no lock and changes nothing, so it works during a run.

    An incomplete last line is ignored. `running` contains the unfinished trials while the study runs; for an
    interrupted study, `total` shows how many are missing. Raises `StudyError` for a damaged journal, and
    `ExperimentError` if a run ended before it wrote its plan.
    """
    pending = pending_notes(folder)
    state = read_state(folder.journal)
    runs = runner_of(folder) is not None
    if state.plan is None:
        raise ExperimentError(f"{folder.path}: the journal contains no study yet; start it with `scalecore run`")
    return StudyView(
        id=state.id,
        name=state.experiment["name"],
        folder=folder.path,
        experiment=state.experiment,
        plan=state.plan,
        total=state.total,
        trials=tuple(state.records),
        confirmations=confirmations(folder, state),
        finals=tuple(record for record in state.retrained if record.origin.kind == "final"),
        running=tuple(trial.number for trial in state.unfinished) if runs else (),
        duplicates_avoided=state.duplicates_avoided,
        left_out=dict(state.left_out),
        unfinished=tuple(_unfinished(folder, state)),
        end=state.end,
        end_reason=state.end_reason,
        degraded=tuple(state.degraded),
        runs=runs,
        notes=notes_of(state, pending),
    )


def _unfinished(folder: StudyFolder, state: StudyState) -> Iterator[RestoredTrial]:
    """The unfinished trials, with the objective after each epoch as their attempts wrote it."""
    objective = state.experiment["objective"]
    for trial, restored in zip(state.unfinished, state.restored_unfinished(), strict=True):
        yield evolve(restored, reports=reports_of(folder, trial, objective=objective))


def find_studies(path: Path) -> list[StudyFolder]:
    """The study of a folder or an experiment file; the begun studies of a campaign, in its order; or all studies
    directly inside a folder, by name.

    Raises `ExperimentError` if there is none.
    """
    campaign = find_campaign(path)
    if campaign is not None:
        begun = [entry.folder for entry in campaign.studies if entry.folder.journal.exists()]
        if not begun:
            raise ExperimentError(f"{path}: no study of the campaign {campaign.name} has begun")
        return begun
    if path.is_dir() and not StudyFolder(path).journal.exists():
        inside = [StudyFolder(one) for one in sorted(path.iterdir()) if StudyFolder(one).journal.exists()]
        if inside:
            return inside
    return [find_study(path)]


def read_studies(paths: Iterable[Path]) -> list[StudyView]:
    """The studies of all paths, in order; a study that is named twice counts once."""
    folders = {folder.path.resolve(): folder for path in paths for folder in find_studies(path)}
    return [read_study(folder) for folder in folders.values()]
