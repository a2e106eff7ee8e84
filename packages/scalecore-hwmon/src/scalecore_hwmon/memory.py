"""The memory monitor: admits trials by predicted memory and stops one before the kernel does (guard G40)."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from scalecore.api.clock import RunningClock
from scalecore.api.readings import Admission, Demand, Finding, Reading, Verdict
from scalecore_hwmon.machine_memory import Machine, MachineReader
from scalecore_hwmon.memory_policy import MemoryBudget, TrialMemory, admission, findings, judge, needed
from scalecore_hwmon.processes import TreeReader

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from scalecore_hwmon.options import MemoryOptions

STARTS_WITHIN = 60.0
"""Seconds for which memory stays reserved for an admitted trial that is not running yet."""


class MemoryMonitor:
    """A `HardwareMonitor` that reads with `MachineReader` and `TreeReader` and decides with `memory_policy`."""

    def __init__(
        self,
        options: MemoryOptions,
        *,
        machine: MachineReader | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._options = options
        self._machine = machine or MachineReader(clock=clock)
        self._trees = TreeReader(clock=clock)
        self._clock = clock
        self._budget: MemoryBudget | None = None
        # Time in which the machine was frozen does not count (guard G47).
        self._running = RunningClock(clock, longest=3 * max(options.interval, 2.0))
        self._sampled_at = self._running()
        self._used: dict[int, float | None] = {}
        self._predicted: dict[int, float] = {}
        self._admitted: dict[int, float] = {}
        """Trial number -> time of admission, until the trial runs."""
        self._thrashing_since: float | None = None

    @property
    def interval(self) -> float:
        return self._options.interval

    def preflight(self, demand: Demand | None) -> Sequence[Finding]:
        machine, budget = self._read()
        return findings(
            budget, self._options, available=machine.available, source=machine.available_source, demand=demand
        )

    def admit(self, demand: Demand) -> Admission:
        if demand.device == "cuda" and demand.host_memory is None:
            return Admission(action="admit", reason="the trial needs GPU memory only")
        machine, budget = self._read()
        now = self._clock()
        self._admitted = {number: at for number, at in self._admitted.items() if now - at < STARTS_WITHIN}
        others = (self._used.keys() | self._admitted.keys()) - {demand.trial}
        running = [
            TrialMemory(used=self._used.get(number), predicted=self._predicted.get(number)) for number in sorted(others)
        ]
        answer = admission(
            budget, demand, available=machine.available, source=machine.available_source, running=running
        )
        if answer.action == "admit" and demand.trial is not None:
            self._predicted[demand.trial] = needed(demand)
            self._admitted[demand.trial] = now
        return answer

    def sample(self, processes: Mapping[int, int]) -> Sequence[Reading]:
        machine, budget = self._read()
        trees = self._trees.read(processes, limit=budget.allowed)
        self._sampled_at = self._running()
        self._used = {reading.trial: reading.value for reading in trees if reading.trial is not None}
        self._admitted = {number: at for number, at in self._admitted.items() if number not in processes}
        self._predicted = {
            number: memory
            for number, memory in self._predicted.items()
            if number in processes or number in self._admitted
        }
        limit = Reading(quantity="memory_limit", source=budget.limit.source, unit="B", value=budget.limit.bytes)
        return [limit, *machine.readings, *trees]

    def verdict(self, readings: Sequence[Reading]) -> Verdict:
        budget = self._budget or self._read()[1]
        verdict, self._thrashing_since = judge(
            budget,
            readings,
            predicted=self._predicted,
            thrashing_since=self._thrashing_since,
            now=self._sampled_at,
        )
        return verdict

    def _read(self) -> tuple[Machine, MemoryBudget]:
        machine = self._machine.read()
        self._budget = MemoryBudget.of(self._options, machine.limit)
        return machine, self._budget
