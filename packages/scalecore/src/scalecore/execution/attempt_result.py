"""The end of an attempt: its own `result.json`, and the driver's classification."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal

from attrs import frozen

from scalecore.api.errors import ChangedFileError, DeviceError
from scalecore.api.record_parts import (
    AttemptMemory,
    Batching,
    ComputePolicy,
    EpochResult,
    MetricInterval,
    Part,
    TrainingPartResult,
)
from scalecore.api.trials import Epoch

EndClass = Literal[
    "completed", "pruned", "diverged", "failed", "out_of_memory", "stopped", "hung", "killed", "crashed", "interrupted"
]

OF_RESULT = ("memory", "pauses", "paused_seconds", "checkpoint_seconds")
"""Fields of the result that the journal keeps for every attempt, including attempts that do not end their trial."""


@frozen(kw_only=True, slots=False)
class AttemptProgress(Part):
    """The progress of an attempt; `waited` is set during a pause and changes with each write."""

    phase: str
    epoch: int
    step: int
    waited: float | None = None


@frozen(kw_only=True, slots=False)
class Resumption(Part):
    """The checkpoint from which an attempt continued."""

    checkpoint: str
    step: int


@frozen(kw_only=True, slots=False)
class MadePredictions(Part):
    """The attempt's `predictions.npz`."""

    sha256: str
    part: str | None = None
    epoch: int | None = None
    windows: int | None = None


@frozen(kw_only=True, slots=False)
class AttemptResult(Part):
    """The result that an attempt writes at its end. Values that it did not measure are None."""

    attempt: str
    """Its id: the result of another attempt does not count."""
    state: EndClass
    reason: str | None = None
    error: str | None = None
    """The class of the exception that ended it."""
    device: str | None = None
    gpu: str | None = None
    threads: int | None = None
    interop_threads: int | None = None
    torch: str | None = None
    num_parameters: int | None = None
    contained: Sequence[str] | None = None
    """The memory limits of its process."""
    value: float | None = None
    best: EpochResult | None = None
    last: EpochResult | None = None
    train: TrainingPartResult | None = None
    learning_curve: Sequence[Epoch] | None = None
    policy: ComputePolicy | None = None
    predictions: MadePredictions | None = None
    steps: int | None = None
    steps_here: int | None = None
    """Without the steps of the attempts that it continued."""
    epochs_ended: int | None = None
    windows: int | None = None
    train_seconds: float | None = None
    resumed_from: Resumption | None = None
    weights: str | None = None
    """SHA-256 of all weights at the end."""
    best_weights: str | None = None
    """The file with the weights of the best epoch, relative to the folder of the trial."""
    warnings: Sequence[str] | None = None
    unread: Sequence[str] | None = None
    """Sampled hyper-parameters that were never read."""
    memory: AttemptMemory | None = None
    batching: Batching | None = None
    val_loss: float | None = None
    """Of a smoke step."""
    probe: Sequence[Sequence[float]] | None = None
    """Of an evaluation, like the next fields: logits of synthetic windows."""
    loss: float | None = None
    metrics: EpochResult | None = None
    intervals: Mapping[str, MetricInterval | None] | None = None
    started: str | None = None
    ended: str | None = None
    seconds: float | None = None
    pauses: int | None = None
    paused_seconds: float | None = None
    checkpoint_seconds: float | None = None
    peak_memory: int | None = None
    """Peak memory of the process in bytes."""


@frozen(kw_only=True)
class AttemptEnd:
    """How an attempt ended, with the evidence."""

    kind: EndClass
    reason: str | None
    exit_code: int | None = None
    peak_memory: int | None = None
    last: AttemptProgress | None = None
    log_tail: str | None = None
    contained: Sequence[str] | None = None
    """The memory limits of its process."""
    result: AttemptResult | None = None
    unread: str | None = None
    """Why an existing result cannot be read."""

    @property
    def device_is_missing(self) -> bool:
        """Whether the attempt could not use the device that it needs (guard G48)."""
        return self.result is not None and self.result.error == DeviceError.__name__

    @property
    def changed_file(self) -> bool:
        """Whether a file with code changed since the start of the run (guard G26)."""
        return self.result is not None and self.result.error == ChangedFileError.__name__

    def plain(self) -> dict[str, Any]:
        """Return the content for the journal; the result itself goes into the trial's record."""
        return {
            "class": self.kind,
            "reason": self.reason,
            "exit_code": self.exit_code,
            "peak_memory": self.peak_memory,
            "last": self.last,
            "log_tail": self.log_tail,
            "contained": self.contained,
            **{name: getattr(self.result, name, None) for name in OF_RESULT},
        }
