"""`hardware.csv`: the readings of the monitors at a slow rate, for people and their plots."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from pathlib import Path

from scalecore.files import utc_now
from scalecore.readings import Reading

__all__ = ["CSV_COLUMNS", "append_readings"]


def _plain(value: float) -> str:
    return f"{value:.10g}"


COLUMNS = {
    "cpu_percent": "cpu",
    "cpu_frequency_mhz": "cpu_frequency",
    "load_1min": "load",
    "memory_used": "memory_used",
    "memory_available": "memory_available",
    "process_memory": "process_memory",
    "swap_used": "swap_used",
    "swap_in": "swap_in",
    "memory_pressure": "memory_pressure",
    "disk_free": "disk_free",
    "temperature": "temperature",
    "thermal_pressure": "thermal_pressure",
    "gpu_percent": "gpu",
    "gpu_memory_used": "gpu_memory_used",
    "power": "power",
}
"""The quantity of each column, of which it holds the largest reading."""
CSV_COLUMNS = ("timestamp", "memory_percent", *COLUMNS, "temperature_sensors", "unavailable")


def append_readings(path: Path, readings: Sequence[Reading]) -> None:
    """Append one row, the largest of each quantity over its sensors; bytes, °C, percent, W as in the readings.

    An empty cell has no number; `unavailable` says why, where a sensor was asked. A file of an older version keeps its
    own columns.
    """
    row = {"timestamp": utc_now()}
    for name, quantity in COLUMNS.items():
        values = [one.value for one in readings if one.quantity == quantity and one.value is not None]
        row[name] = _plain(max(values)) if values else ""
    row["memory_percent"] = _memory_percent(readings)
    known = [one for one in readings if one.quantity == "temperature" and one.value is not None]
    row["temperature_sensors"] = ";".join(f"{one.source}={_plain(one.value or 0.0)}" for one in known)
    missing = sorted({f"{one.quantity}: {one.reason}" for one in readings if one.value is None})
    row["unavailable"] = "; ".join(missing)
    columns = _columns_of(path)
    with path.open("a", newline="", encoding="utf-8") as stream:
        writer = csv.DictWriter(stream, columns or CSV_COLUMNS, restval="", extrasaction="ignore")
        if columns is None:
            writer.writeheader()
        writer.writerow(row)


def _memory_percent(readings: Sequence[Reading]) -> str:
    by_name = {one.quantity: one.value for one in readings if one.value is not None}
    used, available = by_name.get("memory_used"), by_name.get("memory_available")
    return "" if used is None or available is None else f"{100 * used / max(1.0, used + available):.1f}"


def _columns_of(path: Path) -> list[str] | None:
    try:
        with path.open(newline="", encoding="utf-8") as stream:
            return next(csv.reader(stream), None)
    except FileNotFoundError:
        return None
