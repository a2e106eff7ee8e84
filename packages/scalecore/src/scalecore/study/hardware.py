"""The monitors of a study, each isolated from the others.

Sampled on its own interval, its readings kept and summarised.
"""

from __future__ import annotations

import csv
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

from attrs import define, evolve, field

from scalecore.config.load import ResolvedComponent
from scalecore.files import utc_now
from scalecore.protocols import HardwareMonitor, MonitorContext
from scalecore.readings import Admission, Demand, Finding, Reading, Verdict
from scalecore.study.components import create

__all__ = ["HardwareSummary", "Monitors"]

CSV_EVERY = 10.0
CSV_COLUMNS = (
    "timestamp",
    "cpu_percent",
    "memory_used",
    "memory_available",
    "process_memory",
    "swap_used",
    "temperature",
    "temperature_sensors",
    "gpu_percent",
    "gpu_memory_used",
    "power",
)
_QUANTITY_OF_COLUMN = {"cpu_percent": "cpu", "gpu_percent": "gpu"}

Result = TypeVar("Result")


@define
class HardwareSummary:
    """Statistics of the readings while a trial ran; `unavailable` holds the reason where there was no number at all."""

    values: dict[str, list[float]] = field(factory=dict)
    """By quantity: count, sum, smallest, largest."""
    reasons: dict[str, str] = field(factory=dict)

    def add(self, reading: Reading) -> None:
        if reading.value is None:
            self.reasons.setdefault(reading.quantity, str(reading.reason))
            return
        value = reading.value
        known = self.values.setdefault(reading.quantity, [0.0, 0.0, value, value])
        known[0] += 1
        known[1] += value
        known[2], known[3] = min(known[2], value), max(known[3], value)

    def plain(self) -> dict[str, Any]:
        numbers: dict[str, Any] = {
            quantity: {"mean": total / count, "min": low, "max": high, "samples": int(count)}
            for quantity, (count, total, low, high) in self.values.items()
        }
        missing = {q: {"unavailable": reason} for q, reason in self.reasons.items() if q not in numbers}
        return numbers | missing


@define(eq=False)
class _Watched:
    name: str
    monitor: HardwareMonitor
    quantities: Sequence[str]
    due: float = 0.0
    failed: str | None = None


class Monitors:
    """All monitors as one. A monitor that raises counts as unavailable; the user is told once, the others go on."""

    def __init__(self, watched: Sequence[_Watched]) -> None:
        self._watched = list(watched)
        self.latest: dict[tuple[str, str], Reading] = {}
        self._failures: list[str] = []
        self._remarks: list[str] = []
        self._told: set[str] = set()
        self.pausing: dict[str, str] = {}
        """By monitor that wants a pause now: why."""
        self._csv_due = 0.0

    @classmethod
    def create(cls, components: Sequence[ResolvedComponent], context: MonitorContext) -> Monitors:
        watched = []
        for component in components:
            monitor: HardwareMonitor = create("monitor", component, context)
            watched.append(
                _Watched(name=component.name, monitor=monitor, quantities=getattr(component.record, "quantities", ()))
            )
        return cls(watched)

    def preflight(self, demand: Demand | None) -> list[Finding]:
        """Findings of all monitors; without any monitor, one that says what is not watched."""
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
            found = self._call(watched, lambda m=watched.monitor: list(m.preflight(demand)))  # type: ignore[misc]
            if found is None:
                findings.append(Finding(level="warn", subject=watched.name, message=str(watched.failed)))
            else:
                findings += found
        # What was found before the study needs no second telling when the first sample finds it again.
        self._told |= {finding.message for finding in findings}
        return findings

    def admit(self, demand: Demand) -> Admission:
        """The strictest answer of all monitors."""
        strictest = Admission(action="admit")
        limits: list[int] = []
        for watched in self._watched:
            answer: Admission | None = self._call(watched, lambda m=watched.monitor: m.admit(demand))  # type: ignore[misc]
            if answer is not None and answer.action == "refuse":
                return answer
            if answer is not None and answer.action == "wait":
                strictest = answer
            if answer is not None and answer.limit is not None:
                limits.append(answer.limit)
        return evolve(strictest, limit=min(limits, default=None))

    def tick(self, processes: Mapping[int, int], summaries: Mapping[int, HardwareSummary]) -> list[Verdict]:
        """Sample the monitors that are due; the verdicts that ask to stop something. Pauses are kept in `pausing`."""
        now = time.monotonic()
        verdicts: list[Verdict] = []
        for watched in self._watched:
            if now < watched.due:
                continue
            readings = self._call(watched, lambda m=watched.monitor: list(m.sample(processes)))  # type: ignore[misc]
            if readings is None:
                readings = [
                    Reading(quantity=q, source=watched.name, unit="", value=None, reason=str(watched.failed))
                    for q in watched.quantities
                ]
            for reading in readings:
                self.latest[reading.quantity, reading.source] = reading
                for number, summary in summaries.items():
                    if reading.trial in (None, number):
                        summary.add(reading)
            verdict = self._call(watched, lambda m=watched.monitor, r=readings: m.verdict(r))  # type: ignore[misc]
            if verdict is not None and verdict.action == "pause":
                self.pausing[watched.name] = verdict.reason or watched.name
            else:
                self.pausing.pop(watched.name, None)
                if verdict is not None and verdict.action != "go_on":
                    verdicts.append(verdict)
            if (
                verdict is not None
                and verdict.action == "go_on"
                and verdict.reason
                and verdict.reason not in self._told
            ):
                self._told.add(verdict.reason)
                self._remarks.append(verdict.reason)
            watched.due = time.monotonic() + max(0.05, watched.monitor.interval)
        return verdicts

    def take_failures(self) -> list[str]:
        """Which monitors raised for the first time since the last call."""
        taken, self._failures = self._failures, []
        return taken

    def take_remarks(self) -> list[str]:
        """What monitors say while all goes on, each text once."""
        taken, self._remarks = self._remarks, []
        return taken

    def texts(self) -> dict[str, str]:
        """Memory and temperature for a status line, in words also where there is no number."""
        memory = self._largest("process_memory")
        temperature = self._largest("temperature")
        return {
            "memory": memory.text if memory else "not watched",
            "temperature": temperature.text if temperature else "not watched",
        }

    def write_csv(self, path: Path) -> None:
        """Append the latest readings, at most every ten seconds.

        An empty cell is an unavailable reading, never a number.
        """
        now = time.monotonic()
        if not self._watched or now < self._csv_due:
            return
        self._csv_due = now + CSV_EVERY
        row: dict[str, Any] = {"timestamp": utc_now()}
        for column in CSV_COLUMNS[1:]:
            reading = self._largest(_QUANTITY_OF_COLUMN.get(column, column))
            row[column] = "" if reading is None or reading.value is None else f"{reading.value:g}"
        row["temperature_sensors"] = ";".join(
            f"{source}={reading.value:g}"
            for (quantity, source), reading in sorted(self.latest.items())
            if quantity == "temperature" and reading.value is not None
        )
        new = not path.exists()
        with path.open("a", newline="", encoding="utf-8") as stream:
            writer = csv.DictWriter(stream, CSV_COLUMNS)
            if new:
                writer.writeheader()
            writer.writerow(row)

    def _largest(self, quantity: str) -> Reading | None:
        readings = [reading for (name, _), reading in self.latest.items() if name == quantity]
        known = [reading for reading in readings if reading.value is not None]
        return max(known, key=lambda r: r.value or 0.0) if known else next(iter(readings), None)

    def _call(self, watched: _Watched, function: Callable[[], Result]) -> Result | None:
        try:
            return function()
        except Exception as error:
            if watched.failed is None:
                watched.failed = f"monitor {watched.name!r} raised {type(error).__name__}: {error}"
                self._failures.append(f"{watched.failed}; its readings count as unavailable")
            return None
