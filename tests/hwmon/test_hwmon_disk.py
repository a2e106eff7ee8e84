from __future__ import annotations

import shutil
from typing import TYPE_CHECKING

from scalecore.api.monitor import MonitorContext
from scalecore.api.readings import Demand, Reading, Verdict
from scalecore_hwmon.disk import DiskMonitor
from scalecore_hwmon.options import DiskOptions

if TYPE_CHECKING:
    from pathlib import Path

GB = 10**9


def disk(folder: Path, options: DiskOptions | None = None) -> DiskMonitor:
    return DiskMonitor(options or DiskOptions(), MonitorContext(folder=folder))


def free(gigabytes: float) -> list[Reading]:
    return [Reading(quantity="disk_free", source="/data", unit="B", value=gigabytes * GB)]


def test_the_free_space_is_that_of_the_studys_folder_before_it_exists(tmp_path: Path) -> None:
    """The nearest existing parent folder is measured."""
    (reading,) = disk(tmp_path / "studies" / "spy").sample({})
    assert reading.source == str(tmp_path)
    assert reading.value is not None
    assert abs(reading.value - shutil.disk_usage(tmp_path).free) < 10 * GB


def test_g44_a_study_does_not_start_on_a_full_disk(tmp_path: Path) -> None:
    """Below the minimum the study is refused, with folder and remedy; above it the finding is ok."""
    (finding,) = disk(tmp_path, DiskOptions(min_free_gb=1e9)).preflight(None)
    assert (finding.level, finding.subject) == ("refuse", "disk")
    assert finding.message.startswith("only ")
    assert finding.message.endswith(f" free at {tmp_path}, less than 1e+09 GB")
    assert finding.remedy == "free some space, choose another output folder, or lower min_free_gb of the disk monitor"
    (finding,) = disk(tmp_path, DiskOptions(min_free_gb=0.0)).preflight(None)
    assert finding.level == "ok"


def test_g44_a_study_is_stopped_before_the_disk_is_full(tmp_path: Path) -> None:
    """Below the limit the study stops, with space for its checkpoint; above it continues."""
    monitor = disk(tmp_path)
    assert monitor.verdict(free(2.1)) == Verdict(action="go_on")
    assert monitor.verdict(free(1.9)) == Verdict(
        action="stop_study", reason="only 1.9 GB free at /data, less than 2 GB", guard="G44"
    )


def test_g44_no_trial_is_admitted_on_a_full_disk(tmp_path: Path) -> None:
    """The trial waits, and the verdict on the next sample stops the study."""
    demand = Demand(memory=1, micro_batch=1)
    assert disk(tmp_path, DiskOptions(stop_below_gb=1e9)).admit(demand).action == "wait"
    assert disk(tmp_path, DiskOptions(stop_below_gb=0.0)).admit(demand).action == "admit"


def test_g41_free_space_that_cannot_be_read_is_unavailable(tmp_path: Path) -> None:
    """A missing value stops nothing."""
    unreadable = Reading(quantity="disk_free", source="/data", unit="B", value=None, reason="Input/output error")
    assert disk(tmp_path).verdict([unreadable]) == Verdict(action="go_on")
