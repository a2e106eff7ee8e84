"""The parts of a trial's record. What a version or an attempt did not measure is None.

A part is written as it was read or made: with the keys that were there, in their order. `plain()` gives that form.
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
    "KeptInterval",
    "KeptPredictions",
    "MemoryUse",
    "MetricInterval",
    "OutputSpread",
    "Part",
    "Pauses",
    "QuantityUse",
    "Timings",
]

KEY = "key"
"""In the metadata of a field: its key on the disk, where that is no name in Python."""
REST = "rest"
"""In the metadata of the field that takes all keys of which no other field knows."""
GIVEN = "given"
"""The field of a part for the keys that were there."""

Epoch = Mapping[str, float | None]
"""One line of a learning curve: epoch, train_loss, val_loss, learning_rate, gradient_norm, seconds, and the metrics."""

KeptInterval = Mapping[str, float | None]
"""A `MetricInterval` as a record holds it: its ends may be None."""

Json = Mapping[str, object]
"""A mapping of JSON whose keys the core does not read."""


@frozen(kw_only=True, slots=False)
class Part:
    """Base of all parts. `given` names the keys that were there; None means those whose value is not None."""

    given: tuple[str, ...] | None = field(default=None, eq=False, repr=False)

    @classmethod
    def of(cls, values: dict[str, Any]) -> Self:
        """A part of checked values by the names of its fields, which it takes over: at a fraction of what an `__init__`
        costs that sets each."""
        part = cls.__new__(cls)
        part.__dict__.update(_defaults(cls))  # type: ignore[arg-type]  # a class is hashable
        part.__dict__.update(values)
        return part

    def plain(self) -> dict[str, Any]:
        """JSON types, as the part was read or made."""
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
    """What makes a result suspicious: the guard's id, a kind for programs, a sentence for people."""

    guard: str | None = None
    kind: str | None = None
    text: str | None = None


@frozen(kw_only=True, slots=False)
class MetricInterval(Part):
    """An interval of a metric over the windows: the `level` share of the resampled values lies within."""

    low: float
    high: float
    level: float | None = None
    block: int | None = None
    """Windows of a block."""
    resamples: int | None = None
    denominator: int | None = None
    """Of a rate: the windows that it is over."""


@frozen(kw_only=True, slots=False)
class OutputSpread(Part):
    """How far what a model predicts spreads over the windows."""

    min: float | None = None
    max: float | None = None
    mean: float | None = None
    std: float | None = None
    most_common_share: float | None = None
    """Of several classes: the share of the windows for which the most frequent one is predicted."""


@frozen(kw_only=True, slots=False)
class EpochResult(Part):
    """What was measured at the end of one epoch."""

    epoch: int | None = None
    metrics: Mapping[str, float | None] = field(factory=dict, metadata={REST: True})
    """By name: losses, learning rate, seconds, and the metrics of the task."""
    confusion_matrix: Mapping[str, int] | Sequence[Sequence[int]] | None = None
    """Of two classes `tn`, `fp`, `fn` and `tp`; of more a row for each true class."""
    predictions: OutputSpread | None = None
    intervals: Mapping[str, KeptInterval | None] | None = None
    """By the metric; of the best epoch, and None where an earlier version measured none."""

    @property
    def val_loss(self) -> float | None:
        return self.metrics.get("val_loss")

    def interval(self, metric: str) -> KeptInterval | None:
        """None where there is none."""
        found = (self.intervals or {}).get(metric)
        return None if found is None or found.get("low") is None or found.get("high") is None else found


@frozen(kw_only=True, slots=False)
class KeptPredictions(Part):
    """Where the logits of the best epoch are; the path is relative to the study's folder."""

    file: str
    sha256: str
    part: str | None = None
    epoch: int | None = None
    windows: int | None = None


@frozen(kw_only=True, slots=False)
class DataSummary(Part):
    """What the trial saw of its data (guards G01, G07)."""

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
    """Seconds over all attempts."""

    train_seconds: float | None = None
    paused_seconds: float | None = None
    checkpoint_seconds: float | None = None


@frozen(kw_only=True, slots=False)
class ComputePolicy(Part):
    """How the last attempt computed, and `why` by the name of each choice."""

    precision: str | None = None
    compile: str | None = None
    evaluation: Literal["fp32", "tf32"] | None = None
    launches: str | None = None
    products: str | None = None
    why: Mapping[str, str] | None = None
    compile_seconds: float | None = None


@frozen(kw_only=True, slots=False)
class MemoryUse(Part):
    """Bytes: the predicted and the measured peak, the limit, and how the peak was predicted."""

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
    """Where memory ran out within a step, and the micro-batch was halved."""

    epoch: int
    step: int
    before: int = field(metadata={KEY: "from"})
    after: int = field(metadata={KEY: "to"})


@frozen(kw_only=True, slots=False)
class Batching(Part):
    """The micro-batch in the end, how it came to be halved, and what that means for the model."""

    micro_batch: int | None = None
    halvings: Sequence[Halving] | None = None
    invariance: str | None = None
    activation_checkpointing: bool | None = None


@frozen(kw_only=True, slots=False)
class QuantityUse(Part):
    """A quantity of the machine while the trial ran; only `unavailable`, the reason, where there was no number."""

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
    """How often monitors paused the trial."""

    count: int | None = None


@frozen(kw_only=True, slots=False)
class HardwareUse(Part):
    """What the machine did while the trial ran."""

    pauses: Pauses | None = None
    quantities: Mapping[str, QuantityUse] = field(factory=dict, metadata={REST: True})


@frozen(kw_only=True, slots=False)
class AttemptPlace(Part):
    """How far an attempt was when it was last seen."""

    phase: str | None = None
    epoch: int | None = None
    step: int | None = None
    waited: float | None = None
    """Seconds for which it had been paused."""


@frozen(kw_only=True, slots=False)
class AttemptMemory(Part):
    """What an attempt measured: its peak in bytes, and the micro-batch in the end."""

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
    """How it ended, such as `completed` or `killed`."""
    reason: str | None = None
    exit_code: int | None = None
    peak_memory: int | None = None
    last: AttemptPlace | None = None
    log_tail: str | None = None
    contained: Sequence[str] | None = None
    seconds: float | None = None
    memory: AttemptMemory | None = None
