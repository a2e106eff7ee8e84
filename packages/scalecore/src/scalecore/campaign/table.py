"""The results of a campaign in one table: a row per study, read from its journal alone (guard G13)."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence
from typing import Any

from attrs import asdict

from scalecore.api import formatting
from scalecore.api.errors import ScalecoreError
from scalecore.api.escaping import spreadsheet_cell
from scalecore.api.files import write_text
from scalecore.api.markdown import escaped
from scalecore.api.trials import StudyEnd
from scalecore.campaign.run import CampaignIndex, StudyEntry
from scalecore.store.lock import runner_of
from scalecore.store.notes import notes_of, pending_notes
from scalecore.store.state import StudyState, read_state

SHOWN = {
    "study": "study",
    "state": "state",
    "trials": "trials",
    "value": "best",
    "interval": "95 % interval",
    "baseline": "best baseline",
    "shape": "architecture",
}


def campaign_rows(campaign: CampaignIndex) -> list[dict[str, Any]]:
    """One row per study, in order; unknown values are None."""
    return [_row(entry) for entry in campaign.studies]


def table_lines(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    """The table as text: the best result of each study and the best baseline of its data."""
    cells = [list(SHOWN.values())] + [[_cell(row, name) for name in SHOWN] for row in rows]
    return [*aligned(cells), *_reasons(rows)]


def aligned(cells: Sequence[Sequence[str]], *, right: Sequence[int] = ()) -> list[str]:
    """The rows as lines with aligned columns; columns with these indices are aligned to the right."""
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    return [
        "  ".join(
            text.rjust(width) if at in right else text.ljust(width)
            for at, (text, width) in enumerate(zip(line, widths, strict=True))
        ).rstrip()
        for line in cells
    ]


def write_tables(campaign: CampaignIndex) -> list[dict[str, Any]]:
    """Write `NAME_results.csv` and `NAME_results.md` to the campaign's folder; return their rows."""
    rows = campaign_rows(campaign)
    flat = [
        {key: value for key, value in row.items() if key not in ("values", "interval", "shape", "description", "notes")}
        | {"low": (row["interval"] or {}).get("low"), "high": (row["interval"] or {}).get("high")}
        | row["values"]
        for row in rows
    ]
    names = list(dict.fromkeys(name for row in flat for name in row))
    text = io.StringIO()
    writer = csv.DictWriter(text, fieldnames=names, lineterminator="\n")
    writer.writeheader()
    writer.writerows({name: _plain(value) for name, value in row.items()} for row in flat)
    write_text(campaign.path / f"{campaign.name}_results.csv", text.getvalue())
    lines = ["| " + " | ".join(SHOWN.values()) + " |", "|" + "---|" * len(SHOWN)]
    lines += ["| " + " | ".join(escaped(_cell(row, name)) for name in SHOWN) + " |" for row in rows]
    lines += [f"\n{escaped(text)}" for text in _reasons(rows)]
    write_text(campaign.path / f"{campaign.name}_results.md", f"# {campaign.name}\n\n" + "\n".join(lines) + "\n")
    return rows


def _reasons(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    """One line per failed study, with the reason."""
    failed = [row for row in rows if row["state"] == StudyEnd.FAILED and row["reason"]]
    return [f"{row['study']} failed: {' '.join(_without_traceback(row['reason']).split())}" for row in failed]


def _without_traceback(reason: str) -> str:
    """The reason without the traceback of a plugin, which the study's output and the full tables contain."""
    return reason.partition("\nTraceback (most recent call last):")[0]


def _plain(value: Any) -> Any:
    return spreadsheet_cell(value) if isinstance(value, str) else value


def _row(entry: StudyEntry) -> dict[str, Any]:
    begun = entry.folder.journal.exists()
    pending = pending_notes(entry.folder)
    state = _read(entry)
    records = state.records
    best = next(iter(state.ranked), None)
    baseline = state.plan.data.best_baseline if state.plan else None
    metric = state.experiment["objective"]["metric"] if state.experiment else None
    interval = best.best.interval(metric) if best and best.best and metric else None
    return {
        "study": entry.label,
        "values": dict(entry.values),
        "state": _state(entry, state, begun=begun),
        "reason": entry.problem.reason if entry.problem else state.end_reason,
        "finished": len(state.counted),
        "total": state.total or None,
        "metric": metric,
        "trial": best.number if best else None,
        "value": best.value if best else None,
        "interval": interval.plain() if interval is not None else None,
        "num_parameters": best.architecture.num_parameters if best else None,
        "architecture": " ".join(f"{key}={value}" for key, value in best.architecture.values.items()) if best else None,
        "shape": formatting.shape(best.architecture) if best else None,
        # A baseline has only a validation loss, so it is shown only with that metric.
        "baseline": baseline.loss if baseline and metric == "val_loss" else None,
        "baseline_name": baseline.name if baseline and metric == "val_loss" else None,
        "train_seconds": sum(record.duration or 0.0 for record in records) if begun else None,
        "description": state.experiment.get("description"),
        "notes": [asdict(note) for note in notes_of(state, pending)],
    }


def _read(entry: StudyEntry) -> StudyState:
    """The study's state; empty before its first run, and if it failed and its journal is unreadable."""
    try:
        return read_state(entry.folder.journal)
    except ScalecoreError:
        if not entry.problem:
            raise
        return StudyState()


def _state(entry: StudyEntry, state: StudyState, *, begun: bool) -> str:
    if runner_of(entry.folder) is not None:
        return "running"
    if entry.problem:
        return str(StudyEnd.FAILED)
    if not begun:
        return "not begun"
    return str(state.end) if state.end is not None else "interrupted"


def _cell(row: Mapping[str, Any], name: str) -> str:
    match name:
        case "trials":
            return "-" if row["total"] is None else f"{row['finished']}/{row['total']}"
        case "value":
            return "-" if row["value"] is None else f"{formatting.number(row['value'])} #{row['trial']}"
        case "interval":
            return formatting.interval(row["interval"], like=row["value"]).strip(" ()") or "-"
        case "baseline":
            return "-" if row["baseline"] is None else f"{formatting.number(row['baseline'])} {row['baseline_name']}"
    return str(row[name]) if row[name] is not None else "-"
