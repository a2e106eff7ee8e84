"""Contract of hardware monitors."""

from __future__ import annotations

import math
import subprocess
import sys
from collections.abc import Sequence

import pytest

from scalecore.api.monitor import HardwareMonitor
from scalecore.api.readings import Demand, Reading

__all__ = ["MonitorContract"]


class MonitorContract:
    """Inherit and define the fixture `monitor`. It reads the sensors of this machine, if there are any."""

    quantities: tuple[str, ...] = ()
    """The quantities that the record declares; if empty, they are not checked."""

    @pytest.fixture
    def monitor(self) -> HardwareMonitor:
        """The monitor under test."""
        pytest.fail("define the fixture `monitor`: return your hardware monitor")

    def test_interval_is_positive(self, monitor: HardwareMonitor) -> None:
        """`interval` is a positive, finite number of seconds."""
        assert math.isfinite(monitor.interval)
        assert monitor.interval > 0

    def test_findings_are_complete(self, monitor: HardwareMonitor) -> None:
        """Each finding of `preflight` has a subject and a message; a refusal also has a remedy."""
        for demand in (None, Demand(memory=10**6, micro_batch=1), Demand(memory=10**18, micro_batch=64)):
            for finding in monitor.preflight(demand):
                assert finding.level in ("ok", "warn", "refuse")
                assert finding.subject
                assert finding.message
                assert finding.level != "refuse" or finding.remedy, f"the refusal {finding.message!r} has no remedy"

    def test_admissions_have_reasons(self, monitor: HardwareMonitor) -> None:
        """`wait` and `refuse` have a reason."""
        for memory in (10**6, 10**18):
            admission = monitor.admit(Demand(memory=memory, micro_batch=4, trial=0))
            assert admission.action in ("admit", "wait", "refuse")
            assert admission.action == "admit" or admission.reason, f"{admission.action} without a reason"

    def test_readings_are_numbers_or_reasons(self, monitor: HardwareMonitor) -> None:
        """A reading has a finite number, or None with a reason [G41]; `sample` always returns the same quantities."""
        first = self._sample(monitor)
        assert first, "no readings; return an unavailable reading with a reason"
        for reading in first:
            assert reading.source
            assert reading.value is None or math.isfinite(reading.value), f"{reading.quantity}: {reading.value}"
            assert reading.text
        assert {one.quantity for one in self._sample(monitor)} == {one.quantity for one in first}
        if self.quantities:
            assert {one.quantity for one in first} <= set(self.quantities)

    def test_verdicts_have_reasons(self, monitor: HardwareMonitor) -> None:
        """Every verdict except `go_on` has a reason."""
        for _ in range(3):
            verdict = monitor.verdict(self._sample(monitor))
            assert verdict.action in ("go_on", "pause", "stop_trial", "stop_study")
            assert verdict.action == "go_on" or verdict.reason

    def test_missing_values_do_not_raise(self, monitor: HardwareMonitor) -> None:
        """`verdict` accepts unavailable readings and an empty list."""
        dead = [
            Reading(quantity=one.quantity, source=one.source, unit=one.unit, value=None, reason="died", trial=one.trial)
            for one in self._sample(monitor)
        ]
        for readings in (dead, []):
            verdict = monitor.verdict(readings)
            assert verdict.action == "go_on" or verdict.reason

    def test_ended_processes_do_not_raise(self, monitor: HardwareMonitor) -> None:
        """`sample` accepts the id of a process that has ended."""
        ended = subprocess.Popen([sys.executable, "-c", ""])
        ended.wait()
        verdict = monitor.verdict(monitor.sample({0: ended.pid}))
        assert verdict.action == "go_on" or verdict.reason

    def _sample(self, monitor: HardwareMonitor) -> Sequence[Reading]:
        return monitor.sample({})
