from __future__ import annotations

import sys
from types import ModuleType, SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest

from scalecore.api.readings import Demand, Reading, Verdict
from scalecore_hwmon.gpu import GpuMonitor
from scalecore_hwmon.nvml import NvmlGpus, driver_present
from scalecore_hwmon.options import GpuOptions

if TYPE_CHECKING:
    from collections.abc import Sequence

GB = 10**9


class Replay:
    """Always returns the same readings."""

    def __init__(self, *readings: Reading) -> None:
        self._readings = readings

    def read(self) -> Sequence[Reading]:
        return self._readings


def gpu(index: int, *, free_gb: float, total_gb: float) -> list[Reading]:
    source = f"GPU {index} NVIDIA X"
    return [
        Reading(quantity="gpu_memory_used", source=source, unit="B", value=(total_gb - free_gb) * GB),
        Reading(quantity="gpu_memory_free", source=source, unit="B", value=free_gb * GB),
    ]


def missing(reason: str = "no NVIDIA driver") -> Reading:
    return Reading(quantity="gpu", source="NVML", unit="%", value=None, reason=reason)


def cuda(memory_gb: float, *, micro_batch: int = 32, **more: Any) -> Demand:
    return Demand(memory=int(memory_gb * GB), micro_batch=micro_batch, device="cuda", **more)


def test_g41_nvml_returns_numbers_or_reasons() -> None:
    """Without the driver or the package, every quantity is unavailable with a reason."""
    readings = NvmlGpus().read()
    assert {reading.quantity for reading in readings} == {
        "gpu", "gpu_memory_used", "gpu_memory_free", "temperature", "power", "thermal_slowdown", "slowdown_at",
    }  # fmt: skip
    if not driver_present():
        assert {reading.reason for reading in readings} <= {
            "no NVIDIA driver",
            'nvidia-ml-py is not installed: pip install "scalecore-hwmon[nvidia]"',
        }


@pytest.mark.parametrize(("on_missing", "level"), [("warn", "warn"), ("refuse", "refuse"), ("ignore", "ok")])
def test_g41_a_machine_without_a_gpu_is_reported_under_every_policy(on_missing: str, level: str) -> None:
    """The finding follows `on_missing` and contains the reason."""
    options = GpuOptions(on_missing=on_missing)  # type: ignore[arg-type]
    monitor = GpuMonitor(options, gpus=Replay(missing()))
    (finding,) = monitor.preflight(None)
    assert finding.level == level
    assert finding.message.startswith("no GPU can be read (no NVIDIA driver): GPU guard inactive")
    assert monitor.sample({})[0].guarded is (on_missing != "ignore")
    assert monitor.admit(cuda(1.0)).reason == "no GPU can be read: admitted without a check"


def test_g40_a_trial_is_admitted_by_the_memory_of_a_gpu() -> None:
    """A trial fits on the GPU with the most free memory, waits, or is refused if it fits on none. CPU trials are always
    admitted.
    """
    gpus = Replay(*gpu(0, free_gb=4.0, total_gb=24.0), *gpu(1, free_gb=10.0, total_gb=24.0))
    monitor = GpuMonitor(GpuOptions(), gpus=gpus)
    assert monitor.admit(cuda(8.0)).action == "admit"
    waiting = monitor.admit(cuda(10.0))
    assert waiting.action == "wait"
    assert waiting.reason == (
        "predicted 10.0 GB at micro-batch 32, 11.5 GB with the margin: 10.0 GB are free (GPU 1 NVIDIA X)"
    )
    refused = monitor.admit(cuda(20.0))
    assert refused.action == "refuse"
    assert refused.reason == (
        "predicted 20.0 GB at micro-batch 32, 23.0 GB with the margin: more than 90 % of 24.0 GB (GPU 0 NVIDIA X)"
    )
    assert monitor.admit(Demand(memory=10**12, micro_batch=1)).action == "admit"


class Gpus:
    """GPUs of 149 GB each, with settable use."""

    def __init__(self, count: int = 1, *, identifiers: bool = False) -> None:
        self.used_gb = [0.0] * count
        sources = [f"GPU {index} NVIDIA X" for index in range(count)]
        self.identifiers = {source: f"GPU-{index}aa" for index, source in enumerate(sources)} if identifiers else {}

    def read(self) -> Sequence[Reading]:
        return [
            reading
            for index, used in enumerate(self.used_gb)
            for reading in gpu(index, free_gb=149.0 - used, total_gb=149.0)
        ]


class Clock:
    """A settable clock."""

    now = 0.0

    def __call__(self) -> float:
        return self.now


def test_g40_a_gpus_memory_is_not_reserved_twice() -> None:
    """Four trials of 60 GB on 149 GB, before any reaches its peak: admit, admit, wait, wait."""
    monitor = GpuMonitor(GpuOptions(), gpus=Gpus())
    answers = [monitor.admit(cuda(60.0, trial=number)) for number in range(4)]
    assert [answer.action for answer in answers] == ["admit", "admit", "wait", "wait"]
    assert [answer.gpu_limit for answer in answers] == [69 * GB, 69 * GB, None, None]
    assert answers[2].reason == (
        "predicted 60.0 GB at micro-batch 32, 69.0 GB with the margin: 11.0 GB available now; 149.0 GB are free (GPU "
        "0 NVIDIA X), 138.0 GB reserved for running trials"
    )
    assert monitor.admit(cuda(9.0, trial=4)).action == "admit"


def test_g40_used_memory_of_a_reservation_is_not_counted_twice() -> None:
    """Reserved and used memory is the same. A trial that ends frees it, and a retry reserves it again."""
    gpus = Gpus()
    monitor = GpuMonitor(GpuOptions(), gpus=gpus)
    gpus.used_gb[0] = 5.0  # another program
    assert monitor.admit(cuda(60.0, trial=0)).action == "admit"
    gpus.used_gb[0] = 65.0  # with the 60 of the trial
    assert monitor.admit(cuda(60.0, trial=1)).action == "admit"
    assert monitor.admit(cuda(60.0, trial=1)).action == "admit"
    gpus.used_gb[0] = 125.0
    assert monitor.admit(cuda(10.0, trial=2)).action == "wait"
    assert monitor.admit(cuda(4.0, trial=2)).action == "admit"
    gpus.used_gb[0] = 65.0
    monitor.sample({0: 100, 1: 101, 2: 102})
    monitor.sample({1: 101})
    assert monitor.admit(cuda(60.0, trial=3)).action == "admit"


def test_g40_memory_of_other_programs_is_not_reserved() -> None:
    """Use beyond all reservations belongs to other programs."""
    gpus = Gpus()
    monitor = GpuMonitor(GpuOptions(), gpus=gpus)
    assert monitor.admit(cuda(20.0, trial=0)).gpu_limit == 23 * GB
    gpus.used_gb[0] = 100.0
    assert monitor.admit(cuda(50.0, trial=1)).action == "wait"
    assert monitor.admit(cuda(40.0, trial=1)).action == "admit"


def test_g40_a_reservation_ends_with_its_trial() -> None:
    """Immediately if the caller passes the running trials; otherwise after a minute in which the trial was not seen
    running.
    """
    clock = Clock()
    monitor = GpuMonitor(GpuOptions(), gpus=Gpus(), clock=clock)
    assert monitor.admit(cuda(100.0, trial=0)).action == "admit"
    assert monitor.admit(cuda(100.0, trial=1)).action == "wait"
    assert monitor.admit(cuda(100.0, trial=1, running=frozenset({0}))).action == "wait"
    assert monitor.admit(cuda(100.0, trial=1, running=frozenset())).action == "admit"
    clock.now = 61.0
    assert monitor.admit(cuda(100.0, trial=2)).action == "admit"


def test_g40_the_admission_names_the_gpu() -> None:
    """The GPU with the fewest trials, among equals the one with the most free memory, by its identifier if NVML reports
    one.
    """
    gpus = Gpus(3, identifiers=True)
    gpus.used_gb = [10.0, 0.0, 120.0]
    monitor = GpuMonitor(GpuOptions(), gpus=gpus)
    given = [monitor.admit(cuda(20.0, trial=number)).gpu for number in range(5)]
    assert given == ["GPU-1aa", "GPU-0aa", "GPU-2aa", "GPU-1aa", "GPU-0aa"]
    assert GpuMonitor(GpuOptions(), gpus=Gpus(2)).admit(cuda(20.0)).gpu == "0"


@pytest.mark.parametrize(("variable", "gpu"), [("1", "GPU-1aa"), ("GPU-2", "GPU-2aa"), ("2,1,-1,0", "GPU-1aa")])
def test_g40_only_visible_gpus_admit_trials(variable: str, gpu: str) -> None:
    """A free GPU that `CUDA_VISIBLE_DEVICES` hides admits no trial."""
    gpus = Gpus(3, identifiers=True)
    gpus.used_gb = [0.0, 20.0, 40.0]
    monitor = GpuMonitor(GpuOptions(), gpus=gpus, environment={"CUDA_VISIBLE_DEVICES": variable})
    assert monitor.admit(cuda(20.0)).gpu == gpu
    assert monitor.admit(cuda(116.0)).action == "wait"


def test_g41_a_variable_that_names_no_gpu_is_reported() -> None:
    """The GPUs can be read, but attempts see none of them."""
    monitor = GpuMonitor(GpuOptions(), gpus=Gpus(), environment={"CUDA_VISIBLE_DEVICES": "7"})
    (finding,) = monitor.preflight(None)
    assert finding.message == "no GPU can be read (CUDA_VISIBLE_DEVICES=7 names none of them): GPU guard inactive"


def test_g40_without_measurements_a_trial_gets_its_slots_share_of_a_gpu() -> None:
    """Four trials fit, each with one slot's share."""
    monitor = GpuMonitor(GpuOptions(), gpus=Gpus())
    answers = [monitor.admit(cuda(1.0, trial=number, slots=4, measured=False)) for number in range(5)]
    assert [answer.action for answer in answers] == ["admit"] * 5
    assert [answer.gpu_limit for answer in answers[:4]] == [pytest.approx(149 * GB * 0.9 / 4)] * 4
    assert answers[4].gpu_limit == pytest.approx(0.1 * 149 * GB)


@pytest.mark.parametrize(
    ("gpus", "slots", "measured", "share"),
    [(1, 1, False, 0.9), (1, 1, True, 0.9), (2, 2, True, 0.9), (2, 4, False, 0.45), (2, 3, False, 0.45)],
)
def test_a_trial_alone_on_a_gpu_gets_all_usable_memory(gpus: int, slots: int, measured: bool, share: float) -> None:
    """With more slots than GPUs, each trial gets its slot's share."""
    monitor = GpuMonitor(GpuOptions(), gpus=Gpus(gpus))
    answer = monitor.admit(cuda(1.0, slots=slots, measured=measured))
    assert answer.gpu_limit == pytest.approx(share * 149 * GB)


def test_g40_with_measurements_a_trial_gets_its_corrected_prediction() -> None:
    """No trial uses memory that is reserved for another."""
    answer = GpuMonitor(GpuOptions(), gpus=Gpus()).admit(cuda(1.0, slots=4, measured=True))
    assert answer.gpu_limit == int(1.15 * GB)


def test_g40_a_retry_keeps_its_reservation_when_its_first_attempt_ends() -> None:
    """The sample without the first attempt comes after the admission of the second."""
    clock = Clock()
    monitor = GpuMonitor(GpuOptions(), gpus=Gpus(), clock=clock)
    monitor.admit(cuda(100.0, trial=0))
    monitor.sample({0: 100})
    clock.now = 5.0
    monitor.admit(cuda(100.0, trial=0))
    clock.now = 6.0
    monitor.sample({})
    assert monitor.admit(cuda(100.0, trial=1, running=frozenset({0}))).action == "wait"


class NvmlError(Exception):
    """An error of nvidia-ml-py."""


def fake_nvml(*, parts: int | None) -> ModuleType:
    """nvidia-ml-py on a machine with one GPU, divided into `parts` of 18 GB, or with a driver without MIG (None)."""

    def part(handle: str, number: int) -> str:
        if number >= (parts or 0):
            raise NvmlError("not found")
        return f"part {number}"

    def mode(handle: str) -> tuple[int, int]:
        if parts is None:
            raise NvmlError("not supported")
        return (int(parts > 0), 0)

    module: Any = ModuleType("pynvml")
    module.NVMLError, module.NVMLError_LibraryNotFound = NvmlError, type("NotFound", (NvmlError,), {})
    module.NVML_DEVICE_MIG_ENABLE, module.NVML_TEMPERATURE_GPU, module.NVML_TEMPERATURE_THRESHOLD_SLOWDOWN = 1, 0, 1
    module.nvmlClocksEventReasonHwThermalSlowdown = module.nvmlClocksEventReasonSwThermalSlowdown = 1
    module.nvmlInit = lambda: None
    module.nvmlDeviceGetCount = lambda: 1
    module.nvmlDeviceGetHandleByIndex = lambda index: "whole"
    module.nvmlDeviceGetName = lambda handle: "NVIDIA X"
    module.nvmlDeviceGetUUID = lambda handle: "GPU-a" if handle == "whole" else f"MIG-{handle[-1]}"
    module.nvmlDeviceGetMemoryInfo = lambda handle: SimpleNamespace(
        used=GB, free=(148 if handle == "whole" else 17) * GB
    )
    module.nvmlDeviceGetMigMode, module.nvmlDeviceGetMaxMigDeviceCount = mode, lambda handle: 7
    module.nvmlDeviceGetMigDeviceHandleByIndex = part
    module.nvmlDeviceGetUtilizationRates = lambda handle: SimpleNamespace(gpu=3)
    module.nvmlDeviceGetTemperature = lambda handle, kind: 40
    module.nvmlDeviceGetPowerUsage = lambda handle: 75_000
    module.nvmlDeviceGetCurrentClocksEventReasons = lambda handle: 0
    module.nvmlDeviceGetTemperatureThreshold = lambda handle, kind: 90
    return module  # type: ignore[no-any-return]


@pytest.mark.parametrize("parts", [None, 0])
def test_a_whole_gpu_is_named_by_its_identifier(monkeypatch: pytest.MonkeyPatch, parts: int | None) -> None:
    """An undivided GPU, with and without support for MIG in the driver."""
    monkeypatch.setitem(sys.modules, "pynvml", fake_nvml(parts=parts))
    gpus = NvmlGpus()
    assert len(gpus.read()) == 7
    assert gpus.identifiers == {"GPU 0 NVIDIA X": "GPU-a"}
    assert GpuMonitor(GpuOptions(), gpus=gpus, environment={}).admit(cuda(60.0)).gpu == "GPU-a"


def test_g40_each_part_of_a_divided_gpu_admits_by_its_own_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    """The whole GPU has 149 GB, which no trial could get."""
    monkeypatch.setitem(sys.modules, "pynvml", fake_nvml(parts=2))
    monitor = GpuMonitor(GpuOptions(), gpus=NvmlGpus(), environment={})
    answers = [monitor.admit(cuda(10.0, trial=number)) for number in range(3)]
    assert [answer.gpu for answer in answers] == ["MIG-0", "MIG-1", None]
    assert monitor.admit(cuda(60.0)).action == "refuse"
    assert [finding.message for finding in monitor.preflight(None)] == [
        "GPU 0 NVIDIA X, part 0: 17.0 GB of 18.0 GB memory free",
        "GPU 0 NVIDIA X, part 1: 17.0 GB of 18.0 GB memory free",
    ]


def test_g40_a_largest_trial_that_no_gpu_can_hold_is_found_before_the_study() -> None:
    """A smaller micro-batch may help, but not at micro-batch 1."""
    monitor = GpuMonitor(GpuOptions(), gpus=Replay(*gpu(0, free_gb=23.0, total_gb=24.0)))
    assert [finding.level for finding in monitor.preflight(cuda(30.0))] == ["ok", "warn"]
    assert [finding.level for finding in monitor.preflight(cuda(30.0, micro_batch=1))] == ["ok", "refuse"]
    assert [finding.message for finding in monitor.preflight(None)] == [
        "GPU 0 NVIDIA X: 23.0 GB of 24.0 GB memory free"
    ]


def test_g43_a_thermal_slowdown_is_reported() -> None:
    """The study continues, with the reason in its record."""
    slow = Reading(quantity="thermal_slowdown", source="GPU 0 NVIDIA X", unit="of 1", value=1.0)
    monitor = GpuMonitor(GpuOptions(), gpus=Replay(slow))
    assert monitor.verdict(monitor.sample({})) == Verdict(
        action="go_on", reason="thermal slowdown of GPU 0 NVIDIA X", guard="G43"
    )
    assert monitor.verdict([missing()]) == Verdict(action="go_on")
