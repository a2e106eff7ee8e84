"""What the first trials of a study say about the study itself."""

from __future__ import annotations

from collections.abc import Sequence

from scalecore.errors import StudyError
from scalecore.trials import TrialRecord, TrialState

__all__ = ["refuse_alike_failures"]


def refuse_alike_failures(records: Sequence[TrialRecord], record: TrialRecord) -> None:
    """Two failures of one kind and no success yet: the study is wrong, not the trials. Raises `StudyError`.

    `records` are all finished trials, `record` the one that has just ended.
    """
    failed = [one for one in records if one.state is TrialState.FAILED]
    if len(failed) < 2 or any(one.state in (TrialState.COMPLETED, TrialState.PRUNED) for one in records):
        return
    if record.state is TrialState.FAILED and len({(one.reason or "").split(":")[0] for one in failed[:2]}) == 1:
        tail = str(record.attempts[-1].get("log_tail") or "") if record.attempts else ""
        raise StudyError(
            f"the first trials fail in the same way: {record.reason}\n"
            f"(trials {failed[0].number} and {failed[1].number}; the end of the log of the second follows)\n{tail}"
        )
