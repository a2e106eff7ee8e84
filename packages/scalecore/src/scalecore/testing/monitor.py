"""What every hardware monitor must hold."""

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
    """Inherit, and give the fixture `monitor`. It is asked on this machine, whatever sensors that has."""

    quantities: tuple[str, ...] = ()
    """The quantities that the record declares; empty for no check."""

    @pytest.fixture
    def monitor(self) -> HardwareMonitor:
        """The monitor under test."""
        pytest.fail("give the fixture `monitor`: it returns your hardware monitor")

    def test_it_says_how_often_it_wants_to_be_asked(self, monitor: HardwareMonitor) -> None:
        """A positive number of seconds."""
        assert math.isfinite(monitor.interval)
        assert monitor.interval > 0

    def test_findings_tell_what_and_what_to_do(self, monitor: HardwareMonitor) -> None:
        """Before a study, with a demand and without one; a refusal says what to do about it."""
        for demand in (None, Demand(memory=10**6, micro_batch=1), Demand(memory=10**18, micro_batch=64)):
            for finding in monitor.preflight(demand):
                assert finding.level in ("ok", "warn", "refuse")
                assert finding.subject
                assert finding.message
                assert finding.level != "refuse" or finding.remedy, f"{finding.message}: no remedy"

    def test_a_trial_is_admitted_or_told_why_not(self, monitor: HardwareMonitor) -> None:
        """Whatever is not admitted has a reason."""
        for memory in (10**6, 10**18):
            admission = monitor.admit(Demand(memory=memory, micro_batch=4, trial=0))
            assert admission.action in ("admit", "wait", "refuse")
            assert admission.action == "admit" or admission.reason

    def test_readings_are_numbers_or_reasons(self, monitor: HardwareMonitor) -> None:
        """Never a number that stands for "unknown" [G41]; always the same quantities, so that a table has columns."""
        first = self._sample(monitor)
        assert first, "no reading at all: say `unavailable` and why"
        for reading in first:
            assert reading.source
            assert reading.value is None or math.isfinite(reading.value), f"{reading.quantity}: {reading.value}"
            assert reading.text
        assert {one.quantity for one in self._sample(monitor)} == {one.quantity for one in first}
        if self.quantities:
            assert {one.quantity for one in first} <= set(self.quantities)

    def test_a_verdict_follows_from_readings(self, monitor: HardwareMonitor) -> None:
        """What is not `go_on` has a reason."""
        for _ in range(3):
            verdict = monitor.verdict(self._sample(monitor))
            assert verdict.action in ("go_on", "pause", "stop_trial", "stop_study")
            assert verdict.action == "go_on" or verdict.reason

    def test_missing_values_do_not_raise(self, monitor: HardwareMonitor) -> None:
        """Every sensor may die: all readings unavailable, then none at all."""
        dead = [
            Reading(quantity=one.quantity, source=one.source, unit=one.unit, value=None, reason="died", trial=one.trial)
            for one in self._sample(monitor)
        ]
        for readings in (dead, []):
            verdict = monitor.verdict(readings)
            assert verdict.action == "go_on" or verdict.reason

    def test_processes_that_are_gone_do_not_raise(self, monitor: HardwareMonitor) -> None:
        """A trial may end between two looks."""
        ended = subprocess.Popen([sys.executable, "-c", ""])
        ended.wait()
        verdict = monitor.verdict(monitor.sample({0: ended.pid}))
        assert verdict.action == "go_on" or verdict.reason

    def _sample(self, monitor: HardwareMonitor) -> Sequence[Reading]:
        return monitor.sample({})
