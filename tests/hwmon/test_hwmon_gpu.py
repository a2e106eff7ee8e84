from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from scalecore.readings import Demand, Reading, Verdict
from scalecore_hwmon.gpu import GpuMonitor
from scalecore_hwmon.nvml import NvmlGpus, driver_present
from scalecore_hwmon.options import GpuOptions

if TYPE_CHECKING:
    from collections.abc import Sequence

GB = 10**9


class Replay:
    """Always the same readings."""

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


def cuda(memory_gb: float, *, micro_batch: int = 32) -> Demand:
    return Demand(memory=int(memory_gb * GB), micro_batch=micro_batch, device="cuda")


def test_g41_nvml_gives_numbers_or_says_why_not() -> None:
    """On a machine without the driver or the package every quantity is unavailable with its reason."""
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
def test_g41_a_machine_without_a_gpu_is_said_whatever_the_policy(on_missing: str, level: str) -> None:
    """The finding follows `on_missing` and names the reason."""
    options = GpuOptions(on_missing=on_missing)  # type: ignore[arg-type]
    monitor = GpuMonitor(options, gpus=Replay(missing()))
    (finding,) = monitor.preflight(None)
    assert finding.level == level
    assert finding.message.startswith("no GPU can be read (no NVIDIA driver): GPU guard inactive")
    assert monitor.sample({})[0].guarded is (on_missing != "ignore")
    assert monitor.admit(cuda(1.0)).reason == "no GPU can be read: admitted unseen"


def test_g40_a_trial_is_admitted_by_the_memory_of_a_gpu() -> None:
    """It fits on the GPU with most room, or waits, or no GPU could ever hold it; CPU trials do not matter to it."""
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


def test_g40_a_largest_trial_that_no_gpu_can_hold_is_found_before_the_study() -> None:
    """A smaller micro-batch may help; at one sample nothing does."""
    monitor = GpuMonitor(GpuOptions(), gpus=Replay(*gpu(0, free_gb=23.0, total_gb=24.0)))
    assert [finding.level for finding in monitor.preflight(cuda(30.0))] == ["ok", "warn"]
    assert [finding.level for finding in monitor.preflight(cuda(30.0, micro_batch=1))] == ["ok", "refuse"]
    assert [finding.message for finding in monitor.preflight(None)] == [
        "GPU 0 NVIDIA X: 23.0 GB of 24.0 GB memory free"
    ]


def test_g43_a_gpu_that_slows_down_for_heat_is_told() -> None:
    """The study goes on, and its record can say so."""
    slow = Reading(quantity="thermal_slowdown", source="GPU 0 NVIDIA X", unit="of 1", value=1.0)
    monitor = GpuMonitor(GpuOptions(), gpus=Replay(slow))
    assert monitor.verdict(monitor.sample({})) == Verdict(
        action="go_on", reason="slowed down by heat: GPU 0 NVIDIA X", guard="G43"
    )
    assert monitor.verdict([missing()]) == Verdict(action="go_on")
