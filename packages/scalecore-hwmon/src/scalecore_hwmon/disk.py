"""The disk monitor: requires free space at the start and stops the study before the disk is full (guard G44)."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING

from scalecore.api.formatting import size
from scalecore.api.readings import Admission, Demand, Finding, Reading, Verdict
from scalecore_hwmon.options import GB

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from scalecore.api.monitor import MonitorContext
    from scalecore_hwmon.options import DiskOptions

SUBJECT = "disk"


class DiskMonitor:
    """A `HardwareMonitor` for the file system of the study's folder."""

    def __init__(self, options: DiskOptions, context: MonitorContext) -> None:
        self._options = options
        self._folder = context.folder.absolute()

    @property
    def interval(self) -> float:
        return self._options.interval

    def preflight(self, demand: Demand | None) -> Sequence[Finding]:
        (reading,) = self.sample({})
        if reading.value is None:
            message = f"free space unavailable ({reading.reason}): disk guard inactive"
            return [Finding(level="warn", subject=SUBJECT, message=message, remedy="check the study's folder")]
        if reading.value < self._options.min_free_gb * GB:
            return [
                Finding(
                    level="refuse",
                    subject=SUBJECT,
                    message=f"only {_free(reading)}, less than {self._options.min_free_gb:g} GB",
                    remedy="free some space, choose another output folder, or lower min_free_gb of the disk monitor",
                )
            ]
        return [Finding(level="ok", subject=SUBJECT, message=_free(reading))]

    def admit(self, demand: Demand) -> Admission:
        verdict = self.verdict(self.sample({}))
        return Admission(action="admit" if verdict.action == "go_on" else "wait", reason=verdict.reason)

    def sample(self, processes: Mapping[int, int]) -> Sequence[Reading]:
        place = _existing(self._folder)
        try:
            free, reason = shutil.disk_usage(place).free, None
        except OSError as error:
            free, reason = None, str(error)
        return [Reading(quantity="disk_free", source=str(place), unit="B", value=free, reason=reason)]

    def verdict(self, readings: Sequence[Reading]) -> Verdict:
        for reading in readings:
            if reading.value is not None and reading.value < self._options.stop_below_gb * GB:
                reason = f"only {_free(reading)}, less than {self._options.stop_below_gb:g} GB"
                return Verdict(action="stop_study", reason=reason, guard="G44")
        return Verdict(action="go_on")


def _free(reading: Reading) -> str:
    return f"{size(reading.value or 0.0)} free at {reading.source}"


def _existing(folder: Path) -> Path:
    """The folder, or its nearest existing parent before the study has started."""
    return next((each for each in (folder, *folder.parents) if each.exists()), folder)
