"""Plausibility of temperatures: a stuck, jumping or out-of-range sensor becomes "unavailable" (guard G41)."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from attrs import evolve, frozen

if TYPE_CHECKING:
    from scalecore.api.readings import Reading

HIGHEST = 150.0
"""°C. Chips switch themselves off well below this temperature."""

JUMP = 30.0
"""°C in one sample. A jump counts once the next sample confirms it: a chip under load can heat this fast."""

STUCK_FOR = 600.0
"""A sensor is stuck if its value stays identical for this many seconds while the load changes."""

STUCK_LOAD = 50.0
"""Smallest change of the load in that time, in percentage points."""


@frozen(kw_only=True)
class SensorHistory:
    """State of one sensor: last accepted value, unconfirmed value, and the start of a run of identical values."""

    last: float | None = None
    unconfirmed: float | None = None
    same: float | None = None
    same_since: float = 0.0
    loads: tuple[float, float] | None = None
    """Lowest and highest load since `same_since`, in percent."""


def check_reading(
    history: SensorHistory, reading: Reading, *, load: float | None, now: float
) -> tuple[SensorHistory, Reading]:
    """Return the history with the new reading, and the reading. An implausible reading loses its value.

    `load` is the machine's load in percent, None if unknown; `now` is in seconds of a monotonic clock.
    """
    value = reading.value
    if value is None:
        return evolve(history, unconfirmed=None), reading
    if not math.isfinite(value) or not 0 < value <= HIGHEST:
        return evolve(history, unconfirmed=None), _rejected(reading, f"implausible value {value:g} {reading.unit}")
    history = _unchanged(history, value, load=load, now=now)
    if history.loads is not None and now - history.same_since >= STUCK_FOR:
        low, high = history.loads
        if high - low >= STUCK_LOAD:
            stuck = f"stuck at {value:g} {reading.unit} for {(now - history.same_since) / 60:.0f} min"
            return history, _rejected(reading, f"{stuck} while the load went from {low:.0f} to {high:.0f} %")
    if _far(history.last, value) and (history.unconfirmed is None or _far(history.unconfirmed, value)):
        reason = f"jumped from {history.last:g} to {value:g} {reading.unit} in one sample"
        return evolve(history, unconfirmed=value), _rejected(reading, reason)
    return evolve(history, last=value, unconfirmed=None), reading


def _unchanged(history: SensorHistory, value: float, *, load: float | None, now: float) -> SensorHistory:
    if value != history.same:
        return evolve(history, same=value, same_since=now, loads=None if load is None else (load, load))
    if load is None:
        return history
    low, high = history.loads or (load, load)
    return evolve(history, loads=(min(low, load), max(high, load)))


def _far(before: float | None, value: float) -> bool:
    return before is not None and abs(value - before) > JUMP


def _rejected(reading: Reading, reason: str) -> Reading:
    return evolve(reading, value=None, reason=reason)
