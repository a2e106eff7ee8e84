"""The description of prepared data, stored in the plan and summarised in every record."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Self, TypeVar

import attrs
from attrs import field, frozen

from scalecore.api.record_parts import GIVEN, REST, MetricInterval, Part
from scalecore.api.space import DataShape

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt
    import torch

__all__ = [
    "BaselineReport",
    "DataReport",
    "DriftReport",
    "NormalisationReport",
    "PartReport",
    "ReportPart",
    "SplitReport",
    "Steps",
    "TargetReport",
    "TargetScale",
    "YearReport",
    "at_least",
    "pair",
]

Outputs = TypeVar("Outputs", "npt.NDArray[Any]", "torch.Tensor")
OPTIONAL = "optional"
"""Metadata of a field that is written only if it has a value, as in the files of earlier versions."""


def at_least(least: int) -> Any:
    """Return an attrs validator for a number, or the numbers of a list, of at least `least`."""

    def validate(_: object, attribute: attrs.Attribute[Any], value: Any) -> None:
        for one in value if isinstance(value, Sequence) else (value,):
            if one is not None and one < least:
                raise ValueError(f"must be at least {least}, got {one}", attribute)

    return validate


def pair(_: object, attribute: attrs.Attribute[Any], value: Sequence[object]) -> None:
    """Validate a list of two (an attrs validator)."""
    if len(value) != 2:
        raise ValueError(f"expected a list of 2, got one of {len(value)}", attribute)


@frozen(kw_only=True)
class ReportPart(Part):
    """Base of the parts of a plan.

    A part created by this version is written with all its keys, also those with the value None; a part that was read
    is written with the keys that it had.
    """

    @classmethod
    def of(cls, values: dict[str, Any]) -> Self:
        """Create a part from values of checked types; the attrs validators check the rest."""
        return cls(**values)

    def plain(self) -> dict[str, Any]:
        """Return JSON types, as the part was read or created."""
        if self.given is not None:
            return super().plain()
        keys: list[str] = []
        for one in attrs.fields(type(self)):
            value = getattr(self, one.name)
            if one.metadata.get(REST):
                keys += value
            elif one.name != GIVEN and (value or not one.metadata.get(OPTIONAL)):
                keys.append(one.name)
        return attrs.evolve(self, given=tuple(keys)).plain()


@frozen(kw_only=True)
class TargetReport(ReportPart):
    """The target as in `Target.to_json`, with its `hash` and a one-line `text`."""

    kind: str
    horizon: int = field(validator=at_least(0))
    threshold: float | None = None
    price: str | None = None
    rule: str | None = None
    columns: Mapping[str, str] = field(factory=dict)
    task: str | None = None
    outputs: int | None = None
    hash: str
    text: str | None = None

    @property
    def overlap(self) -> int:
        """Number of consecutive windows whose labels depend on the same row; at least 1."""
        return max(1, self.horizon)


@frozen(kw_only=True)
class YearReport(ReportPart):
    """Number of rows of a year with a known label, their mean label, and the number of windows of each part."""

    year: int
    rows: int
    base_rate: float
    train: int | None = None
    val: int | None = None
    test: int | None = None


@frozen(kw_only=True)
class PartReport(ReportPart):
    """One part of the split: train, val or test.

    `stretches` counts its pieces in time. `samples` are the first and the last window end, `inputs` and `labels` the
    first and the last row used by windows and labels. `effective` is windows // overlap of the labels,
    `effective_rarest` the same for the rarest class. `prior_loss` is the mean loss of the training prior, `entropy`
    that of the best constant, in nats; for a forecast both are squared errors.
    """

    hash: str
    stretches: int | None = None
    samples: Sequence[str] = field(validator=pair)
    inputs: Sequence[str] | None = field(default=None, validator=attrs.validators.optional(pair))
    labels: Sequence[str] | None = field(default=None, validator=attrs.validators.optional(pair))
    windows: int = field(validator=at_least(1))
    effective: int = field(validator=at_least(0))
    effective_rarest: int | None = field(default=None, validator=at_least(0))
    positives: int | None = None
    classes: Sequence[int] | None = field(default=None, validator=attrs.validators.optional(at_least(0)))
    """Number of windows of each class; None for a forecast."""
    base_rate: float
    prior_loss: float | None = None
    entropy: float


def _all_parts(_: object, attribute: attrs.Attribute[Any], value: Mapping[str, PartReport]) -> None:
    if missing := [name for name in ("train", "val", "test") if name not in value]:
        raise ValueError(f"lacks {' and '.join(missing)}", attribute)


@frozen(kw_only=True)
class SplitReport(ReportPart):
    """The split with its options, those `chosen` to fit the data, and its three parts."""

    kind: str
    hash: str
    purge: int
    embargo: int
    options: Mapping[str, object] = field(factory=dict)
    chosen: Mapping[str, object] | None = field(default=None, metadata={OPTIONAL: True})
    parts: Mapping[str, PartReport] = field(validator=_all_parts)


@frozen(kw_only=True)
class NormalisationReport(ReportPart):
    """The normalisation of each feature: (value - center) / scale."""

    kind: str
    center: Mapping[str, float] = field(factory=dict)
    scale: Mapping[str, float] = field(factory=dict)


@frozen(kw_only=True)
class DriftReport(ReportPart):
    """Drift of a raw feature from training to `part` (val or test); `strong` drift is reported (guard G08)."""

    feature: str
    part: str
    shift: float | None = None
    std_ratio: float | None = None
    level_ratio: float | None = None
    strong: bool


@frozen(kw_only=True)
class BaselineReport(ReportPart):
    """The result of a simple rule on the validation windows (guard G09); one without a `loss` has a `reason`.

    `over_prior` is its mean loss minus that of the constant prior: below 0 it is better than the base rate.
    """

    name: str
    text: str = ""
    reason: str | None = None
    loss: float | None
    over_prior: float | None = None
    accuracy: float | None = None
    auc: float | None = None
    loss_interval: MetricInterval | None = None
    over_prior_interval: MetricInterval | None = None


@frozen(kw_only=True)
class TargetScale(ReportPart):
    """The scale of the target in training, for forecasts (guard G57).

    `mean` and `std` (population) of the labels of the training windows, in the target's unit. All reported values are
    in that unit.
    """

    mean: float
    std: float

    def standardised(self, labels: npt.NDArray[np.float64]) -> npt.NDArray[np.float32]:
        """Return (label - mean) / std, computed in double precision; NaN stays NaN."""
        scaled: npt.NDArray[np.float32] = ((labels - self.mean) / self.std).astype("float32")
        return scaled

    def in_unit(self, outputs: Outputs) -> Outputs:
        """Convert standardised labels or model outputs to the target's unit, in double precision."""
        array: Any = outputs
        wide = array.double() if hasattr(array, "double") else array.astype("float64")
        found: Outputs = self.mean + self.std * wide
        return found


@frozen(kw_only=True)
class Steps(ReportPart):
    """Seconds from row to row.

    `long` counts the steps above `limit`; `windows` and `labels` count those that cross a long step, by part. `usual`
    is the most frequent step, or the median if no step is frequent (then `regular` is false). The longest step follows
    row `after_row`, which has the time `after`.
    """

    usual: float
    regular: bool
    longest: float
    after_row: int
    after: str
    limit: float
    long: int
    count: int
    windows: Mapping[str, int]
    labels: Mapping[str, int]


@frozen(kw_only=True)
class DataReport(ReportPart):
    """The description of prepared data. Dates are ISO text; fields that an older version did not write are None."""

    name: str
    features: Sequence[str]
    context: int = field(validator=at_least(1))
    look_back: int = 0
    task: str
    outputs: int = field(validator=at_least(1))
    target: TargetReport
    rows: int
    first: str
    last: str
    base_rate: float | None = None
    base_rates_per_year: Sequence[YearReport] = ()
    prior: float | Sequence[float] | None = None
    """The best constant prediction from training labels: a probability, one per class, or the mean."""
    split: SplitReport
    normalise: NormalisationReport
    drift: Sequence[DriftReport] = ()
    baselines: Sequence[BaselineReport]
    fingerprint: str
    flags: Sequence[Mapping[str, str]] = ()
    """Warnings that are stored with every trial: `guard`, `text`, and for some a `kind`."""
    details: Mapping[str, object] = field(factory=dict)
    """Details from the dataset; the plan shows its `notes`."""
    target_scale: TargetScale | None = None
    """None for classes, and for a forecast trained in the target's unit, as in version 0.1."""
    seed_data: str | None = None
    """Replaces the fingerprint in the seeds of a forecast's trials, so that seeds and results do not depend on the
    target's unit."""
    steps: Steps | None = None

    @property
    def shape(self) -> DataShape:
        """The data shape for models."""
        return DataShape(context=self.context, features=len(self.features), outputs=self.outputs)

    @property
    def parts(self) -> Mapping[str, PartReport]:
        """The three parts of the split by name."""
        return self.split.parts

    @property
    def notes(self) -> Sequence[str]:
        """Remarks of the dataset, shown to the user."""
        found = self.details.get("notes", ())
        return [str(one) for one in found] if isinstance(found, list | tuple) else ()

    @property
    def of_version_0_1(self) -> bool:
        """True if version 0.1, which had no target scale, wrote this report."""
        return self.given is not None and "target_scale" not in self.given

    @property
    def best_baseline(self) -> BaselineReport | None:
        """The baseline with the smallest validation loss; None if none was computed."""
        known = [(one.loss, position) for position, one in enumerate(self.baselines) if one.loss is not None]
        return self.baselines[min(known)[1]] if known else None
