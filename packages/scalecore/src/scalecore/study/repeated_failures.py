"""What trials that failed say about the study itself."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from scalecore.api.errors import StudyError
from scalecore.api.trials import TrialRecord, TrialState


def refuse_alike_failures(records: Sequence[TrialRecord], record: TrialRecord) -> None:
    """Two failures of one kind and no success yet: the study is wrong, not the trials. Raises `StudyError`.

    `records` are all finished trials, `record` the one that has just ended.
    """
    if record.state is not TrialState.FAILED:
        return
    if any(one.state in (TrialState.COMPLETED, TrialState.PRUNED) for one in records):
        return
    failed = [one for one in records if one.state is TrialState.FAILED]
    if len(failed) > 1 and len({(one.reason or "").split(":")[0] for one in failed[:2]}) == 1:
        tail = record.attempts[-1].log_tail or "" if record.attempts else ""
        raise StudyError(
            f"the first trials fail in the same way: {record.reason}\n"
            f"(trials {failed[0].number} and {failed[1].number}; the end of the log of the second follows)\n{tail}"
        )


def no_result(counted: Sequence[TrialRecord]) -> str | None:
    """Why trials that are all over make no result: none of them completed. None where one did.

    A pruned trial has a value, of an epoch in the middle of its schedule, and is never best.
    """
    if any(one.state is TrialState.COMPLETED for one in counted):
        return None
    if not counted:
        return "no trial was run: the search strategy had nothing to propose, so the study has no result"
    counts = ", ".join(f"{count} {state}" for state, count in sorted(Counter(one.state for one in counted).items()))
    last = counted[-1]
    return (
        f"none of {len(counted)} trials completed ({counts}), so the study has no result; trial {last.number}: "
        f"{last.reason}. A larger search.trials adds trials; after a change of what failed, give another `output`"
    )
