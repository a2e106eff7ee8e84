"""Logger `csv`: one table of results across studies, one row per finished trial."""

from __future__ import annotations

import csv
import io
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from filelock import FileLock

from scalecore.api.escaping import spreadsheet_cell
from scalecore.api.files import write_text
from scalecore.api.logger import Logger, LoggerContext
from scalecore.api.trials import Progress, StudyView, TrialRecord
from scalecore.builtin.options import CsvOptions
from scalecore.builtin.rewrite_schedule import Rewriting

FIRST = ("timestamp", "experiment", "study", "budget", "horizon", "trial", "status", "value", "metric", "duration")
LAST = ("param_count", "data_checksum", "thermal_max", "hash", "reason")
ADDED = ("target", "threshold", "tier", "auc")
"""Columns after those of version 0.1; the hyper-parameters follow."""
KEY = ("experiment", "trial", "hash", "timestamp")
"""Columns that identify a row; they do not change when the study's folder is moved, renamed or copied."""


class CsvLogger(Logger):
    """Writes one row per trial; a resumed study adds missing rows and no row twice.

    The table is shared by studies and therefore rewritten as a whole, every few seconds and at the end of a run.

    Dimensions of the model and hyper-parameters become columns; studies with others add theirs. Missing values are
    empty cells.
    """

    def __init__(self, options: CsvOptions, context: LoggerContext) -> None:
        self._path = options.path or context.folder.parent / "experiment_results.csv"
        self._lock = FileLock(self._path.with_name(f".{self._path.name}.lock"))
        self._new: list[dict[str, str]] = []
        """Rows not yet in the table."""
        self._rewriting = Rewriting(self._add)

    def study_started(self, study: StudyView) -> None:
        self._new = [_row(study, record) for record in study.trials]
        self._rewriting.changed(all_of_it=True)

    def trial_finished(self, record: TrialRecord, study: StudyView) -> None:
        if record.retrained:  # the table is that of the search
            return
        self._new.append(_row(study, record))
        self._rewriting.changed()

    def progress(self, progress: Progress) -> None:
        self._rewriting.look()

    def take_remarks(self) -> list[tuple[str, str]]:
        return self._rewriting.take_remarks()

    def study_finished(self, study: StudyView) -> None:
        self._rewriting.finish()

    def _add(self) -> None:
        self._path.parent.mkdir(parents=True, exist_ok=True)
        with self._lock:
            before = _read(self._path)
            # A row that names no trial does not come from a study and is kept unchanged.
            rows: dict[Any, dict[str, str]] = {_key(row) or number: row for number, row in enumerate(before)}
            for row in self._new:
                key = _key(row)
                # An older row of the same trial keeps its place and its additional columns.
                rows[key] = {**rows.get(key, {}), **row}
            if list(rows.values()) != before:
                _write(self._path, list(rows.values()), columns=_columns([*before[:1], *self._new]))
        self._new = []


def differences(path: Path, study: StudyView) -> Iterator[str]:
    """Describe rows of the table that differ from the study; the folder of the study at that time is ignored."""
    rows = _read(path)
    by_key = Counter(_key(row) for row in rows)
    found = {_key(row): row for row in rows}
    expected_rows = [(record, _row(study, record)) for record in study.trials]
    if expected_rows and not any(by_key[_key(row)] for _, row in expected_rows):
        yield f"{path.name} has no rows of {study.folder}"
        return
    for record, expected in expected_rows:
        key = _key(expected)
        if by_key[key] != 1:
            yield f"{path.name} has {by_key[key]} rows of trial {record.number}"
        elif any(found[key].get(name, "") != expected[name] for name in _compared(expected, found[key])):
            yield f"{path.name} has another row of trial {record.number}"


def _compared(expected: Mapping[str, str], found: Mapping[str, str]) -> list[str]:
    """The columns to compare; an earlier version wrote a row without a target, and no column after `reason`."""
    names = [name for name in expected if name != "study"]
    return names if found.get(ADDED[0]) else names[: names.index(LAST[-1]) + 1]


def _row(study: StudyView, record: TrialRecord) -> dict[str, str]:
    """The cells of a trial by column, in the order of the columns."""
    data = study.plan.data
    temperature = record.hardware.quantities.get("temperature")
    row: dict[str, object] = {
        "timestamp": record.ended,
        "experiment": study.name,
        "study": str(study.folder),
        "budget": study.budget,
        "horizon": data.target.horizon,
        "trial": record.number,
        "status": record.state,
        "value": record.value,
        "metric": study.metric,
        "duration": record.duration,
        **record.architecture.values,
        "param_count": record.architecture.num_parameters,
        "data_checksum": data.fingerprint,
        "thermal_max": temperature.max if temperature else None,
        "hash": record.hash,
        "reason": record.reason,
        "target": data.target.text,
        "threshold": data.target.threshold,
        "tier": data.details.get("tier"),
        "auc": None if record.best is None else record.best.metrics.get("auc"),
    }
    for name, value in record.hyperparameters.items():
        row[f"hyperparameters.{name}" if name in row else name] = value
    cells = {name: spreadsheet_cell(value) if isinstance(value, str) else value for name, value in row.items()}
    return {name: "" if value is None else str(value) for name, value in cells.items()}


def _key(row: Mapping[str, str]) -> tuple[str, ...] | None:
    """The key of a row, None if incomplete. A trial that never ran has no time; its folder is used instead."""
    names = KEY if row.get("timestamp") else (*KEY[:-1], "study")
    key = tuple(row.get(column) or "" for column in names)
    return key if all(key) else None


def _read(path: Path) -> list[dict[str, str]]:
    try:
        with path.open(newline="", encoding="utf-8") as stream:
            return list(csv.DictReader(stream))
    except FileNotFoundError:
        return []


def _columns(rows: Iterable[Mapping[str, str]]) -> list[str]:
    """All columns: dimensions, and those of rows that come from no study, are before `LAST`, hyper-parameters after
    `ADDED`."""
    before: dict[str, None] = {}
    after: dict[str, None] = {}
    for row in rows:
        names = list(row)
        end = names.index(LAST[-1]) if LAST[-1] in row else len(names)
        before |= dict.fromkeys(names[:end])
        after |= dict.fromkeys(names[end:])
    fixed = (*FIRST, *LAST, *ADDED)
    middle = [name for name in before if name not in fixed]
    return [*FIRST, *middle, *LAST, *ADDED, *(name for name in after if name not in fixed and name not in before)]


def _write(path: Path, rows: list[dict[str, str]], *, columns: list[str]) -> None:
    text = io.StringIO(newline="")
    writer = csv.DictWriter(text, columns, restval="", lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    write_text(path, text.getvalue(), durable=False)
