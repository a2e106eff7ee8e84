"""What is known of prepared data: the part of the plan, and of every record, that tells what was trained on."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import attrs
from attrs import field, frozen

from scalecore.api.space import DataShape

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["DataDescription"]


@frozen(kw_only=True)
class DataDescription:
    """Prepared data as plain JSON types; missing is None. Dates are ISO text, losses are in nats.

    `split` has `kind`, `hash`, `purge`, `embargo`, `options`, and `parts`: for `train`, `val` and `test` the `hash`
    of the sample dates, the `stretches` (how many pieces in time), `samples` (first and last window end), `inputs`
    and `labels` (first and last row that windows and labels look at), and the fields of `statistics.PartStatistics`.
    `target_scale` has the `mean` and `std` by which the target of a forecast is standardised for training; it is None
    for classes, and for a forecast that is trained in the target's unit, as version 0.1 did.
    `steps` is `steps.Steps`, empty of data that an older version prepared.
    `baselines` holds what simple rules reach on the validation windows, as `baselines.Baseline` tells it.
    """

    name: str
    features: list[str]
    context: int
    look_back: int
    task: str
    outputs: int
    target: dict[str, Any]
    rows: int
    first: str
    last: str
    base_rate: float
    base_rates_per_year: list[dict[str, Any]]
    prior: float | list[float]
    split: dict[str, Any]
    normalise: dict[str, Any]
    drift: list[dict[str, Any]]
    baselines: list[dict[str, Any]]
    fingerprint: str
    flags: list[dict[str, str]]
    details: dict[str, Any] = field(factory=dict)
    target_scale: dict[str, float] | None = None
    seed_data: str | None = None
    """Stands for the data in the seeds of trials, where that is not the fingerprint: a forecast has the same seeds, and
    so the same results, in any unit of its target."""
    steps: dict[str, Any] = field(factory=dict)

    @property
    def shape(self) -> DataShape:
        """What a model sees of it."""
        return DataShape(context=self.context, features=len(self.features), outputs=self.outputs)

    @property
    def parts(self) -> dict[str, dict[str, Any]]:
        """The three parts of the split by name."""
        parts: dict[str, dict[str, Any]] = self.split["parts"]
        return parts

    def to_json(self) -> dict[str, Any]:
        """All fields, ready for `json.dumps(..., allow_nan=False)`."""
        return attrs.asdict(self)

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> DataDescription:
        """The description that `to_json` or a `data.json` holds; keys that are not its fields are left out."""
        return cls(**{name: data[name] for name in attrs.fields_dict(cls) if name in data})
