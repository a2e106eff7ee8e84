"""Writes `hardware.csv`: readings of the monitors at a slow rate, for people and plots, one column per quantity."""

from __future__ import annotations

import csv
import io
import os
from collections.abc import Mapping, Sequence
from pathlib import Path

from scalecore.api.escaping import spreadsheet_cell
from scalecore.api.files import detach, utc_now, write_text
from scalecore.api.readings import Reading

OWN = ("timestamp", "memory_percent", "units", "unavailable")
"""Columns that are not quantities; a quantity with one of these names gets its unit appended."""


def append_readings(path: Path, readings: Sequence[Reading]) -> None:
    """Append one row: the largest reading of each quantity, plus all readings of quantities with several sensors.

    An empty cell means no number; `unavailable` has the reason if a sensor was read. New quantities, for example from
    other monitors when a study is resumed, get new columns at the end.
    """
    row = _row(readings)
    columns = _columns_of(path)
    if not columns or any(name not in columns for name in row) or not _ends_whole(path):
        columns = _with_columns(path, list(dict.fromkeys([*columns, *row])))
    detach(path)
    with path.open("a", newline="", encoding="utf-8") as stream:
        csv.DictWriter(stream, columns, restval="").writerow(row)


def _row(readings: Sequence[Reading]) -> dict[str, str]:
    groups: dict[str, list[Reading]] = {}
    for reading in readings:
        groups.setdefault(_column(reading, readings), []).append(reading)
    values = {"timestamp": utc_now(), "memory_percent": _memory_percent(readings)}
    sensors, units, missing = {}, [], []
    for name, group in groups.items():
        known = [(one.sensor, one.value) for one in group if one.value is not None]
        values[name] = _plain(max(value for _, value in known)) if known else ""
        if name == "temperature" or len({one.sensor for one in group}) > 1:
            sensors[f"{name}_sensors"] = ";".join(f"{_escaped(sensor)}={_plain(value)}" for sensor, value in known)
        units += sorted({f"{name}: {one.unit}" for one in group if one.unit})
        several = len({one.sensor for one in group}) > 1
        missing += [
            f"{name}{f' of {one.sensor}' if several else ''}: {one.reason}" for one in group if one.value is None
        ]
    texts = {**sensors, "units": "; ".join(units), "unavailable": "; ".join(sorted(set(missing)))}
    return values | {name: spreadsheet_cell(text) for name, text in texts.items()}


def _column(reading: Reading, readings: Sequence[Reading]) -> str:
    """The quantity, with its unit if units differ between readings or the name is taken."""
    units = {one.unit for one in readings if one.quantity == reading.quantity and one.value is not None}
    taken = reading.quantity in OWN or reading.quantity.endswith("_sensors")
    if taken or (len(units) > 1 and reading.value is not None):
        return f"{reading.quantity} ({reading.unit or 'reading'})"
    return reading.quantity


def _plain(value: float) -> str:
    return f"{value:.10g}"


def _escaped(text: str) -> str:
    """Escape a sensor's name for a cell that lists several as `name=value;name=value`."""
    for character in "\\;=":
        text = text.replace(character, f"\\{character}")
    return text


def _memory_percent(readings: Sequence[Reading]) -> str:
    by_name = {one.quantity: one.value for one in readings if one.value is not None}
    used, available = by_name.get("memory_used"), by_name.get("memory_available")
    return "" if used is None or available is None else f"{100 * used / max(1.0, used + available):.1f}"


def _columns_of(path: Path) -> list[str]:
    """Read the names in the first line; empty if there is no file."""
    try:
        with path.open(newline="", encoding="utf-8", errors="replace") as stream:
            return next(csv.reader(stream), [])
    except FileNotFoundError:
        return []


def _ends_whole(path: Path) -> bool:
    """Whether the last row is complete."""
    with path.open("rb") as stream:
        stream.seek(max(0, stream.seek(0, os.SEEK_END) - 1))
        return stream.read() in (b"\n", b"")


def _with_columns(path: Path, columns: list[str]) -> list[str]:
    """Rewrite the file with these columns, keeping the values of old rows."""
    rows: list[Mapping[str, str]] = []
    if path.exists():
        with path.open(newline="", encoding="utf-8", errors="replace") as stream:
            # An incomplete row is shorter than the header.
            rows = [{k: v for k, v in row.items() if k is not None and v is not None} for row in csv.DictReader(stream)]
    text = io.StringIO(newline="")
    writer = csv.DictWriter(text, columns, restval="")
    writer.writeheader()
    writer.writerows(rows)
    write_text(path, text.getvalue(), durable=False)
    return columns
