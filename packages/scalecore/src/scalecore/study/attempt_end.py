"""How an attempt ended, and whether its trial continues in another attempt."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from scalecore.api.executor import AttemptStatus
from scalecore.config.experiment import Retry
from scalecore.execution.attempt_result import AttemptEnd, EndClass
from scalecore.execution.failures import crash_signal
from scalecore.execution.folder import DISK_EXIT

if TYPE_CHECKING:
    from scalecore.planning.batch_plans import Way

Cut = tuple[EndClass, str | None]
"""The end class and the reason of an attempt that the driver kills."""


def classified(status: AttemptStatus, *, cut: Cut | None, disk_problem: str, unread: str | None) -> Cut:
    """Return the end class and the reason of an attempt without a result.

    The driver's reason for killing it (`cut`) takes precedence over the status of its process. `disk_problem` describes
    the failed write if the exit code reports one. `unread` is the reason why a result file cannot be read.
    """
    if cut is not None:
        return cut[0], cut[1] if unread is None else f"{cut[1]}; {_unread(unread)}"
    if status.oom_kill is not None:
        return "out_of_memory", f"the kernel killed the attempt because memory ran out: {status.oom_kill}"
    if status.exit_code == DISK_EXIT:
        return "interrupted", disk_problem
    if unread is not None:
        return "crashed", _unread(unread)
    if status.state == "lost":
        return "killed", "the executor lost the attempt"
    if status.exit_code is not None and status.exit_code < 0:
        name, own = crash_signal(status.exit_code)
        if own:
            return "crashed", f"the attempt crashed with {name}"
        return "killed", f"the attempt was killed from outside by {name}"
    return "crashed", f"the attempt ended with exit code {status.exit_code} and no result"


def why_again(end: AttemptEnd, *, ends: Sequence[str], retry: Retry, ways: Sequence[Way], stopping: bool) -> str | None:
    """Return why a trial continues in another attempt, now or in a later run; None if the trial is over.

    `ends` are the end classes of all its attempts, including this one. `ways` are the remaining ways to run it, best
    first. `stopping` is True while the run ends: an attempt that crashes then is left to the next run.
    """
    if end.kind in ("stopped", "interrupted"):
        why = end.reason if end.device_is_missing or end.changed_file else "it was stopped from outside"
        return f"{why}; the trial resumes from its checkpoint"
    crashes = ends.count("killed") + ends.count("crashed")
    if end.kind in ("killed", "crashed") and (stopping or crashes <= retry.crash):
        return f"{end.reason}; resuming from its last checkpoint"
    if end.kind == "out_of_memory" and ways and ends.count("out_of_memory") <= retry.out_of_memory:
        return f"{end.reason}; retrying with {ways[0].text}"
    return None


def _unread(problem: str) -> str:
    return f"the attempt's result cannot be read: {problem}"
