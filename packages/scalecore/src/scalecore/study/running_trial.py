"""One running trial: the folder of its attempt, its progress, and the classification of its end."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from attrs import define, field

from scalecore.api.clock import RunningClock
from scalecore.api.errors import StudyError
from scalecore.api.executor import AttemptStatus, Executor
from scalecore.execution.attempt_result import AttemptEnd, AttemptProgress
from scalecore.execution.folder import DISK_EXIT, AttemptFolder
from scalecore.monitoring.monitors import HardwareSummary
from scalecore.monitoring.pace import Pace
from scalecore.store.asked_trial import AskedTrial
from scalecore.store.layout import StudyFolder
from scalecore.study.attempt_end import Cut, classified
from scalecore.study.stop_requests import StopRequests


@define(kw_only=True, eq=False)
class RunningTrial:
    """The driver's side of one attempt."""

    asked: AskedTrial
    index: int
    folder: AttemptFolder
    handle: Any
    micro_batch: int
    predicted_memory: int
    memory_limit: int | None = None
    checkpointing: bool = False
    """Whether activations are recomputed."""
    started: float = field(factory=time.monotonic)
    summary: HardwareSummary = field(factory=HardwareSummary)
    pace: Pace = field(factory=Pace)
    pid: int | None = None
    epochs_seen: int = 0
    progress: AttemptProgress | None = None
    clock: Callable[[], float] = time.monotonic
    changed: float = field()
    """Time of the last progress, by `clock`; rewriting the file without a new step is no progress (guard G45)."""
    stopping: float | None = None
    cut: Cut | None = None
    """Set before the driver kills the attempt."""
    prune_reason: str | None = None

    @changed.default
    def _now(self) -> float:
        return self.clock()

    @property
    def attempt_id(self) -> str:
        return f"{self.asked.number}-{self.index}"

    def look(self) -> None:
        """Read the progress of the attempt."""
        seen = self.folder.read_progress()
        if seen is None:
            return
        if seen != self.progress:
            self.changed = self.clock()
        self.progress = seen

    def fraction_done(self) -> float:
        """Share of the planned epochs that have ended, 0 if their number is unknown; early stopping may end sooner."""
        epoch, epochs = 1 if self.progress is None else self.progress.epoch, self.asked.hyperparameters.get("epochs")
        return max(0, epoch - 1) / int(epochs) if epochs else 0.0

    def new_epochs(self) -> list[dict[str, Any]]:
        """Return the lines of the learning curve since the last call."""
        lines = self.folder.read_epochs(after=self.epochs_seen)
        self.epochs_seen += len(lines)
        return lines

    def end(self, status: AttemptStatus) -> AttemptEnd:
        """Return how an attempt ended. A result that it wrote itself takes precedence over all other evidence."""
        result, unread = None, None
        try:
            result = self.folder.read_result(self.attempt_id)
        except StudyError as error:
            unread = str(error)
        process = self.folder.read_process()
        evidence: dict[str, Any] = {
            "exit_code": status.exit_code,
            "peak_memory": status.peak_memory,
            "last": self.progress,
            "contained": None if process is None else process.contained,
        }
        if result is not None:
            reason = result.reason or (self.prune_reason if result.state == "pruned" else None)
            tail = self.folder.log_tail() if result.state == "failed" else None
            return AttemptEnd(kind=result.state, reason=reason, result=result, log_tail=tail, **evidence)
        disk_problem = self.folder.disk_problem() if status.exit_code == DISK_EXIT else ""
        kind, reason = classified(status, cut=self.cut, disk_problem=disk_problem, unread=unread)
        log_tail = self.folder.log_tail(characters=6000) or None
        return AttemptEnd(kind=kind, reason=reason, unread=unread, log_tail=log_tail, **evidence)


def left_running(folder: StudyFolder, asked: AskedTrial) -> tuple[RunningTrial, AttemptEnd]:
    """Return the last attempt of a trial whose driver has ended, and the end of that attempt.

    The end is the attempt's own result, else the end that the driver journalled, else `interrupted`.
    """
    last = asked.attempts[-1]
    started, ended = last.started, last.ended
    cut: Cut = ("interrupted", "the driver ended before the attempt did")
    if ended is not None:
        cut = (ended.end, ended.reason)
    running = RunningTrial(
        asked=asked,
        index=started.index,
        folder=AttemptFolder(folder.attempt(asked.number, started.index)),
        handle=None,
        micro_batch=started.micro_batch,
        predicted_memory=started.predicted_memory,
        memory_limit=started.limit,
        checkpointing=started.activation_checkpointing,
        cut=cut,
    )
    return running, running.end(AttemptStatus(state="lost", peak_memory=ended.peak_memory if ended else None))


def run_alone(
    executor: Executor, folder: AttemptFolder, *, requests: StopRequests, limit: float, late: str
) -> AttemptStatus:
    """Run an attempt that belongs to no trial; kill it on a request to stop.

    Raises `StudyError` with the text `late` if it makes no progress for `limit` seconds, suspensions not counted.
    """
    clock, handle = RunningClock(), executor.submit(folder.path)
    seen, changed = None, clock()
    while (status := executor.poll([handle])[0]).state == "running":
        requests.look()
        folder.trim_log()
        if (progress := folder.read_progress()) != seen or status.suspended:
            seen, changed = progress, clock()
        is_late = clock() - changed > limit
        if requests.asked or is_late:
            executor.stop(handle, kill=True)
        if is_late:
            raise StudyError(late)
        time.sleep(0.02)
    return status
