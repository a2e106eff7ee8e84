"""The memory of the smallest and the largest shape: the plan's closed form, until a run has traced them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from scalecore.api import formatting

__all__ = ["memory_figures", "memory_lines"]


def memory_figures(planned: Mapping[str, Any], smoke: Mapping[str, Any] | None) -> dict[str, Any]:
    """By `smallest` and `largest` the one figure that counts now, with where it comes from.

    `planned` is the plan's `memory`, `smoke` the study's smoke step, where there was one. Empty for plans of earlier
    versions, which do not name their shapes.
    """
    found: dict[str, Any] = {}
    results = (smoke or {}).get("results") or {}
    for label, shape in (planned.get("shapes") or {}).items():
        low, high = planned["range"][label]
        one = {"shape": shape, "bytes": planned[label], "micro_batch": planned["micro_batch"]}
        one |= {"source": planned["source"], "low": low, "high": high}
        result = results.get(label) or results.get("smallest") or {}  # of a grid with one shape
        traced = result.get("of_a_trial") or {}
        if result.get("architecture") == shape and traced.get("source") == "traced":
            one |= {"replaced": one["bytes"], "bytes": traced["memory"], "source": "traced", "low": None, "high": None}
        found[label] = one
    return found


def memory_lines(figures: Mapping[str, Any]) -> list[str]:
    """One line each; equal shapes once."""
    lines: list[str] = []
    for label, one in figures.items():
        only = len({each["shape"] for each in figures.values()}) == 1
        if only and lines:
            continue
        which = "the only shape" if only else f"{label} shape by memory"
        place = f"{which}, {one['shape']}, at micro-batch {one['micro_batch']}"
        if "replaced" in one:
            how = (
                f"{one['source']} by the run, in place of the plan's closed form of {formatting.size(one['replaced'])}"
            )
        else:
            how = f"{one['source']}: {formatting.size(one['low'])} to {formatting.size(one['high'])}"
        lines.append(f"{place}: {formatting.size(one['bytes'])} ({how})")
    return lines
