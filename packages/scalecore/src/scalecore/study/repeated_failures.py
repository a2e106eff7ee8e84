"""Failures that show that the study itself is wrong, not single trials."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from scalecore.api.errors import StudyError
from scalecore.api.trials import TrialRecord, TrialState


def refuse_alike_failures(records: Sequence[TrialRecord], record: TrialRecord) -> None:
    """Raise `StudyError` after two failures of the same kind without any success.

    `records` are all finished trials, `record` is the one that has just ended.
    """
    if record.state is not TrialState.FAILED:
        return
    if any(one.state in (TrialState.COMPLETED, TrialState.PRUNED) for one in records):
        return
    failed = [one for one in records if one.state is TrialState.FAILED]
    if len(failed) > 1 and len({(one.reason or "").split(":")[0] for one in failed[:2]}) == 1:
        tail = record.attempts[-1].log_tail or "" if record.attempts else ""
        raise StudyError(
            f"the first trials failed in the same way: {record.reason}\n"
            f"(trials {failed[0].number} and {failed[1].number}; end of the second trial's log:)\n{tail}"
        )


def no_result(counted: Sequence[TrialRecord]) -> str | None:
    """Return why the finished trials of a study contain no result; None if at least one completed.

    A pruned trial has a value, but from the middle of its schedule, so it is never the best trial.
    """
    if any(one.state is TrialState.COMPLETED for one in counted):
        return None
    if not counted:
        return "no trial was run: the search strategy had nothing to propose, so the study has no result"
    counts = ", ".join(f"{count} {state}" for state, count in sorted(Counter(one.state for one in counted).items()))
    last = counted[-1]
    return (
        f"none of {len(counted)} trials completed ({counts}), so the study has no result; trial {last.number}: "
        f"{last.reason}. Increase search.trials to add trials; after fixing the cause, give another `output`"
    )
