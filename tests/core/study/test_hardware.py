"""Monitors are read by a thread and heeded in the driver's loop; what they miss is told in words and never a number."""

from __future__ import annotations

import csv
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from attrs import define, field

from scalecore.readings import Admission, Demand, Finding, Reading, Verdict
from scalecore.study.hardware import HardwareSummary, Monitors
from scalecore.study.hardware_csv import CSV_COLUMNS, append_readings
from scalecore.study.sampling import Watched


def temperature(value: float | None, *, reason: str | None = None, guarded: bool = True) -> Reading:
    return Reading(
        quantity="temperature", source="chip", unit="°C", value=value, reason=reason, guarded=guarded, trial=None
    )


@define
class Replayed:
    """A monitor that replays what it is given, and remembers the threads that called it."""

    script: Callable[[int], Sequence[Reading]]
    interval: float = 0.01
    answer: Verdict = field(factory=lambda: Verdict(action="go_on"))
    sampled: list[int] = field(factory=list)
    judged: list[int] = field(factory=list)
    processes: Mapping[int, int] = field(factory=dict)

    def preflight(self, demand: Demand | None) -> Sequence[Finding]:
        return ()

    def admit(self, demand: Demand) -> Admission:
        return Admission(action="admit")

    def sample(self, processes: Mapping[int, int]) -> Sequence[Reading]:
        self.processes = dict(processes)
        self.sampled.append(threading.get_ident())
        return self.script(len(self.sampled) - 1)

    def verdict(self, readings: Sequence[Reading]) -> Verdict:
        self.judged.append(threading.get_ident())
        return self.answer


def until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.002)


def watched(name: str, monitor: Replayed) -> Watched:
    return Watched(name=name, monitor=monitor, quantities=("temperature",))


def test_sensors_are_read_in_a_thread_and_decisions_fall_in_the_loop() -> None:
    """A verdict is asked for every sample, by the thread that ticks; running trials are told to the monitor."""
    monitor = Replayed(lambda n: [temperature(50.0 + n)], answer=Verdict(action="stop_trial", reason="hot"))
    monitors = Monitors([watched("thermal", monitor)])
    monitors.start()
    summary = HardwareSummary()
    verdicts: list[Verdict] = []

    def enough() -> bool:
        verdicts.extend(monitors.tick({3: 4711}, {3: summary}))
        return len(verdicts) >= 3

    until(enough)
    monitors.close()
    me = threading.get_ident()
    assert me not in monitor.sampled
    assert set(monitor.judged) == {me}
    assert monitor.processes == {3: 4711}
    assert verdicts[0].reason == "hot"
    assert summary.values["temperature"][0] == len(monitor.judged)


def test_a_monitor_that_hangs_is_given_up_and_the_others_go_on() -> None:
    """Its readings are unavailable from then on; nobody waits for it, and the user is told once."""
    now = [0.0]
    hang = threading.Event()

    def hanging(number: int) -> Sequence[Reading]:
        if number > 0:
            hang.wait(30)
        return [temperature(60.0)]

    bad, good = Replayed(hanging), Replayed(lambda n: [Reading(quantity="load", source="kernel", unit="", value=1.0)])
    monitors = Monitors([watched("fan", bad), watched("cpu", good)], clock=lambda: now[0])
    monitors.start()

    def ticking(condition: Callable[[], bool]) -> Callable[[], bool]:
        def done() -> bool:
            now[0] += 0.02
            monitors.tick({1: 1}, {})
            return condition()

        return done

    until(ticking(lambda: len(bad.sampled) == 2))
    now[0] += 10.0
    before = len(good.sampled)
    until(ticking(lambda: len(good.sampled) >= before + 3))
    reading = monitors.latest["temperature", "chip"]
    text = "monitor 'fan' raised TimeoutError: did not answer for 10 s"
    assert (reading.value, reading.reason) == (None, text)
    assert monitors.take_failures() == [f"{text}; its readings count as unavailable"]
    assert monitors.texts()["temperature"] == f"unavailable ({text})"
    assert monitors.admit(Demand(memory=1, micro_batch=1)).action == "admit", "and nobody waits for its lock"
    hang.set()
    monitors.close()


def test_a_monitor_that_hangs_in_a_pause_that_it_asked_for_stops_the_study() -> None:
    """It can never end the pause, and nobody knows whether all is well again: rather a checkpoint than a wait."""
    now = [0.0]
    hang = threading.Event()

    def hanging(number: int) -> Sequence[Reading]:
        if number > 0:
            hang.wait(30)
        return [temperature(90.0)]

    monitor = Replayed(hanging, answer=Verdict(action="pause", reason="90 °C"))
    monitors = Monitors([watched("fan", monitor)], clock=lambda: now[0])
    monitors.start()
    verdicts: list[Verdict] = []

    def ticking() -> bool:
        now[0] += 0.02
        verdicts.extend(monitors.tick({1: 1}, {}))
        return len(monitor.sampled) == 2

    until(ticking)
    assert (verdicts, dict(monitors.pausing)) == ([], {"fan": "90 °C"})
    now[0] += 10.0
    ticking()
    text = "90 °C; then monitor 'fan' raised TimeoutError: did not answer for 10 s"
    assert [(one.action, one.reason) for one in verdicts] == [("stop_study", text)]
    assert monitors.pausing == {}
    hang.set()
    monitors.close()


def test_g41_a_reading_that_is_not_renewed_is_none() -> None:
    """A monitor from which nothing comes any more has no value, however good its last one was."""
    now = [0.0]
    monitors = Monitors([watched("thermal", Replayed(lambda n: [temperature(60.0)]))], clock=lambda: now[0])
    monitors.start()

    def seen() -> bool:
        monitors.tick({}, {})
        return bool(monitors.latest)

    until(seen)
    monitors.close()
    assert monitors.texts()["temperature"] == "60 °C"
    now[0] += 60.0
    monitors.tick({}, {})
    assert monitors.texts()["temperature"].startswith("unavailable (no reading for ")


def test_g41_a_sensor_that_dies_shows_in_the_summary() -> None:
    """Numbers while it lived, how many samples were missed, and the last reason; a quantity without any has words."""
    summary = HardwareSummary()
    for reading in (temperature(50.0), temperature(70.0), temperature(None, reason="the sensor has disappeared")):
        summary.add(reading)
    summary.add(Reading(quantity="power", source="cpu", unit="W", value=None, reason="no energy counter"))
    assert summary.plain() == {
        "temperature": {
            "mean": 60.0,
            "min": 50.0,
            "max": 70.0,
            "samples": 2,
            "missed": 1,
            "last_reason": "the sensor has disappeared",
        },
        "power": {"unavailable": "no energy counter"},
    }


def rows(path: Path) -> list[dict[str, str]]:
    with path.open(newline="", encoding="utf-8") as stream:
        return list(csv.DictReader(stream))


def test_g41_an_empty_cell_of_the_csv_says_why(tmp_path: Path) -> None:
    """Numbers where there are some, nothing where there is none, and the reasons in a column of their own."""
    path = tmp_path / "hardware.csv"
    readings = [
        temperature(61.5),
        Reading(quantity="temperature", source="disk", unit="°C", value=40.0),
        Reading(quantity="memory_used", source="machine", unit="B", value=6e9),
        Reading(quantity="memory_available", source="machine", unit="B", value=2e9),
        Reading(quantity="power", source="cpu", unit="W", value=None, reason="no energy counter"),
    ]
    append_readings(path, readings)
    append_readings(path, readings[2:])
    first, second = rows(path)
    assert tuple(first) == CSV_COLUMNS
    assert (first["temperature"], first["temperature_sensors"]) == ("61.5", "chip=61.5;disk=40")
    assert (first["memory_used"], first["memory_percent"]) == ("6000000000", "75.0")
    assert (first["power"], first["unavailable"]) == ("", "power: no energy counter")
    assert (second["temperature"], second["temperature_sensors"]) == ("", "")


def test_a_csv_of_an_older_version_keeps_its_columns(tmp_path: Path) -> None:
    """What an earlier run began is continued, so that no row stands under the wrong heading."""
    path = tmp_path / "hardware.csv"
    path.write_text("timestamp,memory_used,temperature\n2026-01-01T00:00:00Z,5,\n")
    append_readings(path, [temperature(50.0)])
    assert [(row["memory_used"], row["temperature"]) for row in rows(path)] == [("5", ""), ("", "50")]
