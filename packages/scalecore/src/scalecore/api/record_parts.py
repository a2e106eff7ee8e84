"""The parts of a trial's record. Values that a version or an attempt did not measure are None.

A part is written with the keys with which it was read or created, in their order; `plain()` returns that form.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cache
from typing import Any, Literal, Self

import attrs
from attrs import field, frozen

__all__ = [
    "GIVEN",
    "KEY",
    "REST",
    "AttemptMemory",
    "AttemptPlace",
    "AttemptSummary",
    "Batching",
    "ComputePolicy",
    "DataSummary",
    "Epoch",
    "EpochResult",
    "Flag",
    "Halving",
    "HardwareUse",
    "KeptPredictions",
    "MemoryUse",
    "MetricInterval",
    "OutputSpread",
    "Part",
    "Pauses",
    "QuantityUse",
    "Timings",
    "TrainingPartResult",
]

KEY = "key"
"""Metadata of a field: its key on the disk, if that is not a valid Python name."""
REST = "rest"
"""Metadata of the field that collects all keys without a field of their own."""
GIVEN = "given"
"""The field with the keys of the part as it was read."""

Epoch = Mapping[str, float | None]
"""One line of a learning curve: epoch, train_loss, val_loss, learning_rate, gradient_norm, seconds, and the metrics."""

Json = Mapping[str, object]
"""A JSON mapping; the core does not read its keys."""


@frozen(kw_only=True, slots=False)
class Part:
    """Base of all parts. `given` names the keys of a part that was read; None means all keys with a value."""

    given: tuple[str, ...] | None = field(default=None, eq=False, repr=False)

    @classmethod
    def of(cls, values: dict[str, Any]) -> Self:
        """Create a part from checked values by field name, much faster than `__init__`, which sets each field."""
        part = cls.__new__(cls)
        part.__dict__.update(_defaults(cls))  # type: ignore[arg-type]  # a class is hashable
        part.__dict__.update(values)
        return part

    def plain(self) -> dict[str, Any]:
        """Return JSON types, as the part was read or created."""
        found: dict[str, Any] = {}
        for one in attrs.fields(type(self)):
            value = getattr(self, one.name)
            if one.metadata.get(REST):
                found |= value
            elif one.name != GIVEN and (value is not None or self.given is not None):
                found[one.metadata.get(KEY, one.name)] = value
        if self.given is not None:
            kept = {key: found.pop(key) for key in self.given if key in found}
            found = kept | {key: value for key, value in found.items() if value is not None}
        return {key: _plain(value) for key, value in found.items()}


@cache
def _defaults(kind: Any) -> dict[str, Any]:
    return {
        one.name: one.default.factory() if isinstance(one.default, attrs.Factory) else one.default  # type: ignore[arg-type]
        for one in attrs.fields(kind)
        if one.default is not attrs.NOTHING
    }


def _plain(value: Any) -> Any:
    if isinstance(value, Part):
        return value.plain()
    if isinstance(value, Mapping):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    return value


@frozen(kw_only=True, slots=False)
class Flag(Part):
    """A warning about a result: the guard's id, a `kind` for programs, a `text` for the user."""

    guard: str | None = None
    kind: str | None = None
    text: str | None = None


@frozen(kw_only=True, slots=False)
class MetricInterval(Part):
    """A confidence interval of a metric over windows, with `level`."""

    low: float
    high: float
    level: float | None = None
    method: str | None = None
    """How it was computed; None in records of version 0.1, which used a circular block bootstrap."""
    cosines: int | None = None
    """Number of cosines, which is the degrees of freedom; None for an interval of a rate without them."""
    block: int | None = None
    """Of version 0.1: number of windows per block."""
    resamples: int | None = None
    """Of version 0.1."""
    denominator: int | None = None
    """Denominator of a rate, in windows."""


@frozen(kw_only=True, slots=False)
class OutputSpread(Part):
    """The spread of a model's predictions over the windows."""

    min: float | None = None
    max: float | None = None
    mean: float | None = None
    std: float | None = None
    most_common_share: float | None = None
    """For several classes: the share of windows with the most frequently predicted class."""


@frozen(kw_only=True, slots=False)
class EpochResult(Part):
    """The measurements at the end of an epoch."""

    epoch: int | None = None
    metrics: Mapping[str, float | None] = field(factory=dict, metadata={REST: True})
    """Losses, learning rate, seconds, and the metrics of the task, by name."""
    confusion_matrix: Mapping[str, int] | Sequence[Sequence[int]] | None = None
    """For two classes `tn`, `fp`, `fn` and `tp`; for more a row per true class."""
    predictions: OutputSpread | None = None
    intervals: Mapping[str, MetricInterval | None] | None = None
    """Intervals of the best epoch by metric; None if an earlier version measured none."""
    without_interval: Mapping[str, str] | None = None
    """Why a metric has no interval, by metric."""

    @property
    def val_loss(self) -> float | None:
        return self.metrics.get("val_loss")

    def interval(self, metric: str) -> MetricInterval | None:
        """Return the interval of a metric; None if it has none."""
        return (self.intervals or {}).get(metric)


@frozen(kw_only=True, slots=False)
class TrainingPartResult(Part):
    """The training windows with the weights of the best epoch, measured like validation windows: without dropout.

    `loss` is the task's own loss, as `val_loss`: `val_loss` minus `loss` is the generalisation gap.
    """

    epoch: int | None = None
    windows: int | None = None
    loss: float | None = None
    metrics: Mapping[str, float | None] = field(factory=dict, metadata={REST: True})
    """The metrics of the task by name; `training_loss` is the minimised loss, unless it is the task's own."""
    confusion_matrix: Mapping[str, int] | Sequence[Sequence[int]] | None = None
    predictions: OutputSpread | None = None


@frozen(kw_only=True, slots=False)
class KeptPredictions(Part):
    """The file with the logits of the best epoch; its path is relative to the study's folder."""

    file: str
    sha256: str
    part: str | None = None
    epoch: int | None = None
    windows: int | None = None


@frozen(kw_only=True, slots=False)
class DataSummary(Part):
    """The data of a trial in short (guards G01, G07)."""

    name: str | None = None
    fingerprint: str | None = None
    target: Json | None = None
    split: Json | None = None
    features: Sequence[str] | None = None
    context: int | None = None
    prior: float | Sequence[float] | None = None
    normalise: Json | None = None
    target_scale: Json | None = None
    strong_drift: Sequence[Json] | None = None


@frozen(kw_only=True, slots=False)
class Timings(Part):
    """Seconds, summed over all attempts."""

    train_seconds: float | None = None
    paused_seconds: float | None = None
    checkpoint_seconds: float | None = None


@frozen(kw_only=True, slots=False)
class ComputePolicy(Part):
    """The compute settings of the last attempt, and the reasons for them (`why`) by name."""

    precision: str | None = None
    compile: str | None = None
    evaluation: Literal["fp32", "tf32"] | None = None
    launches: str | None = None
    products: str | None = None
    why: Mapping[str, str] | None = None
    compile_seconds: float | None = None


@frozen(kw_only=True, slots=False)
class MemoryUse(Part):
    """Memory in bytes: predicted and measured peak, the limit, and details of the prediction."""

    tensors: int | None = None
    floor: int | None = None
    held: int | None = None
    source: str | None = None
    group: str | None = None
    constant: float | None = None
    offset: int | None = None
    factor: float | None = None
    factor_of_floor: float | None = None
    observations: int | None = None
    blocks: int | None = None
    traced_on: str | None = None
    note: str | None = None
    predicted: int | None = None
    measured: int | None = None
    limit: int | None = None


@frozen(kw_only=True, slots=False)
class Halving(Part):
    """A step in which memory ran out and the micro-batch was halved."""

    epoch: int
    step: int
    before: int = field(metadata={KEY: "from"})
    after: int = field(metadata={KEY: "to"})


@frozen(kw_only=True, slots=False)
class Batching(Part):
    """The final micro-batch, its halvings, and their effect on the model (`invariance`)."""

    micro_batch: int | None = None
    halvings: Sequence[Halving] | None = None
    invariance: str | None = None
    activation_checkpointing: bool | None = None


@frozen(kw_only=True, slots=False)
class QuantityUse(Part):
    """A hardware quantity during the trial; only `unavailable` (the reason) if no sample had a number."""

    mean: float | None = None
    min: float | None = None
    max: float | None = None
    samples: int | None = None
    unit: str | None = None
    missed: int | None = None
    last_reason: str | None = None
    unavailable: str | None = None


@frozen(kw_only=True, slots=False)
class Pauses(Part):
    """The number of pauses by monitors."""

    count: int | None = None


@frozen(kw_only=True, slots=False)
class HardwareUse(Part):
    """Hardware quantities during the trial."""

    pauses: Pauses | None = None
    quantities: Mapping[str, QuantityUse] = field(factory=dict, metadata={REST: True})


@frozen(kw_only=True, slots=False)
class AttemptPlace(Part):
    """The last known progress of an attempt."""

    phase: str | None = None
    epoch: int | None = None
    step: int | None = None
    waited: float | None = None
    """Seconds paused so far."""


@frozen(kw_only=True, slots=False)
class AttemptMemory(Part):
    """The measured peak of an attempt in bytes, and its final micro-batch."""

    peak: int | None = None
    source: str | None = None
    micro_batch: int | None = None


@frozen(kw_only=True, slots=False)
class AttemptSummary(Part):
    """One attempt of a trial."""

    index: int
    micro_batch: int | None = None
    started: str | None = None
    end: str | None = field(default=None, metadata={KEY: "class"})
    """How the attempt ended, such as `completed` or `killed`."""
    reason: str | None = None
    exit_code: int | None = None
    peak_memory: int | None = None
    last: AttemptPlace | None = None
    log_tail: str | None = None
    contained: Sequence[str] | None = None
    seconds: float | None = None
    memory: AttemptMemory | None = None
