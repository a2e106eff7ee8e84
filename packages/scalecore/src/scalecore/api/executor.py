"""The protocol of executors.

The *driver* is the process of `scalecore run`: it owns the study and never imports torch.
An *attempt* is a process that trains one trial.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal, Protocol, runtime_checkable

from attrs import frozen

__all__ = ["AttemptStatus", "Executor", "ExecutorContext", "SupportsStackDump", "SupportsTracer"]


@frozen(kw_only=True)
class AttemptStatus:
    """The status of an attempt. `exit_code` is negative for a signal; `peak_memory` is in bytes, None if unknown."""

    state: Literal["running", "ended", "lost"]
    pid: int | None = None
    exit_code: int | None = None
    peak_memory: int | None = None
    oom_kill: str | None = None
    """The evidence that the kernel killed the attempt because memory ran out, or None."""
    suspended: bool = False
    """True if a running attempt is stopped by a signal or frozen by its control group (guard G47)."""


@frozen(kw_only=True)
class ExecutorContext:
    """The second argument of an executor's factory."""

    folder: Path
    slots: int
    worker: str
    """The module of an attempt's process, started as `python -m WORKER FOLDER PARENT`. It exits with code 0 once
    `result.json` is written. See `scalecore.api.components.TrainerRecord`."""


@runtime_checkable
class Executor(Protocol):
    """Runs attempts, for instance as local processes. Called in the driver by one thread; the driver handles retries.

    The attempt's folder is the interface: the driver writes `spec.json` before `submit`, and the attempt writes its
    progress, checkpoints and `result.json`. The same attempt therefore runs under any executor.
    """

    def submit(self, folder: Path) -> Any:
        """Start the attempt of this folder and return a handle for it."""
        ...

    def poll(self, handles: Sequence[Any]) -> Sequence[AttemptStatus]:
        """Return one status per handle: running, ended (with exit code and peak memory), or lost.

        Set `suspended` for a running attempt that is known to be stopped or frozen: that time does not count as a hang.
        """
        ...

    def stop(self, handle: Any, *, kill: bool) -> None:
        """End the attempt's whole process group: at once with `kill`, otherwise with time to write a checkpoint."""
        ...

    def close(self) -> None:
        """End all remaining attempts and release resources."""
        ...


@runtime_checkable
class SupportsStackDump(Protocol):
    """Optional for an executor: shows in the record where a trial hung."""

    def take_stacks(self, handle: Any) -> None:
        """Make the attempt write the stacks of its threads to its log, if possible. `stop` with `kill` follows."""
        ...


@runtime_checkable
class SupportsTracer(Protocol):
    """Optional for an executor with a process that has imported torch: saves the study one import.

    Called at most once, before the first `submit`, while the driver still reads its data.
    """

    def fork_tracer(self, questions: int, answers: int) -> bool:
        """Fork that process and call the worker module's `answer` in it with these file descriptors.

        Returns False if there is no such process. The caller closes the descriptors.
        """
        ...
