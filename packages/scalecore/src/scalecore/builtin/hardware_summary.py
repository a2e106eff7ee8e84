"""Hardware readings during the trials of a study, summarised from their records."""

from __future__ import annotations

from typing import Any

from scalecore.api import formatting
from scalecore.api.trials import StudyView

BYTES = ("memory", "disk_free", "swap_used", "gpu_memory")
"""Quantities in bytes that version 0.1 wrote without a unit."""
NO_MONITOR = "no hardware monitor was active: nothing was watched"


def hardware_rows(study: StudyView) -> dict[str, Any]:
    """For each quantity the minimum, mean and maximum of the readings of all trials, or why there are none.

    The mean is over readings, not over trials.
    """
    rows: dict[str, Any] = {}
    for record in study.trials:
        for quantity, found in record.hardware.quantities.items():
            row = rows.setdefault(quantity, {"min": None, "mean": None, "max": None, "samples": 0, "unavailable": None})
            if found.mean is None or found.min is None or found.max is None or not found.samples:
                row["unavailable"] = found.unavailable
                continue
            total = row["samples"] + found.samples
            row["mean"] = ((row["mean"] or 0.0) * row["samples"] + found.mean * found.samples) / total
            row["min"] = found.min if row["min"] is None else min(row["min"], found.min)
            row["max"] = found.max if row["max"] is None else max(row["max"], found.max)
            row["samples"] = total
            if found.unit is not None:  # version 0.1 did not keep it
                row["unit"] = found.unit
            if found.missed:
                row["unavailable"] = found.last_reason
    return rows


def hardware_table(rows: dict[str, Any]) -> list[dict[str, Any]]:
    """Rows to display: a quantity without any reading is `unavailable`, with the reason."""
    table = []
    for quantity, row in sorted(rows.items()):
        unit = row.get("unit", "")
        shown = {name: _text(quantity, row[name], unit=unit) for name in ("min", "mean", "max")}
        note = row["unavailable"] or ""
        if row["samples"] == 0:
            note = f"unavailable ({row['unavailable']})"
        elif row["unavailable"]:
            note = f"at times unavailable ({row['unavailable']})"
        named = quantity if unit in ("", "B") else f"{quantity}, {unit}"
        table.append({"reading": named, **shown, "note": note})
    return table


def _text(quantity: str, value: float | None, *, unit: str) -> str | float | None:
    if value is None:
        return None
    in_bytes = unit == "B" or (not unit and any(part in quantity for part in BYTES) and quantity != "memory_pressure")
    return formatting.size(int(value)) if in_bytes else value
