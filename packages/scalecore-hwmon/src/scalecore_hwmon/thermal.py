"""The thermal monitor: reads sensors, rejects implausible values, applies the policy.

A missing value is never treated as a normal temperature (guard G41).
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from attrs import evolve

from scalecore.api.clock import RunningClock
from scalecore.api.readings import Admission, Demand, Finding, Reading, Verdict
from scalecore_hwmon.missing_sensor import missing_finding
from scalecore_hwmon.plausibility import SensorHistory, check_reading
from scalecore_hwmon.sensors import NO_SENSOR, SensorProvider, decides
from scalecore_hwmon.thermal_policy import MISSING_FOR, Level, ThermalState, heat_of, step

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from scalecore_hwmon.options import ThermalOptions

SUBJECT = "temperature"
GONE = "the sensor has disappeared"


class ThermalMonitor:
    """A `HardwareMonitor` for the sensors of `providers`."""

    def __init__(
        self,
        options: ThermalOptions,
        *,
        providers: Sequence[SensorProvider],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._options = options
        self._providers = tuple(providers)
        # Time in which the machine was frozen does not count (guard G47).
        self._running = RunningClock(clock, longest=3 * max(options.interval, 2.0))
        self._sampled_at = self._running()
        self._histories: dict[str, SensorHistory] = {}
        self._seen: dict[str, Reading] = {}
        """Every sensor seen so far: one that disappears counts as missing, and no other sensor replaces it."""
        self._state = ThermalState()

    @property
    def interval(self) -> float:
        return self._options.interval

    def preflight(self, demand: Demand | None) -> Sequence[Finding]:
        readings = self._deciding(self.sample({}))
        heat = heat_of(self._options, readings)
        if heat is None:
            return [
                missing_finding(
                    SUBJECT,
                    f"{self._why_none(readings)}: thermal guard inactive",
                    on_missing=self._options.on_missing,
                    remedy="run outside a container or virtual machine, which usually hide the sensors, "
                    "or set on_missing of the thermal monitor to ignore",
                )
            ]
        found = f"{heat.hottest.text} ({heat.hottest.source})"
        if heat.level == Level.CRITICAL:
            message = f"{found} is critical: the study would be stopped"
            return [Finding(level="refuse", subject=SUBJECT, message=message, remedy="let the machine cool down")]
        if heat.level == Level.HOT:
            message = f"{found} is too hot: the study would pause"
            return [Finding(level="warn", subject=SUBJECT, message=message, remedy="let the machine cool down")]
        message = f"{found}; pause from {self._options.pause_at:g} °C, stop from {self._options.stop_at:g} °C"
        if heat.hottest.quantity == "thermal_pressure":
            message = f"thermal pressure {found}; pause from 2 (heavy), stop from 3 (trapping)"
        return [Finding(level="ok", subject=SUBJECT, message=message)]

    def admit(self, demand: Demand) -> Admission:
        if self._state.paused_at is not None:
            return Admission(action="wait", reason="paused until the machine has cooled down")
        return Admission(action="admit")

    def sample(self, processes: Mapping[int, int]) -> Sequence[Reading]:
        self._sampled_at = self._running()
        raw = [reading for provider in self._providers for reading in _read(provider)]
        load = next((reading.value for reading in raw if reading.quantity == "cpu"), None)
        readings = [self._checked(reading, load=load) for reading in self._with_lost(raw)]
        return [self._unguarded(reading) if reading.value is None else reading for reading in readings]

    def verdict(self, readings: Sequence[Reading]) -> Verdict:
        options = self._options
        deciding = self._deciding(readings)
        heat = heat_of(options, deciding)
        self._state, move = step(options, self._state, heat, now=self._sampled_at)
        if heat is None:
            why = self._why_none(deciding)
            if move == "lost":
                reason = f"{why} for {MISSING_FOR:.0f} s, and on_missing is refuse"
                return Verdict(action="stop_study", reason=reason, guard="G41")
            if move == "pause":
                return Verdict(action="pause", reason=f"paused because of heat, and now {why}", guard="G41")
            if options.on_missing == "ignore":
                return Verdict(action="go_on")
            return Verdict(action="go_on", reason=f"{why}: thermal guard inactive", guard="G41")
        found = f"{heat.hottest.text} ({heat.hottest.source})"
        if move == "stop":
            return Verdict(action="stop_study", reason=f"{found} is critical")
        if move == "pause":
            until = f"until all are below {options.resume_below:g} °C and for at least {options.min_pause:g} s"
            if heat.hottest.quantity == "thermal_pressure":
                until = f"until it is below 2 (heavy) and for at least {options.min_pause:g} s"
            return Verdict(action="pause", reason=f"{found}: paused {until}")
        if lost := sorted(reading.source for reading in deciding if reading.reason == GONE):
            return Verdict(action="go_on", reason=f"{', '.join(lost)}: {GONE}", guard="G41")
        # The reason of `go_on` contains no number, so that it does not change and is reported once.
        if heat.level < Level.WATCH:
            return Verdict(action="go_on")
        pressure = heat.hottest.quantity == "thermal_pressure"
        warm = "moderate thermal pressure" if pressure else f"{options.watch_at:g} °C or more"
        return Verdict(action="go_on", reason=f"warm: {warm}")

    def _deciding(self, readings: Sequence[Reading]) -> list[Reading]:
        return [reading for reading in readings if decides(reading, among=readings, wanted=self._options.sensors)]

    def _why_none(self, readings: Sequence[Reading]) -> str:
        """The reason why no reading has a value."""
        if not readings:
            return f"none of the sensors {', '.join(self._options.sensors)} exists"
        reasons = sorted({reading.reason for reading in readings if reading.reason})
        return reasons[0] if reasons == [NO_SENSOR] else f"temperature unavailable ({'; '.join(reasons)})"

    def _with_lost(self, readings: list[Reading]) -> list[Reading]:
        present = {reading.source for reading in readings}
        lost = [
            evolve(reading, value=None, reason=GONE) for source, reading in self._seen.items() if source not in present
        ]
        self._seen.update({reading.source: reading for reading in readings if reading.value is not None})
        return readings + lost

    def _checked(self, reading: Reading, *, load: float | None) -> Reading:
        if reading.quantity != "temperature":
            return reading
        history = self._histories.get(reading.source, SensorHistory())
        self._histories[reading.source], reading = check_reading(history, reading, load=load, now=self._sampled_at)
        return reading

    def _unguarded(self, reading: Reading) -> Reading:
        return evolve(reading, guarded=self._options.on_missing != "ignore")


def _read(provider: SensorProvider) -> Sequence[Reading]:
    try:
        return provider.read()
    except Exception as error:
        reason = f"{type(error).__name__}: {error}"
        return [Reading(quantity="temperature", source=type(provider).__name__, unit="°C", value=None, reason=reason)]
