"""Describes the smoke step for people: its duration, and measured against predicted memory."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from scalecore.api import formatting

NEAR = (0.5, 1.25)
"""Ratio of measured to predicted memory: above it, trials may run out of memory; below it, micro-batches are smaller
than necessary."""


def smoke_text(results: Mapping[str, Any], *, seconds: float) -> str:
    """Return one line: `smoke step took 4 s: smallest d_model=8 1.2 s, 310 MB (predicted 350 MB); largest ...`."""
    return f"smoke step took {formatting.duration(seconds)}: " + "; ".join(
        f"{label} {_one(result)}" for label, result in results.items()
    )


def memory_warnings(results: Mapping[str, Any]) -> Iterator[str]:
    """Yield a warning for each shape whose measured memory is far from the prediction (guard G40)."""
    for label, result in results.items():
        measured, predicted = _memory(result)
        if measured is None or not predicted or NEAR[0] <= measured / predicted <= NEAR[1]:
            continue
        more = measured > predicted
        yield (
            f"smoke step: the {label} shape used {formatting.size(measured)} at micro-batch {result['micro_batch']} "
            f"(predicted {formatting.size(predicted)}): "
            + ("trials may run out of memory" if more else "micro-batches may be smaller than necessary")
        )


def _one(result: Mapping[str, Any]) -> str:
    if "left_out" in result:
        return f"{result['architecture']} skipped: {result['left_out']}"
    measured, predicted = _memory(result)
    memory = "" if measured is None else f", {formatting.size(measured)}"
    if memory and predicted is not None:
        memory += f" (predicted {formatting.size(predicted)})"
    return f"{result['architecture']} {result['seconds']:.1f} s{memory}"


def _memory(result: Mapping[str, Any]) -> tuple[float | None, float | None]:
    """Measured and predicted bytes on the training device."""
    return result.get("peak_memory"), result.get("predicted_memory")
