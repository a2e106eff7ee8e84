"""The plan of a study, as printed by `scalecore plan --json` and stored in the first line of the journal."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal

import attrs
from attrs import field, frozen

from scalecore.api.data_report import DataReport, ReportPart, at_least, pair
from scalecore.api.readings import Finding
from scalecore.api.record_parts import REST
from scalecore.api.space import Architecture, Distribution, Value, distribution_plain
from scalecore.api.trials import Proposal

__all__ = [
    "GridReport",
    "MemoryRange",
    "MemoryReport",
    "MemoryShapes",
    "PlanReport",
    "ProductsReport",
    "ShapeReport",
]


@frozen(kw_only=True)
class ShapeReport(ReportPart):
    """A feasible architecture with the predicted memory of a trial at its initial micro-batch, in bytes."""

    values: Mapping[str, int] = field(metadata={REST: True})
    """Values by dimension."""
    id: str = ""
    num_parameters: int = field(validator=at_least(0))
    flops: int = field(validator=at_least(0))
    memory: int | None = None


def _all_dimensions(grid: GridReport, attribute: attrs.Attribute[Any], value: Sequence[ShapeReport]) -> None:
    for index, shape in enumerate(value):
        if missing := [name for name in grid.dimensions if name not in shape.values]:
            raise ValueError(f"the architecture at index {index} lacks {' and '.join(missing)}", attribute)


@frozen(kw_only=True)
class GridReport(ReportPart):
    """The feasible architectures in the order of their size, with counts and limits of the selection."""

    feasible: int
    legal: int | None = None
    excluded: int = 0
    budget: int | None = None
    range: Sequence[int | None] = field(validator=pair)
    """Minimum and maximum number of parameters; both None without a budget."""
    gaps: Sequence[Sequence[float]] = field(default=(), validator=attrs.validators.deep_iterable(pair))
    """Gaps between neighbouring sizes, as shares of the budget."""
    dimensions: Mapping[str, Sequence[int]]
    roles: Mapping[str, str] = field(factory=dict)
    """The dimension that is the `width`, the `depth` and so on; empty if the family does not declare roles."""
    architectures: Sequence[ShapeReport] = field(validator=_all_dimensions)

    @property
    def low(self) -> int | None:
        """The minimum number of parameters; None without a budget."""
        return self.range[0]

    @property
    def high(self) -> int | None:
        """The maximum number of parameters; None without a budget."""
        return self.range[1]

    @property
    def shapes(self) -> list[Architecture]:
        """The shapes as `Architecture` objects."""
        return [
            Architecture(
                values={name: one.values[name] for name in self.dimensions},
                num_parameters=one.num_parameters,
                flops=one.flops,
            )
            for one in self.architectures
        ]


@frozen(kw_only=True)
class MemoryShapes(ReportPart):
    """The ids of the two shapes whose trials need the least and the most memory."""

    smallest: str
    largest: str


@frozen(kw_only=True)
class MemoryRange(ReportPart):
    """The range of a trial's memory in bytes for each of the two shapes."""

    smallest: Sequence[int] = field(validator=pair)
    largest: Sequence[int] = field(validator=pair)


@frozen(kw_only=True)
class MemoryReport(ReportPart):
    """Predicted peak of a trial in bytes at the initial micro-batch, for the shapes with the least and the most memory.

    `floor_of_largest` is at micro-batch 1. Version 0.1 did not name the shapes.
    """

    micro_batch: int
    smallest: int
    largest: int
    floor_of_largest: int | None = None
    source: str
    shapes: MemoryShapes | None = None
    range: MemoryRange | None = None


@frozen(kw_only=True)
class ProductsReport(ReportPart):
    """The library of float32 products on a CPU, and the reason as text."""

    name: Literal["torch", "onednn"]
    why: str = ""


@frozen(kw_only=True)
class PlanReport(ReportPart):
    """A study before its first trial. Fields that an older version did not write are None."""

    name: str
    data: DataReport
    architectures: GridReport
    planned: Sequence[Proposal]
    """The forced trials, which run first."""
    trials: int
    space: Mapping[str, Distribution]
    """The varied hyper-parameters."""
    fixed: Mapping[str, Value]
    """The fixed hyper-parameters."""
    loss: Mapping[str, object]
    """The training loss: its `kind`, and all its settings."""
    memory: MemoryReport
    products: ProductsReport | None = None
    compile_rule: str | None = None
    """The rule by which `training.compile: auto` decides."""
    findings: Sequence[Finding] = ()
    versions: Mapping[str, str]

    def plain(self) -> dict[str, Any]:
        """Return JSON types, as the plan was read or created."""
        content = super().plain()
        forms: dict[str, Any] = {
            "planned": [attrs.asdict(one) for one in self.planned],
            "space": {name: distribution_plain(one) for name, one in self.space.items()},
            "findings": [attrs.asdict(one) for one in self.findings],
        }
        return content | {name: forms[name] for name in forms if name in content}
