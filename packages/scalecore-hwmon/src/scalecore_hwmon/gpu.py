"""The GPU monitor: reads NVIDIA GPUs, and admits a trial if its predicted memory fits on one of them (guard G40)."""

from __future__ import annotations

import math
import os
import re
import time
from collections.abc import Mapping
from typing import TYPE_CHECKING

from attrs import evolve, frozen

from scalecore.api.formatting import size
from scalecore.api.machine import CUDA_VISIBLE_DEVICES, is_visible
from scalecore.api.readings import Admission, Demand, Finding, Reading, Verdict
from scalecore_hwmon.missing_sensor import missing_finding

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from scalecore_hwmon.options import GpuOptions
    from scalecore_hwmon.sensors import SensorProvider

SUBJECT = "gpu"

STARTS_WITHIN = 60.0
"""Seconds for which memory stays reserved for an admitted trial that is not running yet."""


@frozen(kw_only=True)
class Gpu:
    """Memory of one GPU, in bytes."""

    source: str
    free: float
    total: float
    identifier: str
    """In the form that `CUDA_VISIBLE_DEVICES` accepts."""

    @property
    def used(self) -> float:
        return self.total - self.free


@frozen(kw_only=True)
class Promise:
    """The memory of one GPU that is reserved for an admitted trial."""

    gpu: str
    bytes: float
    at: float
    """Time of the admission."""


class GpuMonitor:
    """A `HardwareMonitor` for the readings of `gpus`.

    It never stops a trial: a trial that runs out of GPU memory reports the error itself. Admission reserves memory for
    the trial until it ends, on the GPU that the admission names. The trial's process sees no other GPU and cannot
    allocate more than the reserved memory.
    """

    def __init__(
        self,
        options: GpuOptions,
        *,
        gpus: SensorProvider,
        environment: Mapping[str, str] = os.environ,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._options = options
        self._gpus = gpus
        self._environment = environment
        self._clock = clock
        self._promises: dict[int, Promise] = {}
        """Trial number -> reserved memory."""
        self._seen: set[int] = set()
        """Trials running at the last sample."""
        self._left: dict[int, float] = {}
        """Trial number -> time of the first sample after its end."""
        self._foreign: dict[str, float] = {}
        """GPU -> memory that other programs used before any trial was admitted there."""

    @property
    def interval(self) -> float:
        return self._options.interval

    def preflight(self, demand: Demand | None) -> Sequence[Finding]:
        readings = self._read()
        known = self._visible(readings)
        if not known:
            reasons = sorted({reading.reason for reading in readings if reading.reason})
            if gpus_of(readings):
                reasons = [f"{CUDA_VISIBLE_DEVICES}={self._environment.get(CUDA_VISIBLE_DEVICES)} names none of them"]
            return [
                missing_finding(
                    SUBJECT,
                    f"no GPU can be read ({'; '.join(reasons)}): GPU guard inactive",
                    on_missing=self._options.on_missing,
                    remedy="remove the gpu monitor if the machine has no NVIDIA GPU, or set its on_missing to ignore",
                )
            ]
        found = [
            Finding(
                level="ok", subject=SUBJECT, message=f"{gpu.source}: {size(gpu.free)} of {size(gpu.total)} memory free"
            )
            for gpu in known
        ]
        if demand is not None and demand.device == "cuda":
            answer = self._admission(demand, known)
            if answer.action == "refuse":
                smaller = demand.micro_batch > 1
                found.append(
                    Finding(
                        level="warn" if smaller else "refuse",
                        subject=SUBJECT,
                        message=f"the largest trial: {answer.reason}",
                        remedy="such trials run with a smaller micro-batch if that fits"
                        if smaller
                        else "exclude such shapes (search.exclude), or use a smaller budget",
                    )
                )
        return found

    def admit(self, demand: Demand) -> Admission:
        if demand.device != "cuda":
            return Admission(action="admit")
        known = self._visible(self._read())
        if not known:
            return Admission(action="admit", reason="no GPU can be read: admitted without a check")
        answer = self._admission(demand, known)
        if demand.trial is not None and answer.gpu is not None and answer.gpu_limit is not None:
            promise = Promise(gpu=answer.gpu, bytes=answer.gpu_limit, at=self._clock())
            self._promises[demand.trial] = promise
        return answer

    def sample(self, processes: Mapping[int, int]) -> Sequence[Reading]:
        self._left |= dict.fromkeys(self._seen - processes.keys(), self._clock())
        self._seen = set(processes)
        return self._read()

    def _read(self) -> list[Reading]:
        ignored = self._options.on_missing == "ignore"
        return [
            evolve(reading, guarded=False) if ignored and reading.value is None else reading
            for reading in self._gpus.read()
        ]

    def verdict(self, readings: Sequence[Reading]) -> Verdict:
        slowed = [reading.source for reading in readings if reading.quantity == "thermal_slowdown" and reading.value]
        if slowed:
            return Verdict(action="go_on", reason=f"thermal slowdown of {', '.join(slowed)}", guard="G43")
        return Verdict(action="go_on")

    def _visible(self, readings: Sequence[Reading]) -> list[Gpu]:
        """The GPUs with known memory that attempts may use."""
        named: Mapping[str, str] = getattr(self._gpus, "identifiers", {})
        variable = self._environment.get(CUDA_VISIBLE_DEVICES)
        return [
            gpu
            for gpu in gpus_of(readings, identifiers=named)
            if is_visible(variable, index=_index(gpu.source), identifier=gpu.identifier)
        ]

    def _promised(self, demand: Demand) -> list[Promise]:
        """The reservations of other running trials. Drop those of trials that have ended."""
        running = self._running() if demand.running is None else demand.running
        self._promises = {number: one for number, one in self._promises.items() if number in running}
        return [one for number, one in self._promises.items() if number != demand.trial]

    def _running(self) -> set[int]:
        """Trials running at the last sample, and those admitted since then and within the last minute."""
        now = self._clock()
        return self._seen | {
            number
            for number, promise in self._promises.items()
            if self._left.get(number, -math.inf) < promise.at > now - STARTS_WITHIN
        }

    def _admission(self, demand: Demand, known: Sequence[Gpu]) -> Admission:
        """Choose the GPU with the fewest trials; among equals, the one with the most free memory.

        The reservations can be summed, because a trial that exceeds its own runs out of memory itself.
        """
        need = demand.memory * self._options.margin
        what = f"predicted {size(demand.memory)} at micro-batch {demand.micro_batch}, {size(need)} with the margin"
        largest = max(known, key=lambda gpu: gpu.total)
        if need > largest.total * self._options.max_share:
            share = f"{self._options.max_share * 100:.0f} % of {size(largest.total)}"
            return Admission(action="refuse", reason=f"{what}: more than {share} ({largest.source})")
        others = self._promised(demand)
        there = {gpu.source: [one.bytes for one in others if one.gpu == gpu.identifier] for gpu in known}
        room = {gpu.source: self._room(gpu, there[gpu.source]) for gpu in known}
        most = {gpu.source: min(room[gpu.source], gpu.total * self._options.max_share) for gpu in known}
        fitting = [gpu for gpu in known if need <= most[gpu.source]]
        if fitting:
            gpu = min(fitting, key=lambda one: (len(there[one.source]), -room[one.source]))
            part = gpu.total * self._options.max_share * _part(demand, gpus=len(known))
            limit = min(max(need, part), most[gpu.source])
            return Admission(action="admit", gpu=gpu.identifier, gpu_limit=int(limit))
        freest = max(known, key=lambda gpu: room[gpu.source])
        free = f"{size(freest.free)} are free ({freest.source})"
        if promised := sum(there[freest.source]):
            left = size(max(0.0, room[freest.source]))
            free = f"{left} available now; {free}, {size(promised)} reserved for running trials"
        return Admission(action="wait", reason=f"{what}: {free}")

    def _room(self, gpu: Gpu, promised: Sequence[float]) -> float:
        """Memory that can still be reserved: the total without the reservations and other programs' memory.

        NVML does not list a container's processes, so the trials' own use is unknown. The estimate assumes that trials
        use at most their reservations, and other programs at least as much as before the first trial.
        """
        if not promised:
            self._foreign[gpu.identifier] = gpu.used
            return gpu.free
        before = min(self._foreign.get(gpu.identifier, 0.0), gpu.used)
        foreign = max(before, gpu.used - sum(promised))
        return min(gpu.free, gpu.total - foreign - sum(promised))


def _part(demand: Demand, *, gpus: int) -> float:
    """The fraction of the usable GPU memory that a trial gets even if it is predicted to need less.

    1 if no other trial shares the GPU. Otherwise the fraction of one slot until measured attempts have corrected the
    predictions: with a prediction that is too low, every first trial would run out of memory on a nearly empty GPU.
    """
    if demand.slots is None:
        return 0.0
    beside = -(-demand.slots // gpus)
    return 1 / beside if beside == 1 or not demand.measured else 0.0


def gpus_of(readings: Sequence[Reading], *, identifiers: Mapping[str, str] | None = None) -> list[Gpu]:
    """The GPUs with known memory. A GPU without an identifier is identified by its index."""
    values = {(reading.source, reading.quantity): reading.value for reading in readings}
    gpus = []
    for source in dict.fromkeys(reading.source for reading in readings):
        used, free = values.get((source, "gpu_memory_used")), values.get((source, "gpu_memory_free"))
        if used is not None and free is not None:
            name = (identifiers or {}).get(source, str(_index(source)))
            gpus.append(Gpu(source=source, free=free, total=used + free, identifier=name))
    return gpus


def _index(source: str) -> int:
    """The NVML index in the source of a reading."""
    found = re.match(r"GPU (\d+)", source)
    return int(found[1]) if found else 0
