"""When to pause for heat, when to go on, when to stop: a state machine of readings and time."""

from __future__ import annotations

from enum import IntEnum
from typing import TYPE_CHECKING, Literal

from attrs import evolve, frozen

from scalecore.api.readings import Reading

if TYPE_CHECKING:
    from collections.abc import Sequence

    from scalecore_hwmon.options import ThermalOptions

MISSING_FOR = 60.0
"""Seconds without any value after which the sensors count as lost; shorter gaps change nothing."""


class Level(IntEnum):
    """How hot it is. Values of `thermal_pressure` of macOS mean nominal, moderate, heavy, and two critical ones."""

    NORMAL = 0
    WATCH = 1
    HOT = 2
    CRITICAL = 3


@frozen(kw_only=True)
class Heat:
    """What the sensors say together: the hottest one with its level, and whether all are cool enough to go on."""

    level: Level
    cool: bool
    hottest: Reading


@frozen(kw_only=True)
class ThermalState:
    """What is remembered: since when the study is paused, what the last values in a row said, since when none came."""

    paused_at: float | None = None
    hot: int = 0
    critical: int = 0
    cool: int = 0
    missing_since: float | None = None


Step = Literal["go_on", "pause", "stop", "lost"]
"""`lost`: the policy stops the study since there has been no value for too long."""


def heat_of(options: ThermalOptions, readings: Sequence[Reading]) -> Heat | None:
    """Heat by the readings that have a value; None where none has."""
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
    """One sample further. `now` is in seconds of a monotonic clock.

    Only values start or end anything, `confirm` of them in a row; a gap between them neither counts nor breaks the
    row. While no value comes, a pause lasts; when they stay away for `MISSING_FOR` seconds, `on_missing: refuse` stops
    the study, and `warn` and `ignore` let it go on, since without a sensor nothing could ever end the pause.
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
