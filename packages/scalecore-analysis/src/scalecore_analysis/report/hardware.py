"""Hardware during trials: temperature and memory, predicted against measured peak memory, pauses."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from pathlib import Path

from scalecore.api.studies import NO_MONITOR, StudyFolder, hardware_rows, hardware_table
from scalecore_analysis.report.section import Row, Section, Subject, finite
from scalecore_analysis.vega import UNSEEN, Point, Series, Spec, figure

__all__ = ["hardware"]

POINTS = 2000
"""Maximum points of a figure; a longer history shows the largest reading of each interval, which preserves peaks."""
GB = 1e9
SHOWN = {"temperature": ("temperature", 1.0, "°C")} | dict.fromkeys(
    ("memory_used", "process_memory", "swap_used", "gpu_memory_used"), ("memory", GB, "GB")
)
"""Drawn columns of `hardware.csv`: figure, divisor, unit."""

FAMILIAR = (
    *("timestamp", "memory_percent", "memory_available", "memory_limit", "memory_pressure", "swap_in", "disk_free"),
    *("cpu", "cpu_percent", "cpu_frequency", "cpu_frequency_mhz", "load_1min", "thermal_pressure"),
    *("gpu", "gpu_percent", "power"),
)
"""Columns that are not drawn: each trial's record summarises them."""


def hardware(subject: Subject) -> Section:
    """Hardware readings from the records and, if it exists, from `hardware.csv`."""
    trials = subject.study.trials
    readings = hardware_rows(subject.study)
    seconds = [finite(t.timings.paused_seconds) for t in trials]
    counts = [t.hardware.pauses.count for t in trials if t.hardware.pauses is not None]
    known = [one for one in counts if one is not None]
    pauses: Row = {
        "pauses": sum(known) if known else None,
        "trials paused": sum(one > 0 for one in known) if known else None,
        "paused minutes": sum(one for one in seconds if one is not None) / 60
        if any(s is not None for s in seconds)
        else None,
        "resumptions": sum(trial.resumptions for trial in trials),
        "attempts": sum(len(trial.attempts) for trial in trials),
    }
    memory = _memory(subject)
    history = _history(StudyFolder(subject.study.folder).hardware)
    text = [] if readings else [f"{NO_MONITOR.capitalize()}."]
    text += [f"hardware.csv contains {len(history)} rows of readings."] if history else ["There is no hardware.csv."]
    figures: dict[str, Spec] = {}
    for title in ("temperature", "memory"):
        series = {name: unit for name, (group, _, unit) in SHOWN.items() if group == title}
        present = [name for name in series if any(_number(row.get(name)) is not None for row in history)]
        if present:
            figures[f"{title.capitalize()} over time"] = _over_time(history, present)
    for name in _others(history):
        figures[f"{name.replace('_', ' ').capitalize()} over time"] = _over_time(history, [name])
    tables: dict[str, Sequence[Row]] = {"Readings while trials ran": hardware_table(readings)} if readings else {}
    tables |= {"Pauses and resumptions": [pauses], **({"Peak memory": [memory]} if memory else {})}
    data = {"readings": readings, "pauses": pauses, "memory": memory, "rows of hardware.csv": len(history)}
    return Section(title="Hardware", text=text, tables=tables, figures=figures, data=data)


def _memory(subject: Subject) -> Row | None:
    """Predicted against measured peaks, over trials with both."""
    pairs = [(finite(t.memory.predicted), finite(t.memory.measured)) for t in subject.study.trials]
    both = [(predicted, measured) for predicted, measured in pairs if predicted is not None and measured]
    if not both:
        return None
    ratios = sorted(predicted / measured for predicted, measured in both)
    return {
        "trials": len(both),
        "largest predicted, GB": max(predicted for predicted, _ in both) / GB,
        "largest measured, GB": max(measured for _, measured in both) / GB,
        "predicted / measured, lowest": ratios[0],
        "highest": ratios[-1],
    }


def _history(path: Path) -> list[dict[str, str]]:
    """Rows of `hardware.csv`; empty if the file is missing or unreadable."""
    try:
        with path.open(newline="", encoding="utf-8", errors="replace") as stream:
            return [row for row in csv.DictReader(stream) if row.get("timestamp")]
    except (OSError, csv.Error):
        return []


def _others(history: Sequence[dict[str, str]]) -> list[str]:
    """Columns of quantities that only a monitor plugin defines."""
    names = dict.fromkeys(name for row in history for name in row if name and not name.endswith("_sensors"))
    return [
        name
        for name in names
        if name not in (*SHOWN, *FAMILIAR) and any(_number(row.get(name)) is not None for row in history)
    ]


def _number(text: str | None) -> float | None:
    """The number in a cell, or None."""
    try:
        return finite(float(text)) if text else None
    except ValueError:
        return None


def _unit(history: Sequence[dict[str, str]], name: str) -> str:
    """The unit of a column if its rows name one, else the column's name."""
    found = [text for row in history for text in (row.get("units") or "").split("; ") if text.startswith(f"{name}: ")]
    return found[-1].removeprefix(f"{name}: ") if found else name


def _over_time(history: Sequence[dict[str, str]], names: Sequence[str]) -> Spec:
    width = -(-len(history) // POINTS)
    pieces = [history[at : at + width] for at in range(0, len(history), width)]
    series = []
    for name in names:
        points = []
        for piece in pieces:
            values = [value for row in piece if (value := _number(row.get(name))) is not None]
            highest = max(values) / (SHOWN[name][1] if name in SHOWN else 1.0) if values else None
            points.append(Point(x=piece[0]["timestamp"], y=highest, text=piece[0]["timestamp"]))
        series.append(Series(name=name.replace("_", " "), points=points, marks=["line", "point"], style=UNSEEN))
    unit = SHOWN[names[0]][2] if names[0] in SHOWN else _unit(history, names[0])
    return figure(*series, x="time, UTC", y=unit, scale="utc")
