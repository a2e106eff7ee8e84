"""The progress of a study, read from its journal and the folders of its running attempts, also during a run."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any

from attrs import asdict

from scalecore.api import formatting
from scalecore.api.data_report import BaselineReport
from scalecore.api.files import plain
from scalecore.api.trials import Note
from scalecore.config.kept import find_kept, structured
from scalecore.execution.attempt_result import AttemptProgress
from scalecore.execution.folder import AttemptFolder
from scalecore.execution.process_file import Lease
from scalecore.monitoring.monitors import ReadingsFile
from scalecore.planning.explain import explain_lines, explain_search
from scalecore.planning.memory_figures import MemoryFigure, memory_figures, memory_lines
from scalecore.planning.time_estimates import seconds_left
from scalecore.store.asked_trial import AskedTrial
from scalecore.store.layout import StudyFolder
from scalecore.store.lock import runner_of
from scalecore.store.notes import notes_of, pending_notes
from scalecore.store.state import StudyState, read_state


def study_status(folder: StudyFolder) -> dict[str, Any]:
    """The study's state as plain JSON types."""
    pending = pending_notes(folder)
    state = read_state(folder.journal)
    runner = runner_of(folder)
    records = state.records
    best = next(iter(state.ranked), None)
    baseline = state.plan.data.best_baseline if state.plan else None
    figures = memory_figures(state.plan.memory, state.smoke) if state.plan else {}
    result: dict[str, Any] = plain(
        {
            "name": state.experiment.get("name"),
            "description": state.experiment.get("description"),
            "notes": [asdict(note) for note in notes_of(state, pending)],
            "folder": folder.path,
            "state": _state(state, runner),
            "end_reason": state.end_reason if runner is None else None,
            "runner": None if runner is None else runner.plain(),
            "total": state.total or (state.experiment["search"]["trials"] if state.experiment else 0),
            "finished": len(state.counted),
            "left_out": state.left_out,
            "changes": [change.line() for change in state.changes],
            "counts": Counter(record.state for record in state.counted),
            "duplicates_avoided": state.duplicates_avoided,
            "search": explain_search(state.plan, state) if state.plan else None,
            "metric": state.experiment["objective"]["metric"] if state.experiment else None,
            "baseline": baseline.plain() if baseline is not None else None,
            "best": None
            if best is None
            else {
                "number": best.number,
                "value": best.value,
                "shape": formatting.shape(best.architecture),
                "caution": formatting.caution(best),
            },
            "memory": {label: one.plain() for label, one in figures.items()},
            "unfinished": [_unfinished(folder, trial) for trial in state.open],
            "retrained": _retrained(state),
            "seconds_left": _seconds_left(state) if records else None,
            "hardware": _hardware(folder) if runner is not None else None,
            "mixtures": formatting.mixtures(state.counted),
            "test_openings": len(state.openings),
            "degraded": state.degraded,
        }
    )
    return result


def status_lines(status: Mapping[str, Any]) -> list[str]:
    """The state as text."""
    counts = ", ".join(f"{count} {state}" for state, count in sorted(status["counts"].items())) or "none yet"
    name = status["name"] or "study"  # the run may have ended before it wrote its name
    lines = [f"{name}: {status['state']}; {status['finished']} of {status['total']} trials finished ({counts})"]
    if status.get("end_reason"):
        lines.append(f"reason: {status['end_reason'].splitlines()[0]}")
    if status["runner"]:
        host, since = (status["runner"].get(name) or "(unknown)" for name in ("host", "since"))
        lines.append(f"run by process {status['runner']['pid']} on {host} since {since}")
    if status["best"]:
        best = status["best"]
        lines.append(
            f"best: {status['metric']} {formatting.number(best['value'])}, trial {best['number']}, {best['shape']}"
        )
        if best["caution"]:
            lines.append(f"  {best['caution']}")
    if status["baseline"]:
        baseline = structured(BaselineReport, status["baseline"], place="baseline")
        lines.append(f"best baseline, val_loss: {' '.join(formatting.baseline_line(baseline).split())}")
    lines += memory_lines({label: MemoryFigure(**one) for label, one in (status.get("memory") or {}).items()})
    for trial in status["unfinished"]:
        place = f"{trial['phase']}, epoch {trial['epoch']} of {trial['epochs']}, step {trial['step']}"
        name = trial["label"] or f"trial {trial['number']}"
        lines.append(f"{name}, attempt {trial['attempt']}: {place}; {trial['shape']}")
    if status["state"] == "running":
        left = status["seconds_left"]
        lines.append(f"time left: {'unknown' if left is None else f'about {formatting.duration(left)}'}")
    if status["left_out"]:
        lines.append(f"trials of an earlier grid or space, not counted: {len(status['left_out'])}")
    if status["hardware"]:
        lines.append("hardware: " + ", ".join(f"{name} {text}" for name, text in status["hardware"]["texts"].items()))
    if status["search"]:
        lines += explain_lines(status["search"])
    if status.get("retrained"):
        one = status["retrained"]
        counts = ", ".join(f"{count} {kind}" for kind, count in one["finished"].items()) or "none finished"
        lines.append(f"trained after the search: {counts}")
        if one["end"] != "completed":
            how = f"{one['end'] or 'interrupted'}; run the same command again to resume it"
            how = "running" if status["runner"] else how
            lines.append(f"  {one['title']}, {one['done']} of {one['total']} trainings: {how}")
    if status["test_openings"]:
        times = "once" if status["test_openings"] == 1 else f"{status['test_openings']} times"
        lines.append(f"test data: opened {times}")
    lines += [f"caution: {text}" for text in status.get("mixtures") or ()]
    lines += [f"degraded: {text}" for text in status["degraded"]]
    lines.append(f"folder: {status['folder']}")
    return lines


def note_lines(description: str | None, notes: Iterable[Note]) -> list[str]:
    """The description and the notes of a study as text, escaped."""
    texts = [("description", description)] if description else []
    texts += [(f"note {note.written[:16].replace('T', ' ')} UTC", note.text) for note in notes]
    return [line for name, text in texts for line in formatting.paragraph(name, text)]


def _hardware(folder: StudyFolder) -> dict[str, Any] | None:
    """The latest readings, with the reason if a reading has no number; None before the first."""
    found = find_kept(folder.readings, ReadingsFile)
    return None if found is None else found.plain()


def _state(state: StudyState, runner: Lease | None) -> str:
    if runner is not None:
        return "running"
    if not state.versions and not state.trials:
        return "not begun (`scalecore run` starts it)"
    return str(state.end) if state.end is not None else "interrupted (its process is gone; `scalecore run` resumes it)"


def _seconds_left(state: StudyState) -> float | None:
    """Of the current run: of the search, or of a retraining."""
    if state.retraining is None or state.retraining_ended is not None:
        return seconds_left(state.counted, total=state.total, slots=1, running=[])
    now, total = state.retrained_now, state.retraining.total
    return seconds_left(now, earlier=state.records, total=total, slots=1, running=[])


def _retrained(state: StudyState) -> dict[str, Any] | None:
    """The trials after the search by origin, and the last run that trained some; None if there is none."""
    if state.retraining is None:
        return None
    return {
        "title": state.retraining.retrains,
        "total": state.retraining.total,
        "done": len(state.retrained_now),
        "end": None if state.retraining_ended is None else state.retraining_ended.end,
        "finished": Counter(record.origin.kind for record in state.retrained),
    }


def _unfinished(folder: StudyFolder, trial: AskedTrial) -> dict[str, Any]:
    index = len(trial.attempts) - 1
    seen = AttemptFolder(folder.attempt(trial.number, index)).read_progress() if index >= 0 else None
    seen = seen or AttemptProgress(phase="not started" if index < 0 else "starting", epoch=0, step=0)
    return {
        "number": trial.number,
        "label": trial.proposal.origin.label if trial.retrained else None,
        "attempt": index,
        "epochs": trial.hyperparameters.get("epochs"),
        "shape": formatting.shape(trial.proposal.architecture),
        "phase": seen.phase,
        "epoch": seen.epoch,
        "step": seen.step,
    }
