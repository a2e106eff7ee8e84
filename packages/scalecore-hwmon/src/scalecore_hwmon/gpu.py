"""The GPU monitor: what NVIDIA GPUs do, and whether a trial's predicted memory fits on one of them (guard G40)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from attrs import evolve, frozen

from scalecore.readings import Admission, Demand, Finding, Reading, Verdict
from scalecore.texts import size
from scalecore_hwmon.words import missing_finding

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from scalecore_hwmon.options import GpuOptions
    from scalecore_hwmon.sensors import SensorProvider

SUBJECT = "gpu"


@frozen(kw_only=True)
class Gpu:
    """Memory of one GPU, in bytes."""

    source: str
    free: float
    total: float


class GpuMonitor:
    """A `HardwareMonitor` over the readings of `gpus`.

    It stops nothing: running out of a GPU's memory is an error that the trial reports itself.
    """

    def __init__(self, options: GpuOptions, *, gpus: SensorProvider) -> None:
        self._options = options
        self._gpus = gpus

    @property
    def interval(self) -> float:
        return self._options.interval

    def preflight(self, demand: Demand | None) -> Sequence[Finding]:
        readings = self.sample({})
        known = gpus_of(readings)
        if not known:
            reasons = sorted({reading.reason for reading in readings if reading.reason})
            return [
                missing_finding(
                    SUBJECT,
                    f"no GPU can be read ({'; '.join(reasons)}): GPU guard inactive",
                    on_missing=self._options.on_missing,
                    remedy="leave out the gpu monitor where there is no NVIDIA GPU, or accept it with its on_missing",
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
                        remedy="such trials run with a smaller micro-batch, where that fits"
                        if smaller
                        else "leave such shapes out (search.exclude), or take a smaller budget",
                    )
                )
        return found

    def admit(self, demand: Demand) -> Admission:
        if demand.device != "cuda":
            return Admission(action="admit")
        known = gpus_of(self.sample({}))
        if not known:
            return Admission(action="admit", reason="no GPU can be read: admitted unseen")
        return self._admission(demand, known)

    def sample(self, processes: Mapping[int, int]) -> Sequence[Reading]:
        ignored = self._options.on_missing == "ignore"
        return [
            evolve(reading, guarded=False) if ignored and reading.value is None else reading
            for reading in self._gpus.read()
        ]

    def verdict(self, readings: Sequence[Reading]) -> Verdict:
        slowed = [reading.source for reading in readings if reading.quantity == "thermal_slowdown" and reading.value]
        if slowed:
            return Verdict(action="go_on", reason=f"slowed down by heat: {', '.join(slowed)}", guard="G43")
        return Verdict(action="go_on")

    def _admission(self, demand: Demand, known: Sequence[Gpu]) -> Admission:
        need = demand.memory * self._options.margin
        what = f"predicted {size(demand.memory)} at micro-batch {demand.micro_batch}, {size(need)} with the margin"
        largest = max(known, key=lambda gpu: gpu.total)
        if need > largest.total * self._options.max_share:
            share = f"{self._options.max_share * 100:.0f} % of {size(largest.total)}"
            return Admission(action="refuse", reason=f"{what}: more than {share} ({largest.source})")
        freest = max(known, key=lambda gpu: gpu.free)
        if need > freest.free:
            return Admission(action="wait", reason=f"{what}: {size(freest.free)} are free ({freest.source})")
        return Admission(action="admit")


def gpus_of(readings: Sequence[Reading]) -> list[Gpu]:
    """The GPUs whose memory is known."""
    values = {(reading.source, reading.quantity): reading.value for reading in readings}
    gpus = []
    for source in dict.fromkeys(reading.source for reading in readings):
        used, free = values.get((source, "gpu_memory_used")), values.get((source, "gpu_memory_free"))
        if used is not None and free is not None:
            gpus.append(Gpu(source=source, free=free, total=used + free))
    return gpus
