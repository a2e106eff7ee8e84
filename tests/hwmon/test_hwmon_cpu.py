from __future__ import annotations

from typing import TYPE_CHECKING

from scalecore.api.readings import Reading
from scalecore_hwmon.cpu import CONFIRM, CpuMonitor
from scalecore_hwmon.options import CpuOptions

if TYPE_CHECKING:
    from pathlib import Path


def power(monitor: CpuMonitor) -> Reading:
    return next(one for one in monitor.sample({}) if one.quantity == "power")


def test_g41_every_quantity_has_a_number_or_a_reason(tmp_path: Path) -> None:
    """No placeholder replaces a missing number, whatever this machine reports."""
    found = {one.quantity: one for one in CpuMonitor(CpuOptions(), root=tmp_path).sample({})}
    assert found.keys() == {"cpu", "load", "cpu_frequency", "power"}
    assert all((one.value is None) == (one.reason is not None) for one in found.values())
    assert found["power"].reason == "no energy counter"


def test_power_is_the_rate_of_the_energy_counters(tmp_path: Path) -> None:
    """The power is summed over the packages. After a reset of a counter there is no value."""
    now = [0.0]
    counters = [tmp_path / f"sys/class/powercap/intel-rapl:{n}/energy_uj" for n in (0, 1)]

    def count(*energies: float) -> None:
        for path, energy in zip(counters, energies, strict=True):
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(f"{energy:.0f}\n")

    count(5e6, 1e6)
    monitor = CpuMonitor(CpuOptions(), root=tmp_path, clock=lambda: now[0])
    assert power(monitor).reason == "a rate needs two samples"
    now[0] = 2.0
    count(65e6, 21e6)
    reading = power(monitor)
    assert (reading.value, reading.unit) == (40.0, "W")
    now[0] = 4.0
    count(1e6, 1e6)
    assert power(monitor).reason == "the energy counter was reset"


def test_g43_an_overloaded_machine_is_reported_after_several_samples() -> None:
    """A single busy sample is not reported; several in a row are, without stopping the study."""
    monitor = CpuMonitor(CpuOptions())
    busy = [Reading(quantity="load", source="kernel", unit="", value=10_000.0)]
    answers = [monitor.verdict(busy) for _ in range(CONFIRM)]
    assert [answer.reason for answer in answers[:-1]] == [None] * (CONFIRM - 1)
    assert (answers[-1].action, answers[-1].guard) == ("go_on", "G43")
    assert answers[-1].reason == "the machine is overloaded: trials are slower"
    assert monitor.verdict([Reading(quantity="load", source="kernel", unit="", value=0.1)]).reason is None
