"""What an executor does at run time.

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
    """What an executor knows of an attempt. `exit_code` is negative for a signal.

    `peak_memory` in bytes where it is known.
    """

    state: Literal["running", "ended", "lost"]
    pid: int | None = None
    exit_code: int | None = None
    peak_memory: int | None = None
    oom_kill: str | None = None
    """The evidence where the kernel killed the attempt for lack of memory, else None."""
    suspended: bool = False
    """Whether a running attempt cannot run now: stopped by a signal, or frozen by its control group (guard G47)."""


@frozen(kw_only=True)
class ExecutorContext:
    """What an executor's factory is given besides its options."""

    folder: Path
    slots: int
    worker: str
    """The module of an attempt's process, started as `python -m WORKER FOLDER PARENT`; 0 is its exit code once
    `result.json` is there. See `scalecore.api.components.TrainerRecord`."""


@runtime_checkable
class Executor(Protocol):
    """Runs attempts somewhere. Called in the driver by one thread; retries belong to the driver.

    The attempt's folder is the protocol: it holds `spec.json` before `submit`, and the attempt writes its progress,
    checkpoints and `result.json` into it, so that the same attempt runs under any executor.
    """

    def submit(self, folder: Path) -> Any:
        """Start the attempt of this folder and return a handle for it."""
        ...

    def poll(self, handles: Sequence[Any]) -> Sequence[AttemptStatus]:
        """One status per handle: running, ended (with exit code and peak memory), or lost.

        `suspended` of a running one says that it cannot run now, as far as that is known: such time is no hang.
        """
        ...

    def stop(self, handle: Any, *, kill: bool) -> None:
        """End the attempt: its whole process group; `kill` at once, otherwise with a chance to write a checkpoint."""
        ...

    def close(self) -> None:
        """End everything that is left and give resources back."""
        ...


@runtime_checkable
class SupportsStackDump(Protocol):
    """What an executor may have besides, so that a record shows where a trial hung."""

    def take_stacks(self, handle: Any) -> None:
        """Make the attempt write the stacks of its threads into its log, if it can. `stop` with `kill` follows."""
        ...


@runtime_checkable
class SupportsTracer(Protocol):
    """What an executor may have besides, where it has a process that has imported torch: one import less for a study.

    Called at most once, before the first `submit`, while the driver still reads its data.
    """

    def fork_tracer(self, questions: int, answers: int) -> bool:
        """Let a fork of that process call the worker module's `answer` on these file descriptors, which the caller
        closes; False where there is none.
        """
        ...
