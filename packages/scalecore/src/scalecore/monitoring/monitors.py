"""The monitors of a study, isolated from each other: one thread samples them, the driver's loop acts on their verdicts.

Their readings are stored and summarised.
"""

from __future__ import annotations

import csv
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar

from attrs import define, evolve, field, frozen

from scalecore.api.clock import RunningClock
from scalecore.api.files import utc_now, write_json
from scalecore.api.monitor import HardwareMonitor, MonitorContext
from scalecore.api.readings import Admission, Demand, Finding, Reading, Verdict
from scalecore.api.record_parts import Part
from scalecore.config.instantiate import create
from scalecore.config.resolved import ResolvedComponent
from scalecore.monitoring.hardware_csv import append_readings
from scalecore.monitoring.sampling import Sample, Sampler, Watched, all_of, checked_readings
from scalecore.store.layout import StudyFolder

WRITE_EVERY = 10.0
"""Seconds between two rows of `hardware.csv`."""

STALE_AFTER = 5.0
"""Seconds beyond three intervals after which an old reading counts as unavailable."""

DETAILS = (
    "memory_used",
    "memory_available",
    "memory_limit",
    "memory_pressure",
    "swap_used",
    "swap_in",
    "disk_free",
    "cpu_frequency",
)
"""Quantities that `scalecore status` shows and a progress line does not."""

NO_QUANTITY = ("pauses",)
"""Keys of a record's hardware section that are not quantities."""

Result = TypeVar("Result")


@frozen(kw_only=True, slots=False)
class ReadingsFile(Part):
    """The latest readings of all monitors: `hardware.json`. `texts` are the readings for people, by quantity."""

    time: str
    readings: Sequence[Mapping[str, object]]
    texts: Mapping[str, str]


@define
class HardwareSummary:
    """Statistics of the readings during a trial; `unavailable` is the reason if there was no number."""

    values: dict[str, list[float]] = field(factory=dict)
    """By quantity: count, sum, smallest, largest."""
    reasons: dict[str, str] = field(factory=dict)
    missed: dict[str, int] = field(factory=dict)
    """By quantity: samples without a number."""
    unguarded: set[str] = field(factory=set)
    """Quantities without a number that the user's policy ignores."""

    units: dict[str, str] = field(factory=dict)
    """By quantity: the unit of its first number."""

    def add(self, reading: Reading) -> None:
        name = reading.quantity
        if reading.value is None:
            self.reasons[name] = str(reading.reason)
            self.missed[name] = self.missed.get(name, 0) + 1
            if not reading.guarded:
                self.unguarded.add(name)
            return
        value = reading.value
        if self.units.setdefault(name, reading.unit) != reading.unit or name in NO_QUANTITY:
            name = f"{name} ({reading.unit or 'reading'})"
            self.units[name] = reading.unit
        known = self.values.setdefault(name, [0.0, 0.0, value, value])
        known[0] += 1
        known[1] += value
        known[2], known[3] = min(known[2], value), max(known[3], value)

    def plain(self) -> dict[str, Any]:
        numbers: dict[str, Any] = {
            quantity: {"mean": total / count, "min": low, "max": high, "samples": int(count)}
            | ({"unit": self.units[quantity]} if self.units.get(quantity) else {})
            for quantity, (count, total, low, high) in self.values.items()
        }
        for quantity, reason in self.reasons.items():
            if quantity in numbers:  # unavailable at times: store the last reason and the count
                numbers[quantity] |= {"missed": self.missed[quantity], "last_reason": reason}
            else:
                numbers[quantity] = {"unavailable": reason}
        return numbers


class Monitors:
    """All monitors as one. A monitor that raises is reported once and counts as unavailable; the others continue."""

    def __init__(self, watched: Sequence[Watched], *, clock: Callable[[], float] = time.monotonic) -> None:
        self._watched = list(watched)
        self._clock = clock
        self._sampler = Sampler(self._watched, clock=clock)
        self._latest: dict[str, Sequence[Reading]] = {}
        """By monitor: its last sample."""
        self._seen: dict[str, float] = {}
        """By monitor: the time of its last sample."""
        self._failures: list[str] = []
        self._remarks: list[str] = []
        self._told: set[str] = set()
        self.pausing: dict[str, str] = {}
        """By monitor that currently requests a pause: the reason."""
        self._write_due = 0.0

    @classmethod
    def create(cls, components: Sequence[ResolvedComponent], context: MonitorContext) -> Monitors:
        watched: list[Watched] = []
        for component in components:
            monitor: HardwareMonitor = create("monitor", component, context)
            same = [one for one in watched if one.name.partition(" #")[0] == component.use]
            name = f"{component.use} #{len(same) + 1}" if same else component.use
            watched.append(Watched(name=name, monitor=monitor, quantities=getattr(component.record, "quantities", ())))
        return cls(watched, clock=RunningClock())

    @property
    def latest(self) -> list[Reading]:
        """The readings of the last sample of every monitor."""
        return [reading for readings in self._latest.values() for reading in readings]

    def preflight(self, demand: Demand | None) -> list[Finding]:
        """Return the findings of all monitors; without any monitor, a warning that nothing is watched."""
        if not self._watched:
            return [
                Finding(
                    level="warn",
                    subject="monitors",
                    message="no hardware monitor is active: memory and temperature are not watched",
                    remedy="pip install scalecore-hwmon, and add `monitors: [memory, thermal]` to the experiment file",
                )
            ]
        findings: list[Finding] = []
        for watched in self._watched:
            found = self._call(watched, lambda monitor: all_of(Finding, monitor.preflight(demand)))
            if found is None:
                findings.append(Finding(level="warn", subject=watched.name, message=str(watched.failed)))
            else:
                findings += found
        # Do not report these findings again when the first sample repeats them.
        self._told |= {finding.message for finding in findings}
        return findings

    def admit(self, demand: Demand) -> Admission:
        """Return the strictest answer of all monitors."""
        strictest = Admission(action="admit")
        limits: list[int] = []
        place = strictest
        for watched in self._watched:
            answer = self._call(watched, lambda monitor: all_of(Admission, [monitor.admit(demand)])[0])
            if answer is None:
                continue
            if answer.action == "refuse":
                return answer
            if answer.action == "wait":
                strictest = answer
            if answer.limit is not None:
                limits.append(answer.limit)
            if place.gpu is None:
                place = answer
        limit = min(limits, default=None)
        return evolve(strictest, limit=limit, gpu=place.gpu, gpu_limit=place.gpu_limit)

    def sample_now(self) -> None:
        """Read every monitor once, in this thread, outside a run."""
        for watched in self._watched:
            readings = self._call(watched, lambda monitor: checked_readings(monitor.sample({})))
            self._latest[watched.name] = (
                readings if readings is not None else self._unavailable(watched, str(watched.failed))
            )

    def start(self) -> None:
        """Start reading the sensors in a separate thread."""
        self._sampler.start()

    def close(self) -> None:
        """End the thread."""
        self._sampler.close()

    def tick(self, processes: Mapping[int, int], summaries: Mapping[int, HardwareSummary]) -> list[Verdict]:
        """Process the samples since the last tick; return verdicts that stop a trial or the study.

        Pauses are stored in `pausing`.
        """
        if processes.keys() - self._sampler.processes.keys():
            self._sampler.processes = dict(processes)
            self._sampler.look_now()  # do not make a new trial wait for a slow interval
        self._sampler.processes = dict(processes)
        verdicts: list[Verdict] = []
        for sample in self._sampler.take():
            verdict = self._handle(sample, summaries)
            if verdict is not None:
                verdicts.append(verdict)
        self._expire()
        return verdicts

    def _handle(self, sample: Sample, summaries: Mapping[int, HardwareSummary]) -> Verdict | None:
        watched, readings = sample.watched, sample.readings
        if sample.error is not None:
            self._fail(watched, sample.error)
            readings = self._unavailable(watched, str(watched.failed))
        self._seen[watched.name] = self._clock()
        self._latest[watched.name] = readings
        for reading in readings:
            for number, summary in summaries.items():
                if reading.trial in (None, number):
                    summary.add(reading)
        if watched.hung:
            # A monitor that requested a pause and no longer answers could never end it.
            paused = self.pausing.pop(watched.name, None)
            return None if paused is None else Verdict(action="stop_study", reason=f"{paused}; then {watched.failed}")
        verdict = self._call(watched, lambda monitor: all_of(Verdict, [monitor.verdict(readings)])[0])
        if verdict is not None and verdict.action == "pause":
            self.pausing[watched.name] = verdict.reason or watched.name
            return None
        self.pausing.pop(watched.name, None)
        if verdict is None or verdict.action != "go_on":
            return verdict
        if verdict.reason and verdict.reason not in self._told:
            self._told.add(verdict.reason)
            self._remarks.append(verdict.reason)
        return None

    def _expire(self) -> None:
        """Mark readings that are not renewed as unavailable."""
        now = self._clock()
        for watched in self._watched:
            seen = self._seen.get(watched.name)
            if seen is None or watched.failed or now - seen < STALE_AFTER + 3 * max(2.0, watched.interval):
                continue
            self._seen[watched.name] = now
            self._latest[watched.name] = self._unavailable(watched, f"no reading for {now - seen:.0f} s")

    def _unavailable(self, watched: Watched, reason: str) -> list[Reading]:
        """Return the replacements of all readings of a monitor, with the reason."""
        old = self._latest.get(watched.name, ())
        missing = set(watched.quantities) - {reading.quantity for reading in old}
        return [evolve(reading, value=None, reason=reason) for reading in old] + [
            Reading(quantity=quantity, source=watched.name, unit="", value=None, reason=reason)
            for quantity in sorted(missing)
        ]

    def take_failures(self) -> list[str]:
        """Return messages about monitors that raised for the first time since the last call."""
        taken, self._failures = self._failures, []
        return taken

    def take_remarks(self) -> list[str]:
        """Return the remarks of monitors that require no action, each text once."""
        taken, self._remarks = self._remarks, []
        return taken

    def texts(self, *, details: bool = False) -> dict[str, str]:
        """Return the largest reading of each quantity for a status line, as text, also if it has no number. `details`
        adds the quantities of `DETAILS`.
        """
        declared = {quantity for watched in self._watched for quantity in watched.quantities}
        memory = self._largest("process_memory")
        temperature = self._largest("temperature") or self._largest("thermal_pressure")
        idle = "no running trial" if "process_memory" in declared else "not watched"
        shown = {
            "memory": memory.text if memory else idle,
            "temperature": temperature.text if temperature else "not watched",
        }
        for quantity in dict.fromkeys(reading.quantity for reading in self.latest):
            if quantity in ("process_memory", "temperature") or (quantity in DETAILS and not details):
                continue
            largest = self._largest(quantity)
            if largest is not None and largest is not temperature:
                shown[quantity] = largest.text
        return shown

    def write(self, folder: StudyFolder) -> None:
        """Every ten seconds, append a row to `hardware.csv` and write `hardware.json` for `scalecore status`.

        A full disk is only reported, once: trials matter more than readings.
        """
        now = self._clock()
        readings = self.latest
        if not readings or now < self._write_due:
            return
        self._write_due = now + WRITE_EVERY
        shown = ReadingsFile(
            time=utc_now(), readings=[_shown(reading) for reading in readings], texts=self.texts(details=True)
        )
        try:
            append_readings(folder.hardware, readings)
            write_json(folder.readings, shown, durable=False)
        except (OSError, csv.Error) as error:
            text = f"readings of the monitors cannot be written: {error}"
            if text not in self._told:
                self._told.add(text)
                self._remarks.append(text)

    def _largest(self, quantity: str) -> Reading | None:
        readings = [reading for reading in self.latest if reading.quantity == quantity]
        known = [reading for reading in readings if reading.value is not None]
        return max(known, key=lambda r: r.value or 0.0) if known else next(iter(readings), None)

    def _call(self, watched: Watched, function: Callable[[HardwareMonitor], Result]) -> Result | None:
        with watched.held() as mine:
            if not mine:
                return None
            try:
                return function(watched.monitor)
            except Exception as error:
                self._fail(watched, error)
                return None

    def _fail(self, watched: Watched, error: Exception) -> None:
        if watched.failed is None:
            watched.failed = f"monitor {watched.name!r} raised {type(error).__name__}: {error}"
            self._failures.append(f"{watched.failed}; its readings count as unavailable")


def _shown(reading: Reading) -> dict[str, Any]:
    kept = ("quantity", "source", "unit", "value", "reason", "trial")
    return {name: getattr(reading, name) for name in kept} | {"text": reading.text}
