"""`scalecore import`: import earlier results into a new or existing study, and record them in its journal."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from attrs import asdict

from scalecore.api import formatting
from scalecore.api.engine import (
    ImportedTrial,
    Journal,
    Plan,
    Registry,
    Runtime,
    StudyState,
    build_plan,
    dump,
    event_of,
    explained,
    has_begun,
    load_resolved,
    load_stored,
    locked_folder,
    of_plugin,
    output_folder,
    refuse_another_experiment,
    refuse_changed_data,
    state_of,
)
from scalecore.api.errors import ExperimentError
from scalecore.api.files import plain, write_text
from scalecore.api.studies import StudyFolder
from scalecore_analysis.importing.decisions import Decision, judge
from scalecore_analysis.importing.readers import OldRecord, read_old_results
from scalecore_analysis.importing.record_shapes import RecordShapes
from scalecore_analysis.importing.summary import ImportSummary, summarise
from scalecore_analysis.importing.summary_text import summary_lines


class ImportResult(NamedTuple):
    """The result of an import."""

    folder: Path
    verdicts: Sequence[Decision]
    summary: ImportSummary | None = None
    """Only of a dry run."""


def import_results(
    paths: Sequence[Path], into: Path, *, registry: Registry, dry_run: bool = False, other_data: bool = False
) -> ImportResult:
    """Decide on all records of `paths`, and store the accepted ones in the study `into`.

    `into` is a study's folder or an experiment file; a new study is created if needed. With `dry_run` nothing is
    written, and the study may be running. Raises the errors of `scalecore.api.errors`.
    """
    records = read_old_results(paths)
    plan, runtime, folder = _target(into, registry)
    with of_plugin("model", plan.resolved.model, "cannot derive names from an architecture"):
        shapes = RecordShapes(runtime.family, plan.shape)
    if dry_run:
        verdicts = _judged(records, plan, shapes, folder, state_of(folder), other_data=other_data)
        summary = summarise(
            records,
            shapes=shapes,
            parameters=plan.hyperparameters,
            tolerance=plan.resolved.experiment.search.tolerance,
            maximize=plan.experiment["objective"]["direction"] == "maximize",
            project=into if into.is_dir() else into.parent,
        )
        return ImportResult(folder=folder.path, verdicts=verdicts, summary=summary)
    with locked_folder(folder):
        state = state_of(folder)
        verdicts = _judged(records, plan, shapes, folder, state, other_data=other_data)
        taken = [one for one in verdicts if one.architecture is not None]
        if taken:
            with explained(folder.path):
                _store(taken, plan, folder, state)
    return ImportResult(folder=folder.path, verdicts=verdicts)


def _target(into: Path, registry: Registry) -> tuple[Plan, Runtime, StudyFolder]:
    if into.is_dir():
        folder = StudyFolder(into.absolute())
        if not folder.journal.exists():
            raise ExperimentError(f"{into}: not a study; name an experiment file to create a study from these results")
        loaded, resolved = load_stored(folder, registry=registry)
    else:
        loaded, resolved = load_resolved(into, registry=registry, begun=has_begun)
        folder = StudyFolder(output_folder(resolved.experiment))
    return *build_plan(loaded, resolved, folder=folder.path), folder


def _judged(
    records: Sequence[OldRecord],
    plan: Plan,
    shapes: RecordShapes,
    folder: StudyFolder,
    state: StudyState,
    *,
    other_data: bool,
) -> list[Decision]:
    refuse_another_experiment(folder, state, plan.resolved)
    refuse_changed_data(folder, state, plan)
    return judge(records, plan=plan, shapes=shapes, state=state, other_data=other_data)


def _store(taken: Sequence[Decision], plan: Plan, folder: StudyFolder, state: StudyState) -> None:
    journal = Journal(folder.journal)
    try:
        if not state.experiment:
            journal.append(plan.begun())
            write_text(folder.source, dump(plan.experiment))
        for one in taken:
            assert one.architecture is not None
            journal.append(
                event_of(
                    ImportedTrial,
                    key=one.key,
                    source=one.record.source,
                    number=one.record.number,
                    state=one.record.state,
                    value=one.record.value,
                    architecture=one.architecture,
                    hyperparameters=one.hyperparameters,
                    missing=one.missing,
                    notes=one.notes,
                    fingerprint=one.record.fingerprint,
                    comparable=one.comparable,
                    flags=one.record.flags,
                )
            )
    finally:
        journal.close()


def imported_plain(imported: ImportResult) -> dict[str, Any]:
    """The result in plain JSON types; `summary` only for a dry run."""
    verdicts, dry_run = imported.verdicts, imported.summary is not None
    result: dict[str, Any] = plain(
        {
            "into": imported.folder,
            "dry_run": dry_run,
            **({"summary": asdict(imported.summary)} if imported.summary is not None else {}),
            "counts": counts(verdicts),
            "records": [
                {
                    "source": one.record.source,
                    "number": one.record.number,
                    "state": one.record.state,
                    "value": one.record.value,
                    "verdict": one.verdict,
                    "reason": one.reason,
                    "architecture": None if one.architecture is None else one.architecture.values,
                    "num_parameters": None if one.architecture is None else one.architecture.num_parameters,
                    "stated_parameters": one.record.stated_parameters,
                    "hyperparameters": one.hyperparameters,
                    "missing": one.missing,
                    "comparable": one.comparable,
                    "notes": one.notes,
                }
                for one in verdicts
            ],
        }
    )
    return result


def counts(verdicts: Sequence[Decision]) -> Mapping[str, int]:
    """Number of records by verdict."""
    names = ("taken", "taken with missing parameters", "duplicate", "refused")
    return {name: sum(one.verdict == name for one in verdicts) for name in names}


def imported_lines(imported: ImportResult) -> list[str]:
    """The summary of a dry run, one line per record, and the counts."""
    lines = [] if imported.summary is None else [*summary_lines(imported.summary), ""]
    for one in imported.verdicts:
        line = f"{one.record.source}: {one.verdict}"
        if one.reason:
            line += f": {one.reason}"
        if one.architecture is not None:
            line += f"; {formatting.shape(one.architecture)}, value {one.record.value:g}"
        lines.append("; ".join((line, *one.notes)))
    shown = ", ".join(f"{count} {name}" for name, count in counts(imported.verdicts).items())
    end = f"; into {imported.folder}" if imported.summary is None else "; dry run: nothing was written"
    count = len(imported.verdicts)
    return [*lines, f"{count} record{'s' * (count != 1)}: {shown}{end}"]
