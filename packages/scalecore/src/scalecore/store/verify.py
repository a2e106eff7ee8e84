"""Integrity checks of a study, for `scalecore verify` and for tests after faults. Read-only, without a lock."""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path
from typing import Literal

from attrs import frozen

from scalecore.api.errors import DataError, StudyError
from scalecore.api.trials import StudyEnd, TrialState
from scalecore.execution.folder import AttemptFolder
from scalecore.execution.process_file import lives_in
from scalecore.store.layout import StudyFolder
from scalecore.store.lock import runner_of
from scalecore.store.predictions import trial_predictions
from scalecore.store.state import StudyState, read_state

ENDED = (StudyEnd.COMPLETED, StudyEnd.EXHAUSTED)


@frozen(kw_only=True)
class Check:
    """One result: `ok`, `note` for something that the next run repairs, or `wrong`."""

    level: Literal["ok", "note", "wrong"]
    subject: str
    message: str


def verify_study(folder: StudyFolder) -> list[Check]:
    """Run all checks of a study except those of derived files, which belong to the loggers.

    If the journal cannot be read, that is the only result: all other checks need it.
    """
    try:
        state = read_state(folder.journal)
    except StudyError as error:
        return [Check(level="wrong", subject="journal", message=str(error))]
    checks = [*_journal(folder, state)]
    for subject, check in (("trials", _trials), ("attempts", _attempts), ("results", _results)):
        wrong = list(check(folder, state))
        checks += [Check(level="wrong", subject=subject, message=text) for text in wrong]
        if not wrong:
            checks.append(Check(level="ok", subject=subject, message=_found(subject, state)))
    checks += _processes(folder, state)
    checks += _unfinished(folder, state)
    return checks


def _found(subject: str, state: StudyState) -> str:
    records, attempts = state.records, sum(len(trial.attempts) for trial in state.trials.values())
    return {
        "trials": f"{len(records)} finished, no duplicates; every trial without a value has a reason",
        "attempts": f"{attempts} started, no duplicates; every failed attempt has a reason",
        "results": "values match the results of the attempts; stored predictions match their trials",
    }[subject]


def _journal(folder: StudyFolder, state: StudyState) -> Iterator[Check]:
    content = folder.journal.read_bytes()
    if content and not content.endswith(b"\n"):
        text = "the last line is incomplete (interrupted while writing); the next run moves it to a separate file"
        yield Check(level="note", subject="journal", message=text)
    else:
        yield Check(level="ok", subject="journal", message=f"{state.events} lines, no gaps")


def _trials(folder: StudyFolder, state: StudyState) -> Iterator[str]:
    """Yield trials that are duplicate, or have neither a value nor a reason."""
    valued: dict[str, int] = {}
    for record in state.finished:
        has_value = record.state in (TrialState.COMPLETED, TrialState.PRUNED)
        if has_value and (record.value is None or not math.isfinite(record.value)):
            yield f"trial {record.number} is {record.state} and has no value"
        if not has_value and record.value is not None:
            yield f"trial {record.number} is {record.state} and has the value {record.value:g}"
        if record.state is not TrialState.COMPLETED and not record.reason:
            yield f"trial {record.number} is {record.state} and has no reason"
        if record.hash != state.trials[record.number].hash:
            yield f"trial {record.number}: the hash of its record differs from the hash of its proposal"
        if record.retrained:  # may repeat a trial whose weights are needed
            continue
        if has_value and (earlier := valued.setdefault(record.hash, record.number)) != record.number:
            yield f"trials {earlier} and {record.number} are the same configuration"


def _attempts(folder: StudyFolder, state: StudyState) -> Iterator[str]:
    """Yield attempts without an end, and failed attempts without a reason."""
    for number, trial in sorted(state.trials.items()):
        for at, attempt in enumerate(trial.attempts):
            ended, last = attempt.ended, at == len(trial.attempts) - 1
            if ended is None:
                if not last or trial.record is not None:
                    yield f"attempt {at} of trial {number} has no end"
                continue
            if ended.end not in ("completed", "stopped") and not ended.reason:
                yield f"attempt {at} of trial {number} is {ended.end} and has no reason"


def _results(folder: StudyFolder, state: StudyState) -> Iterator[str]:
    """Yield differences between the journal and the folders of the attempts that still exist."""
    for record in state.finished:
        last = len(state.trials[record.number].attempts) - 1
        attempt = AttemptFolder(folder.attempt(record.number, max(0, last)))
        result = None
        try:
            result = attempt.read_result(f"{record.number}-{last}") if last >= 0 else None
        except StudyError as error:
            yield str(error)
        valued = record.state in (TrialState.COMPLETED, TrialState.PRUNED)
        if valued and result is not None and result.value != record.value:
            yield f"trial {record.number} has the value {record.value}, the result of its attempt is {result.value}"
        kept = [path.name for path in attempt.path.parent.glob("attempt_*/checkpoint*.pt")]
        if kept:
            yield f"trial {record.number} is finished and still has checkpoints ({len(kept)})"
        try:
            trial_predictions(folder.path, record)
        except DataError as error:
            yield str(error)


def _processes(folder: StudyFolder, state: StudyState) -> Iterator[Check]:
    runner = runner_of(folder)
    if runner is not None:
        text = f"{runner.who} is running the study: unfinished trials belong to it"
        yield Check(level="note", subject="processes", message=text)
        return
    left = list(_alive(folder.attempts))
    for path, pid in left:
        text = f"process {pid} of {path.parent.name}/{path.name} is alive although the study is not running"
        yield Check(level="wrong", subject="processes", message=text)
    if not left:
        yield Check(level="ok", subject="processes", message="none left running")


def _alive(attempts: Path) -> Iterator[tuple[Path, int]]:
    for path in sorted(attempts.glob("*/attempt_*/process.json")):
        process = AttemptFolder(path.parent).read_process()
        if process is not None and lives_in(process, path.parent):
            yield path.parent, process.pid


def _unfinished(folder: StudyFolder, state: StudyState) -> Iterator[Check]:
    if runner_of(folder) is not None:
        return
    numbers = [trial.number for trial in state.unfinished]
    if state.end in ENDED and numbers:
        text = f"the study ended as {state.end}, but these trials have no end: {', '.join(map(str, numbers))}"
        yield Check(level="wrong", subject="end", message=text)
    elif state.end is StudyEnd.COMPLETED and len(state.counted) < state.total:
        text = f"the study ended as completed, but only {len(state.counted)} of {state.total} trials finished"
        yield Check(level="wrong", subject="end", message=text)
    elif state.end in ENDED:
        yield Check(level="ok", subject="end", message=f"{state.end}, {len(state.counted)} of {state.total} trials")
    else:
        how = f"the last run ended as {state.end}" if state.end else "the last run was killed"
        text = f"{how}; {len(state.counted)} of {state.total} trials are finished; `scalecore run` resumes the study"
        yield Check(level="note", subject="end", message=text)
