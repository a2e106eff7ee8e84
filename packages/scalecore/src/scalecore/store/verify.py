"""Whether a study is whole: what `scalecore verify` checks, and the tests after every fault.

Read-only, takes no lock. Each check answers with what is wrong, or with what it found in order.
"""

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
    """One answer: `ok`, `note` for what the next run puts right by itself, or `wrong`."""

    level: Literal["ok", "note", "wrong"]
    subject: str
    message: str


def verify_study(folder: StudyFolder) -> list[Check]:
    """All checks of a study but those of its derived files, which are the loggers' (`scalecore.builtin.derived`).

    A journal that cannot be read is the only answer then: everything else follows from it.
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
        "trials": f"{len(records)} acknowledged, each once; every one without a value says why",
        "attempts": f"{attempts} started, each once; every one that failed says how",
        "results": "values are those that the attempts gave; kept predictions are those of their trials",
    }[subject]


def _journal(folder: StudyFolder, state: StudyState) -> Iterator[Check]:
    content = folder.journal.read_bytes()
    if content and not content.endswith(b"\n"):
        text = "its last line was being written when the power went; the next run sets it aside"
        yield Check(level="note", subject="journal", message=text)
    else:
        yield Check(level="ok", subject="journal", message=f"{state.events} lines, without a gap")


def _trials(folder: StudyFolder, state: StudyState) -> Iterator[str]:
    """Every acknowledged trial is there once, with a value or a reason."""
    valued: dict[str, int] = {}
    for record in state.records:
        has_value = record.state in (TrialState.COMPLETED, TrialState.PRUNED)
        if has_value and (record.value is None or not math.isfinite(record.value)):
            yield f"trial {record.number} is {record.state} and has no value"
        if not has_value and record.value is not None:
            yield f"trial {record.number} is {record.state} and has the value {record.value:g}"
        if record.state is not TrialState.COMPLETED and not record.reason:
            yield f"trial {record.number} is {record.state} and gives no reason"
        if record.hash != state.trials[record.number].hash:
            yield f"trial {record.number} has another hash than the one that was asked for"
        if has_value and (earlier := valued.setdefault(record.hash, record.number)) != record.number:
            yield f"trials {earlier} and {record.number} ran the same"


def _attempts(folder: StudyFolder, state: StudyState) -> Iterator[str]:
    """Every attempt ended, and what failed says how."""
    for number, trial in sorted(state.trials.items()):
        for at, attempt in enumerate(trial.attempts):
            ended, last = attempt.ended, at == len(trial.attempts) - 1
            if ended is None:
                if not last or trial.record is not None:
                    yield f"attempt {at} of trial {number} has no end"
                continue
            if ended.end not in ("completed", "stopped") and not ended.reason:
                yield f"attempt {at} of trial {number} is {ended.end} and gives no reason"


def _results(folder: StudyFolder, state: StudyState) -> Iterator[str]:
    """The journal's values are those of the attempts, as far as their folders are still there."""
    for record in state.records:
        last = len(state.trials[record.number].attempts) - 1
        attempt = AttemptFolder(folder.attempt(record.number, max(0, last)))
        result = None
        try:
            result = attempt.read_result(f"{record.number}-{last}") if last >= 0 else None
        except StudyError as error:
            yield str(error)
        valued = record.state in (TrialState.COMPLETED, TrialState.PRUNED)
        if valued and result is not None and result.value != record.value:
            yield f"trial {record.number} has the value {record.value}, its attempt gave {result.value}"
        kept = [path.name for path in attempt.path.parent.glob("attempt_*/checkpoint*.pt")]
        if kept:
            yield f"trial {record.number} has ended and still has {len(kept)} checkpoints [G44]"
        try:
            trial_predictions(folder.path, record)
        except DataError as error:
            yield str(error)


def _processes(folder: StudyFolder, state: StudyState) -> Iterator[Check]:
    runner = runner_of(folder)
    if runner is not None:
        text = f"{runner.who} runs the study now: unfinished trials are its own"
        yield Check(level="note", subject="processes", message=text)
        return
    left = list(_alive(folder.attempts))
    for path, pid in left:
        text = f"process {pid} of {path.parent.name}/{path.name} is alive, though nobody runs the study"
        yield Check(level="wrong", subject="processes", message=text)
    if not left:
        yield Check(level="ok", subject="processes", message="none is left")


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
        text = f"the study ended as {state.end}, and trial {', '.join(map(str, numbers))} has no end"
        yield Check(level="wrong", subject="end", message=text)
    elif state.end is StudyEnd.COMPLETED and len(state.counted) < state.total:
        text = f"the study ended as completed with {len(state.counted)} of {state.total} trials"
        yield Check(level="wrong", subject="end", message=text)
    elif state.end in ENDED:
        yield Check(level="ok", subject="end", message=f"{state.end}, {len(state.counted)} of {state.total} trials")
    else:
        how = f"the last run ended as {state.end}" if state.end else "the last run was killed"
        text = f"{how}, {len(state.counted)} of {state.total} trials are finished; `scalecore run` continues it"
        yield Check(level="note", subject="end", message=text)
