from __future__ import annotations

import math
from typing import TYPE_CHECKING, NamedTuple

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from scalecore.api.readings import Demand, Finding, Reading, Verdict
from scalecore_hwmon.options import ThermalOptions
from scalecore_hwmon.plausibility import SensorHistory, check_reading
from scalecore_hwmon.sensors import MacThermalPressure, temperatures_of
from scalecore_hwmon.thermal import ThermalMonitor

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

CHIP = "coretemp/Package id 0"
STEP = 2.0


def temperature(value: float | None, source: str = CHIP) -> Reading:
    reason = "the sensor returns no value" if value is None else None
    return Reading(quantity="temperature", source=source, unit="°C", value=value, reason=reason)


def load(value: float) -> Reading:
    return Reading(quantity="cpu", source="cpu", unit="%", value=value)


class Replay:
    """Returns one frame of readings after the other; an exception in a frame is raised."""

    def __init__(self, frames: Iterable[Sequence[Reading] | Exception]) -> None:
        self._frames = iter(frames)

    def read(self) -> Sequence[Reading]:
        frame = next(self._frames)
        if isinstance(frame, Exception):
            raise frame
        return frame


class Plant:
    """Heats towards `hot` at work and cools towards `cold` at rest, with a time constant of `tau` seconds."""

    def __init__(self, *, start: float, hot: float, cold: float = 40.0, tau: float = 60.0) -> None:
        self.value, self._hot, self._cold, self._tau = start, hot, cold, tau
        self.works = True

    def read(self) -> Sequence[Reading]:
        target = self._hot if self.works else self._cold
        self.value += (target - self.value) * (1 - math.exp(-STEP / self._tau))
        return [temperature(self.value)]


def watch(monitor: ThermalMonitor, clock: list[float], samples: int) -> list[Verdict]:
    verdicts = []
    for _ in range(samples):
        verdicts.append(monitor.verdict(monitor.sample({})))
        clock[0] += STEP
    return verdicts


def monitor_of(
    frames: Iterable[Sequence[Reading] | Exception], options: ThermalOptions | None = None
) -> tuple[ThermalMonitor, list[float]]:
    clock = [0.0]
    return ThermalMonitor(options or ThermalOptions(), providers=[Replay(frames)], clock=lambda: clock[0]), clock


def replay(values: Sequence[float | None], options: ThermalOptions | None = None) -> list[Verdict]:
    monitor, clock = monitor_of([[temperature(value)] for value in values], options)
    return watch(monitor, clock, len(values))


def actions(verdicts: Sequence[Verdict]) -> str:
    """One letter a sample: g(o on), p(ause), s(top)."""
    return "".join({"go_on": "g", "pause": "p", "stop_study": "s"}[verdict.action] for verdict in verdicts)


def test_a_hot_machine_is_paused_after_three_samples_with_a_reason() -> None:
    """Only temperatures from 85 °C count."""
    verdicts = replay([60, 72, 84.9, 85, 86, 87])
    assert actions(verdicts) == "gggggp"
    assert verdicts[-1].reason == (
        "87 °C (coretemp/Package id 0): paused until all are below 80 °C and for at least 60 s"
    )


def test_a_pause_lasts_until_it_is_cool_and_at_least_a_minute() -> None:
    """Early cooling does not shorten the pause, and a minute does not end it while the machine is warm."""
    quick = actions(replay([86, 86, 86] + [70] * 40))
    assert quick == "gg" + "p" * 30 + "g" * 11
    warm = actions(replay([86, 86, 86] + [81] * 60 + [79] * 4))
    assert warm == "gg" + "p" * 63 + "g" * 2


def test_oscillation_between_the_limits_changes_nothing() -> None:
    """Values around 85 °C without three in a row do not pause the study. A paused study stays paused above 80 °C."""
    assert set(actions(replay([84, 86, 86] * 50))) == {"g"}
    paused = actions(replay([86] * 3 + [84, 79, 79] * 50))
    assert set(paused[2:]) == {"p"}


def test_at_the_critical_temperature_the_study_is_stopped() -> None:
    """From 95 °C, confirmed, also during a pause."""
    verdicts = replay([80, 90, 94.9, 95, 95, 95])
    assert actions(verdicts) == "gggpps"
    assert verdicts[-1] == Verdict(action="stop_study", reason="95 °C (coretemp/Package id 0) is critical")


def test_a_single_spike_of_200_degrees_does_not_pause() -> None:
    """The implausible reading is unavailable with a reason; the adjacent ones count."""
    frames = [[temperature(value)] for value in [60.0] * 5 + [200.0] + [60.0] * 5]
    monitor, clock = monitor_of(frames)
    texts = []
    for _ in frames:
        readings = monitor.sample({})
        assert monitor.verdict(readings).action == "go_on"
        texts.append(readings[0].text)
        clock[0] += STEP
    assert texts[5] == "unavailable (implausible value 200 °C)"
    assert texts[:5] == texts[6:] == ["60 °C"] * 5


@pytest.mark.parametrize("lie", [-1.0, 0.0, 151.0, math.nan, math.inf])
def test_g41_a_sensor_that_lies_is_unavailable_and_never_acted_on(lie: float) -> None:
    """Such values are neither cool nor hot, and the verdict reports the inactive guard."""
    verdicts = replay([lie] * 5)
    assert {verdict.action for verdict in verdicts} == {"go_on"}
    assert verdicts[-1].guard == "G41"
    assert verdicts[-1].reason == (f"temperature unavailable (implausible value {lie:g} °C): thermal guard inactive")


def test_g41_a_jump_counts_only_once_it_is_confirmed() -> None:
    """A single outlier is ignored. A chip that really heats by 50 °C counts from the next sample."""
    monitor, clock = monitor_of([[temperature(value)] for value in (40.0, 90.0, 41.0, 91.0, 92.0, 92.0, 92.0)])
    texts, verdicts = [], []
    for _ in range(7):
        readings = monitor.sample({})
        texts.append(readings[0].text)
        verdicts.append(monitor.verdict(readings))
        clock[0] += STEP
    assert texts == [
        "40 °C",
        "unavailable (jumped from 40 to 90 °C in one sample)",
        "41 °C",
        "unavailable (jumped from 41 to 91 °C in one sample)",
        "92 °C",
        "92 °C",
        "92 °C",
    ]
    assert actions(verdicts) == "ggggggp"


def stuck(loads: Sequence[float]) -> str:
    monitor, clock = monitor_of([[temperature(55.0), load(loads[i % len(loads)])] for i in range(320)])
    for _ in range(320):
        readings = monitor.sample({})
        monitor.verdict(readings)
        clock[0] += STEP
    return readings[0].text


def test_g41_a_constant_sensor_under_changing_load_is_stuck() -> None:
    """After ten minutes with one value and a changing load; under a steady load the value may be correct."""
    assert stuck([5.0, 98.0]) == "unavailable (stuck at 55 °C for 11 min while the load went from 5 to 98 %)"
    assert stuck([95.0, 98.0]) == "55 °C"


def test_g41_a_failed_sensor_is_reported_and_does_not_end_a_pause_at_once() -> None:
    """The pause lasts another minute. Then the study resumes, and the guard is reported as inactive."""
    verdicts = replay([86] * 3 + [None] * 40)
    assert actions(verdicts) == "gg" + "p" * 31 + "g" * 10
    assert verdicts[3].reason == "paused because of heat, and now temperature unavailable (the sensor returns no value)"
    assert verdicts[-1] == Verdict(
        action="go_on",
        reason="temperature unavailable (the sensor returns no value): thermal guard inactive",
        guard="G41",
    )


def test_g41_on_missing_refuse_stops_a_study_without_its_sensor() -> None:
    """`on_missing: refuse` also applies during the study, after a minute without a value. A short gap has no effect."""
    refuse = ThermalOptions(on_missing="refuse")
    verdicts = replay([60] + [None] * 31, refuse)
    assert actions(verdicts) == "g" * 31 + "s"
    assert verdicts[-1] == Verdict(
        action="stop_study",
        reason="temperature unavailable (the sensor returns no value) for 60 s, and on_missing is refuse",
        guard="G41",
    )
    assert set(actions(replay(([60.0] + [None] * 20) * 5, refuse))) == {"g"}


def test_g41_a_sensor_that_disappears_is_not_replaced_by_a_cool_one() -> None:
    """A disk at 40 °C does not replace a processor's missing sensor."""
    disk = temperature(40.0, "nvme/Composite")
    frames = [[temperature(84.0), disk]] * 2 + [[disk]] * 3
    monitor, clock = monitor_of(frames)
    verdicts = watch(monitor, clock, 5)
    assert [verdict.reason for verdict in verdicts[:2]] == ["warm: 70 °C or more"] * 2
    assert verdicts[-1].reason == "temperature unavailable (the sensor has disappeared): thermal guard inactive"


def test_g41_one_of_several_sensors_that_disappears_is_reported() -> None:
    """The other sensors stay active, and the reason names the missing one."""
    other = temperature(60.0, "coretemp/Package id 1")
    monitor, clock = monitor_of([[temperature(60.0), other], [other]])
    told = watch(monitor, clock, 2)[-1]
    assert told == Verdict(action="go_on", reason=f"{CHIP}: the sensor has disappeared", guard="G41")


def test_the_reason_of_a_warm_machine_does_not_change() -> None:
    """The study continues between 70 and 85 °C; below there is no reason."""
    reasons = [verdict.reason for verdict in replay([69.9, 70, 84.9, 69])]
    assert reasons == [None, "warm: 70 °C or more", "warm: 70 °C or more", None]


def test_a_disk_does_not_decide_beside_a_processor_unless_named() -> None:
    """Disks run hot by design. They count if the user names them or no other sensor exists."""
    disk = temperature(88.0, "nvme/Composite")
    both = [[temperature(60.0), disk]] * 3
    named = ThermalOptions(sensors=["nvme"])
    assert actions(watch(*monitor_of(both), 3)) == "ggg"
    assert actions(watch(*monitor_of(both, named), 3)) == "ggp"
    assert actions(watch(*monitor_of([[disk]] * 3), 3)) == "ggp"


def test_g41_a_provider_that_raises_counts_as_unavailable() -> None:
    """The reason is the exception, and the policy decides."""
    monitor, clock = monitor_of([OSError("i2c timeout")] * 2)
    (finding,) = monitor.preflight(None)
    assert finding.message == "temperature unavailable (OSError: i2c timeout): thermal guard inactive"
    assert watch(monitor, clock, 1)[0].action == "go_on"


def no_sensor() -> Reading:
    return Reading(quantity="temperature", source="hwmon", unit="°C", value=None, reason="no temperature sensor")


@pytest.mark.parametrize(
    ("on_missing", "level", "message", "guarded"),
    [
        ("warn", "warn", "no temperature sensor: thermal guard inactive", True),
        ("refuse", "refuse", "no temperature sensor: thermal guard inactive", True),
        ("ignore", "ok", "no temperature sensor: thermal guard inactive (on_missing: ignore)", False),
    ],
)
def test_g41_a_machine_without_a_sensor_is_reported_under_every_policy(
    on_missing: str, level: str, message: str, guarded: bool
) -> None:
    """The finding is a warning, a refusal or ok; an ignored reading is marked as unguarded."""
    options = ThermalOptions(on_missing=on_missing)  # type: ignore[arg-type]
    monitor, _ = monitor_of([[no_sensor()]] * 2, options)
    (finding,) = monitor.preflight(None)
    assert (finding.level, finding.subject, finding.message) == (level, "temperature", message)
    (reading,) = monitor.sample({})
    assert reading.text == "unavailable (no temperature sensor)"
    assert reading.guarded is guarded


def test_g41_sensors_that_were_named_and_do_not_exist_are_missing() -> None:
    """A misspelt sensor does not silently fall back to another one."""
    monitor, _ = monitor_of([[temperature(50.0)]], ThermalOptions(sensors=["cortemp"], on_missing="refuse"))
    (finding,) = monitor.preflight(None)
    assert (finding.level, finding.message) == (
        "refuse",
        "none of the sensors cortemp exists: thermal guard inactive",
    )


def preflight(value: float) -> Finding:
    monitor, _ = monitor_of([[temperature(value)]])
    (finding,) = monitor.preflight(None)
    return finding


def test_the_temperature_before_the_study_is_reported_and_judged() -> None:
    """Normal is ok, hot is a warning, critical refuses."""
    assert preflight(54.0).message == "54 °C (coretemp/Package id 0); pause from 85 °C, stop from 95 °C"
    assert [preflight(value).level for value in (54.0, 88.0, 96.0)] == ["ok", "warn", "refuse"]


def test_no_trial_is_admitted_while_paused() -> None:
    """The trial waits until the machine has cooled down."""
    monitor, clock = monitor_of([[temperature(90.0)]] * 3)
    demand = Demand(memory=1, micro_batch=1)
    assert monitor.admit(demand).action == "admit"
    watch(monitor, clock, 3)
    assert monitor.admit(demand).action == "wait"


def test_the_thermal_pressure_of_macos_pauses_when_heavy() -> None:
    """Moderate continues, heavy pauses, trapping stops."""

    def pressure(level: int) -> list[Reading]:
        return [Reading(quantity="thermal_pressure", source="macOS", unit="of 4", value=level)]

    levels = [0] * 3 + [1] * 3 + [2] * 3 + [1] * 32 + [3] * 3
    monitor, clock = monitor_of([pressure(level) for level in levels])
    verdicts = watch(monitor, clock, len(levels))
    assert actions(verdicts) == "g" * 8 + "p" * 30 + "g" * 5 + "s"
    assert verdicts[3].reason == "warm: moderate thermal pressure"
    assert verdicts[8].reason == "2 of 4 (macOS): paused until it is below 2 (heavy) and for at least 60 s"


def closed_loop(plant: Plant, samples: int) -> tuple[float, list[int]]:
    """Let the policy control the plant; return the highest temperature and the length of each pause in samples."""
    clock = [0.0]
    monitor = ThermalMonitor(ThermalOptions(), providers=[plant], clock=lambda: clock[0])
    highest, pauses, paused = 0.0, [], 0
    for _ in range(samples):
        verdict = monitor.verdict(monitor.sample({}))
        assert verdict.action != "stop_study"
        plant.works = verdict.action == "go_on"
        highest = max(highest, plant.value)
        if plant.works and paused:
            pauses.append(paused)
        paused = 0 if plant.works else paused + 1
        clock[0] += STEP
    return highest, pauses


def test_the_policy_keeps_a_machine_cool_without_chatter() -> None:
    """A machine that would reach 105 °C stays below critical for four hours, and its pauses last at least a minute."""
    highest, pauses = closed_loop(Plant(start=50.0, hot=105.0), 7200)
    assert 85.0 <= highest < 95.0
    assert min(pauses) * STEP >= 60.0
    assert sum(pauses) < 0.8 * 7200
    assert len(pauses) > 10


def test_a_machine_that_stays_cool_is_never_paused() -> None:
    """A cool machine never pauses."""
    assert closed_loop(Plant(start=50.0, hot=84.0), 1800)[1] == []


not_a_value = st.one_of(
    st.none(),
    st.just(math.nan),
    st.just(math.inf),
    st.floats(max_value=0.0, allow_nan=False),
    st.floats(min_value=150.001, allow_nan=False),
)
trace = st.lists(st.one_of(st.floats(min_value=1.0, max_value=150.0), not_a_value), max_size=80)


def is_value(value: float | None) -> bool:
    return value is not None and 0 < value <= 150


@settings(deadline=None)
@given(values=trace, on_missing=st.sampled_from(["warn", "ignore"]))
def test_g41_a_reading_without_a_value_never_pauses_or_stops(values: list[float | None], on_missing: str) -> None:
    """Property test with arbitrary sensor traces."""
    options = ThermalOptions(on_missing=on_missing)  # type: ignore[arg-type]
    done = "g" + actions(replay(values, options))
    for value, before, after in zip(values, done, done[1:], strict=False):
        if not is_value(value):
            assert after != "s"
            assert (before, after) != ("g", "p")


def checked(values: Sequence[float | None]) -> list[float | None]:
    """The values without implausible ones, such as a jump that the next value does not confirm."""
    history, kept = SensorHistory(), list[float | None]()
    for index, value in enumerate(values):
        history, reading = check_reading(history, temperature(value), load=None, now=index * STEP)
        kept.append(reading.value)
    return kept


@settings(deadline=None)
@example(values=[95.0, 1.0, 95.0, 95.0])
@given(values=trace)
def test_a_pause_follows_three_hot_values_and_lasts_a_minute(values: list[float | None]) -> None:
    """A stop follows three critical values."""
    done = actions(replay(values))
    judged = checked(values)
    began = 0
    for index, action in enumerate(done):
        known = [value for value in judged[: index + 1] if value is not None]
        before = done[index - 1] if index else "g"
        if action == "s":
            assert min(known[-3:]) >= 95
            return
        if (before, action) == ("g", "p"):
            assert len(known) >= 3
            assert min(known[-3:]) >= 85
            began = index
        if (before, action) == ("p", "g"):
            assert (index - began) * STEP >= 60


class Entry(NamedTuple):
    """A sensor's entry in psutil's format."""

    label: str
    current: float | None


def test_sensors_of_two_equal_processors_are_numbered() -> None:
    """An empty label leaves the chip's name, and a sensor without a value has a reason."""
    recorded = {
        "coretemp": [Entry("Package id 0", 61.0), Entry("Package id 0", 64.0)],
        "acpitz": [Entry("", None)],
    }
    assert [(reading.source, reading.text) for reading in temperatures_of(recorded)] == [
        ("coretemp/Package id 0", "61 °C"),
        ("coretemp/Package id 0 #2", "64 °C"),
        ("acpitz", "unavailable (the sensor returns no value)"),
    ]
    assert [reading.text for reading in temperatures_of({})] == ["unavailable (no temperature sensor)"]


def test_g41_without_macos_its_thermal_pressure_is_unavailable() -> None:
    """The macOS library is missing, which is the reason."""
    (reading,) = MacThermalPressure("/nowhere/libSystem.dylib").read()
    assert reading.value is None
    assert (reading.reason or "").startswith("the thermal pressure cannot be read: /nowhere/libSystem.dylib: ")


def test_g47_a_frozen_machine_has_not_missed_its_sensor_for_long() -> None:
    """An hour between two samples is a paused container; the same time in samples stops the study."""
    options = ThermalOptions(on_missing="refuse")
    monitor, clock = monitor_of([[temperature(50.0)], *([[temperature(None)]] * 60)], options)
    assert actions(watch(monitor, clock, 2)) == "gg"
    clock[0] += 3600.0
    assert actions(watch(monitor, clock, 1)) == "g"
    assert "s" in actions(watch(monitor, clock, 50))
