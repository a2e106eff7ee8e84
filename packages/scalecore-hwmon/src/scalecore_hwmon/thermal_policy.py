"""A state machine over readings and time that pauses, resumes or stops a study because of heat."""

from __future__ import annotations

from enum import IntEnum
from typing import TYPE_CHECKING, Literal

from attrs import evolve, frozen

from scalecore.api.readings import Reading

if TYPE_CHECKING:
    from collections.abc import Sequence

    from scalecore_hwmon.options import ThermalOptions

MISSING_FOR = 60.0
"""Sensors count as lost after this many seconds without a value. Shorter gaps have no effect."""


class Level(IntEnum):
    """Heat levels. The levels of macOS's `thermal_pressure` are nominal, moderate, heavy, and two critical ones."""

    NORMAL = 0
    WATCH = 1
    HOT = 2
    CRITICAL = 3


@frozen(kw_only=True)
class Heat:
    """The hottest sensor with its level, and whether all sensors are cool enough to resume."""

    level: Level
    cool: bool
    hottest: Reading


@frozen(kw_only=True)
class ThermalState:
    """Start of the pause, numbers of consecutive hot, critical and cool samples, and start of missing values."""

    paused_at: float | None = None
    hot: int = 0
    critical: int = 0
    cool: int = 0
    missing_since: float | None = None


Step = Literal["go_on", "pause", "stop", "lost"]
"""`lost`: the policy stops the study because the sensors have returned no value for too long."""


def heat_of(options: ThermalOptions, readings: Sequence[Reading]) -> Heat | None:
    """The heat from all readings with a value; None if there is no such reading."""
    known = [(reading, reading.value) for reading in readings if reading.value is not None]
    if not known:
        return None
    judged = [(*_judge(options, reading.quantity, value), value, reading) for reading, value in known]
    level, _, _, hottest = max(judged, key=lambda item: (item[0], item[2]))
    return Heat(level=level, cool=all(cool for _, cool, _, _ in judged), hottest=hottest)


def _judge(options: ThermalOptions, quantity: str, value: float) -> tuple[Level, bool]:
    if quantity == "thermal_pressure":
        return Level(min(int(value), Level.CRITICAL)), value < Level.HOT
    limits = ((options.stop_at, Level.CRITICAL), (options.pause_at, Level.HOT), (options.watch_at, Level.WATCH))
    level = next((level for limit, level in limits if value >= limit), Level.NORMAL)
    return level, value < options.resume_below


def step(options: ThermalOptions, state: ThermalState, heat: Heat | None, *, now: float) -> tuple[ThermalState, Step]:
    """Process one sample. `now` is in seconds of a monotonic clock.

    Pausing, resuming and stopping require `confirm` consecutive values. A gap neither counts nor resets that count. A
    pause lasts while values are missing. After `MISSING_FOR` seconds without a value, `on_missing: refuse` stops the
    study; `warn` and `ignore` resume it, because without a sensor nothing could end the pause.
    """
    if heat is None:
        return _without_value(options, state, now=now)
    state = evolve(
        state,
        hot=state.hot + 1 if heat.level >= Level.HOT else 0,
        critical=state.critical + 1 if heat.level >= Level.CRITICAL else 0,
        cool=state.cool + 1 if heat.cool else 0,
        missing_since=None,
    )
    if state.critical >= options.confirm:
        return state, "stop"
    if state.paused_at is None:
        if state.hot < options.confirm:
            return state, "go_on"
        return evolve(state, paused_at=now), "pause"
    if state.cool >= options.confirm and now - state.paused_at >= options.min_pause:
        return evolve(state, paused_at=None), "go_on"
    return state, "pause"


def _without_value(options: ThermalOptions, state: ThermalState, *, now: float) -> tuple[ThermalState, Step]:
    since = now if state.missing_since is None else state.missing_since
    state = evolve(state, missing_since=since)
    if now - since >= MISSING_FOR:
        if options.on_missing == "refuse":
            return state, "lost"
        if state.paused_at is not None and now - state.paused_at >= options.min_pause:
            state = evolve(state, paused_at=None, hot=0, critical=0, cool=0)
    return state, "go_on" if state.paused_at is None else "pause"
