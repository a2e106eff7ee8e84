"""How long a trial of each shape will take: from the FLOPs of the shape and what finished trials took per FLOP."""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from typing import Any

from scalecore.space import Architecture
from scalecore.trials import TrialRecord

__all__ = ["forecast", "seconds_per_trial"]

BACKWARD = 3
"""Forward and backward pass of a window take about three times the operations of the forward pass alone."""
NEIGHBOURS = 3
"""Measured trials that speak for a shape: those nearest in FLOPs, since small shapes use a machine less well."""


def forecast(
    architectures: Sequence[Architecture], records: Sequence[TrialRecord], *, windows: int, epochs: int
) -> dict[str, Any]:
    """Seconds of a trial with all its `epochs` by architecture id, None where nothing was measured yet; and from how
    many trials.

    `windows` are those of the training part. Early stopping makes a trial shorter.
    """
    measured = _measured(records, windows=windows)
    seconds = {one.id: seconds_per_trial(one.flops, measured, windows=windows, epochs=epochs) for one in architectures}
    return {"trials": len(measured), "epochs": epochs, "seconds": seconds}


def seconds_per_trial(flops: int, measured: Sequence[tuple[int, float]], *, windows: int, epochs: int) -> float | None:
    """Median speed of the measured trials nearest in FLOPs, applied to this shape; None without any."""
    if not measured or flops <= 0:
        return None
    nearest = sorted(measured, key=lambda one: abs(math.log(one[0] / flops)))[:NEIGHBOURS]
    return statistics.median(speed for _, speed in nearest) * BACKWARD * flops * windows * epochs


def _measured(records: Sequence[TrialRecord], *, windows: int) -> list[tuple[int, float]]:
    """FLOPs of the shape and seconds per operation of each trial that ended by itself in this study."""
    found = []
    for record in records:
        epochs, flops = len(record.learning_curve), record.architecture.flops
        if record.duration and epochs and flops > 0 and windows:
            found.append((flops, record.duration / (BACKWARD * flops * windows * epochs)))
    return found
