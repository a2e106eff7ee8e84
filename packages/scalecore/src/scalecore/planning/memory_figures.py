"""Memory of the smallest and the largest shape: the plan's closed form, replaced by the trace of a run."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from attrs import asdict, evolve, frozen

from scalecore.api import formatting
from scalecore.api.plan_report import MemoryReport
from scalecore.config.missing_trainer import UNKNOWN
from scalecore.store.events import SmokeStep


@frozen(kw_only=True)
class MemoryFigure:
    """The current memory figure of a shape in bytes, and its source."""

    shape: str
    bytes: int
    micro_batch: int
    source: str
    low: int | None
    high: int | None
    replaced: int | None = None
    """The plan's closed form, if a run has replaced it by a trace."""

    def plain(self) -> dict[str, Any]:
        """Return JSON types, without `replaced` if it is None."""
        return {name: value for name, value in asdict(self).items() if name != "replaced" or value is not None}


def memory_figures(planned: MemoryReport, smoke: SmokeStep | None) -> dict[str, MemoryFigure]:
    """Return the figures of `smallest` and `largest`, given the study's smoke step if it has run.

    Empty for plans of earlier versions, which do not name their shapes.
    """
    if planned.shapes is None or planned.range is None or planned.source == UNKNOWN:
        return {}
    shapes, ranges = planned.shapes, planned.range
    found: dict[str, MemoryFigure] = {}
    results = {} if smoke is None else smoke.results
    for label, shape, size, (low, high) in (
        ("smallest", shapes.smallest, planned.smallest, ranges.smallest),
        ("largest", shapes.largest, planned.largest, ranges.largest),
    ):
        one = MemoryFigure(
            shape=shape, bytes=size, micro_batch=planned.micro_batch, source=planned.source, low=low, high=high
        )
        result = results.get(label) or results.get("smallest")  # a grid with one shape has only that one
        traced = None if result is None or result.architecture != shape else result.of_a_trial
        if traced is not None and traced.source == "traced":
            one = evolve(one, replaced=size, bytes=traced.memory, source="traced", low=None, high=None)
        found[label] = one
    return found


def memory_lines(figures: Mapping[str, MemoryFigure]) -> list[str]:
    """Return one line per distinct shape."""
    lines: list[str] = []
    for label, one in figures.items():
        only = len({each.shape for each in figures.values()}) == 1
        if only and lines:
            continue
        which = "the only shape" if only else f"{label} shape by memory"
        place = f"{which}, {one.shape}, at micro-batch {one.micro_batch}"
        if one.replaced is not None:
            how = f"{one.source} by the run; closed form: {formatting.size(one.replaced)}"
        else:
            how = f"{one.source}: {formatting.size(one.low)} to {formatting.size(one.high)}"
        lines.append(f"{place}: {formatting.size(one.bytes)} ({how})")
    return lines
