"""A thread reads the monitors, and the driver's loop acts on them; a missing reading is a text, never a number."""

from __future__ import annotations

import csv
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
from attrs import define, field

from scalecore.api.readings import Admission, Demand, Finding, Reading, Verdict
from scalecore.monitoring.hardware_csv import append_readings
from scalecore.monitoring.monitors import HardwareSummary, Monitors
from scalecore.monitoring.sampling import Watched


def temperature(value: float | None, *, reason: str | None = None, guarded: bool = True) -> Reading:
    return Reading(
        quantity="temperature", source="chip", unit="°C", value=value, reason=reason, guarded=guarded, trial=None
    )


@define
class Replayed:
    """A monitor that replays given readings and records the threads that called it."""

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
    """The thread that ticks asks for a verdict on every sample; the monitor gets the running trials."""
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
    """Its readings are unavailable from then on; nothing waits for it, and the user gets one message."""
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
    (reading,) = (one for one in monitors.latest if one.quantity == "temperature")
    text = "monitor 'fan' raised TimeoutError: did not answer for 10 s"
    assert (reading.value, reading.reason) == (None, text)
    assert monitors.take_failures() == [f"{text}; its readings count as unavailable"]
    assert monitors.texts()["temperature"] == f"unavailable ({text})"
    assert monitors.admit(Demand(memory=1, micro_batch=1)).action == "admit", "and nobody waits for its lock"
    hang.set()
    monitors.close()


def test_a_monitor_that_hangs_in_a_pause_that_it_asked_for_stops_the_study() -> None:
    """It cannot end the pause, so the study stops with a checkpoint instead of waiting."""
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
    """A monitor without new samples has no value, however good its last one was."""
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
    """The numbers before, the count of missed samples and the last reason; a quantity without numbers has a text."""
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
            "unit": "°C",
            "missed": 1,
            "last_reason": "the sensor has disappeared",
        },
        "power": {"unavailable": "no energy counter"},
    }


def rows(path: Path) -> list[dict[str, str]]:
    with path.open(newline="", encoding="utf-8") as stream:
        return list(csv.DictReader(stream))


def test_g41_an_empty_cell_of_the_csv_says_why(tmp_path: Path) -> None:
    """Numbers if available, otherwise empty cells with the reasons in a separate column."""
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
    assert list(first) == [
        "timestamp",
        "memory_percent",
        "temperature",
        "memory_used",
        "memory_available",
        "power",
        "temperature_sensors",
        "units",
        "unavailable",
    ]
    assert first["units"] == "temperature: °C; memory_used: B; memory_available: B; power: W"
    assert (first["temperature"], first["temperature_sensors"]) == ("61.5", "chip=61.5;disk=40")
    assert (first["memory_used"], first["memory_percent"]) == ("6000000000", "75.0")
    assert (first["power"], first["unavailable"]) == ("", "power: no energy counter")
    assert (second["temperature"], second["temperature_sensors"]) == ("", "")


def test_a_csv_of_an_older_version_gets_the_columns_that_it_lacks(tmp_path: Path) -> None:
    """Rows of earlier runs keep their columns, even if today's monitors read other quantities."""
    path = tmp_path / "hardware.csv"
    path.write_text('timestamp,load_1min,temperature,unavailable\n2026-01-01T00:00:00Z,5,,"a, b\n c"\n')
    append_readings(path, [temperature(50.0), fan(1200.0)])
    append_readings(path, [fan(None, reason="gone")])
    old, new, last = rows(path)
    assert (old["load_1min"], old["temperature"], old["unavailable"]) == ("5", "", "a, b\n c")
    assert (old["fan_speed"], old["units"]) == ("", "")
    assert (new["load_1min"], new["temperature"], new["fan_speed"]) == ("", "50", "1200")
    assert (last["temperature"], last["fan_speed"], last["unavailable"]) == ("", "", "fan_speed: gone")


def fan(value: float | None, *, source: str = "fan", unit: str = "rpm", reason: str | None = None) -> Reading:
    return Reading(quantity="fan_speed", source=source, unit=unit, value=value, reason=reason)


def test_a_quantity_of_several_sensors_is_its_largest_and_all_of_them(tmp_path: Path) -> None:
    """With any names; a sensor without a number is named, and other units have other columns."""
    path = tmp_path / "hardware.csv"
    names = ["left, lower", "line\nbreak", "a=b;c"]
    readings = [fan(100.0 * (at + 1), source=name) for at, name in enumerate(names)]
    append_readings(path, [*readings, fan(None, source="rear", reason="stuck")])
    append_readings(path, [fan(20.0, source="front"), fan(0.5, source="rear", unit="krpm")])
    first, second = rows(path)
    assert first["fan_speed"] == "300"
    assert first["fan_speed_sensors"] == "left, lower=100;line\nbreak=200;a\\=b\\;c=300"
    assert first["unavailable"] == "fan_speed of rear: stuck"
    assert (second["fan_speed"], second["fan_speed (rpm)"], second["fan_speed (krpm)"]) == ("", "20", "0.5")


def test_a_quantity_cannot_take_the_place_of_another_column(tmp_path: Path) -> None:
    """A plugin may name a quantity freely."""
    path = tmp_path / "hardware.csv"
    odd = [Reading(quantity=name, source="s", unit="x", value=3.0) for name in ("timestamp", "units", "a_sensors")]
    append_readings(path, odd)
    (row,) = rows(path)
    assert [row[f"{one.quantity} (x)"] for one in odd] == ["3", "3", "3"]
    assert row["timestamp"] != "3"


def test_a_row_that_was_torn_takes_no_other_with_it(tmp_path: Path) -> None:
    """After a power cut within a quoted cell, the next row starts on a new line."""
    path = tmp_path / "hardware.csv"
    append_readings(path, [fan(1.0)])
    with path.open("a") as stream:
        stream.write('2026-01-01T00:00:00Z,,2,fan_speed: rpm,"fan_sp')
    append_readings(path, [fan(3.0)])
    assert [row["fan_speed"] for row in rows(path)] == ["1", "2", "3"]


def test_what_a_plugin_reads_is_in_every_status_line() -> None:
    """The largest value of each quantity with its unit; details of memory only in `scalecore status`."""
    samples = [
        *(fan(900.0, source="left"), fan(1200.0, source="right")),
        Reading(quantity="load", source="kernel", unit="", value=0.354),
        Reading(quantity="disk_free", source="/", unit="B", value=5e9),
    ]
    one, other = Replayed(lambda n: samples), Replayed(lambda n: [temperature(None, reason="no sensor")])
    monitors = Monitors([Watched(name="fans", monitor=one), watched("thermal", other)])
    monitors.sample_now()
    short = {
        "memory": "not watched",
        "temperature": "unavailable (no sensor)",
        "fan_speed": "1200 rpm",
        "load": "0.35",
    }
    assert monitors.texts() == short
    assert monitors.texts(details=True) == {**short, "disk_free": "5.0 GB"}


def test_a_reading_ends_with_its_monitors_next_sample() -> None:
    """If a source changes its name or a trial ends, old readings do not count as the largest."""

    def memory(source: str, value: float, trial: int) -> Reading:
        return Reading(quantity="process_memory", source=source, unit="B", value=value, trial=trial)

    script = [[memory("RSS", 9e9, 0), memory("RSS", 3e9, 1)], [memory("PSS", 2e9, 1)], []]
    monitor = Replayed(lambda n: script[n])
    monitors = Monitors([Watched(name="memory", monitor=monitor, quantities=("process_memory",))])
    found = []
    for _ in script:
        monitors.sample_now()
        found.append((len(monitors.latest), monitors.texts()["memory"]))
    assert found == [(2, "9.0 GB"), (1, "2.0 GB"), (0, "no running trial")]


def test_g41_a_monitor_that_raises_takes_no_other_with_it() -> None:
    """Two monitors read the same quantity: only the readings of the failed one are unavailable."""

    def failing(number: int) -> Sequence[Reading]:
        if number:
            raise OSError("no bus")
        return [fan(500.0, source="left")]

    good = Replayed(lambda n: [fan(700.0, source="right")])
    monitors = Monitors([Watched(name="a", monitor=Replayed(failing)), Watched(name="b", monitor=good)])
    monitors.sample_now()
    monitors.sample_now()
    assert [(one.source, one.value, one.reason) for one in monitors.latest] == [
        ("left", None, "monitor 'a' raised OSError: no bus"),
        ("right", 700.0, None),
    ]
    assert monitors.texts()["fan_speed"] == "700 rpm"


@pytest.mark.parametrize("value", [float("nan"), float("inf"), True, "71"])
def test_g41_what_is_no_number_is_no_reading(value: Any) -> None:
    """It would end a run when written, or win every comparison."""
    monitors = Monitors([Watched(name="fan", monitor=Replayed(lambda n: [fan(value)]), quantities=("fan_speed",))])
    monitors.sample_now()
    (reading,) = monitors.latest
    assert (reading.value, reading.reason) == (
        None,
        "monitor 'fan' raised ValueError: reading 'fan_speed' of 'fan' must be a finite number, or None with a reason, "
        f"not {value!r}",
    )


def test_a_monitor_that_returns_something_else_counts_as_unavailable() -> None:
    """Neither its samples nor its verdicts end the study."""
    wrong: Any = Replayed(lambda n: [{"fan_speed": 3}], answer=None)  # type: ignore[list-item,arg-type,return-value]
    monitors = Monitors([watched("fan", wrong)])
    monitors.start()
    failures: list[str] = []

    def failed() -> bool:
        monitors.tick({}, {})
        failures.extend(monitors.take_failures())
        return bool(failures)

    until(failed)
    monitors.close()
    assert failures == [
        "monitor 'fan' raised TypeError: it returned {'fan_speed': 3}, expected a Reading; "
        "its readings count as unavailable"
    ]


def test_units_are_part_of_a_trials_summary() -> None:
    """Two units of one quantity are two entries, and no quantity replaces the pauses."""
    summary = HardwareSummary()
    for reading in (fan(900.0), fan(1.5, unit="krpm"), Reading(quantity="pauses", source="x", unit="", value=2.0)):
        summary.add(reading)
    one = {"samples": 1}
    assert summary.plain() == {
        "fan_speed": {"mean": 900.0, "min": 900.0, "max": 900.0, "unit": "rpm", **one},
        "fan_speed (krpm)": {"mean": 1.5, "min": 1.5, "max": 1.5, "unit": "krpm", **one},
        "pauses (reading)": {"mean": 2.0, "min": 2.0, "max": 2.0, **one},
    }
