from __future__ import annotations

import json
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from scalecore.api.monitor import HardwareMonitor, MonitorContext
from scalecore_hwmon.options import ThermalOptions
from scalecore_hwmon.plugin import scalecore_hardware_monitors

if TYPE_CHECKING:
    from pathlib import Path


def test_importing_the_plugin_imports_no_library_that_reads_hardware() -> None:
    """The plugin module and its options import neither psutil nor NVML nor other heavy libraries."""
    code = "import sys, json, scalecore_hwmon.plugin; print(json.dumps(sorted(sys.modules)))"
    output = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout
    loaded = set(json.loads(output))
    assert "scalecore_hwmon.options" in loaded
    assert loaded.isdisjoint({"psutil", "pynvml", "ctypes", "torch", "optuna", "pandas", "numpy"})


@pytest.mark.parametrize("name", ["memory", "thermal", "disk", "cpu", "gpu"])
def test_every_monitor_reads_this_machine_with_its_default_options(name: str, tmp_path: Path) -> None:
    """Each monitor's readings have the declared quantities and a value or a reason."""
    record = {record.name: record for record in scalecore_hardware_monitors()}[name]
    monitor = record.factory(record.options(), MonitorContext(folder=tmp_path))
    assert isinstance(monitor, HardwareMonitor)
    assert monitor.interval > 0
    assert monitor.preflight(None)
    readings = monitor.sample({})
    assert readings
    assert {reading.quantity for reading in readings} <= set(record.quantities)
    assert all(reading.value is not None or reading.reason for reading in readings)
    assert monitor.verdict(readings).action in ("go_on", "pause", "stop_study")


def test_thermal_limits_that_contradict_each_other_are_refused() -> None:
    """A pause that could never end, and a watch level above the pause, are errors of the options."""
    with pytest.raises(
        ValueError, match=r"^resume_below \(90\) must be below pause_at \(85\), and pause_at below stop_at \(95\)$"
    ):
        ThermalOptions(resume_below=90.0)
    with pytest.raises(ValueError, match=r"^watch_at \(86\) must not be above pause_at \(85\)$"):
        ThermalOptions(watch_at=86.0)
