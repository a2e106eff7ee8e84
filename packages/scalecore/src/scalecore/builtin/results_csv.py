"""Logger `csv`: one table of results across studies, one row per finished trial."""

from __future__ import annotations

import csv
import io
from collections import Counter
from collections.abc import Iterator, Mapping
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
KEY = ("experiment", "trial", "hash", "timestamp")
"""What a row is found by: nothing of it changes where the study's folder is moved, renamed or copied."""


class CsvLogger(Logger):
    """Rows are found by name, trial, hash and time: a resumed study adds what is missing and nothing twice.

    The table is brought up to date every few seconds and at the end of a run: it is shared, and so written whole.

    Dimensions of the model become columns; a study of another family adds its own. An empty cell is a missing value.
    """

    def __init__(self, options: CsvOptions, context: LoggerContext) -> None:
        self._path = options.path or context.folder.parent / "experiment_results.csv"
        self._lock = FileLock(self._path.with_name(f".{self._path.name}.lock"))
        self._new: list[dict[str, str]] = []
        """Rows that are not in the table yet."""
        self._rewriting = Rewriting(self._add)

    def study_started(self, study: StudyView) -> None:
        self._new = [_row(study, record) for record in study.trials]
        self._rewriting.changed(all_of_it=True)

    def trial_finished(self, record: TrialRecord, study: StudyView) -> None:
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
            # A row that names no trial is of something else than a study, and stays as it is.
            rows: dict[Any, dict[str, str]] = {_key(row) or number: row for number, row in enumerate(before)}
            for row in self._new:
                key = _key(row)
                # An older row of the same trial keeps its place and the columns of others.
                rows[key] = {**rows.get(key, {}), **row}
            if list(rows.values()) != before:
                _write(self._path, list(rows.values()))
        self._new = []


def differences(path: Path, study: StudyView) -> Iterator[str]:
    """What the table does not hold as the study gives it, in words. Where the study lay when it ran is no matter."""
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
        elif any(found[key].get(name, "") != text for name, text in expected.items() if name != "study"):
            yield f"{path.name} has another row of trial {record.number}"


def _row(study: StudyView, record: TrialRecord) -> dict[str, str]:
    data = study.plan.data
    temperature = record.hardware.quantities.get("temperature")
    row = {
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
    }
    cells = {name: spreadsheet_cell(value) if isinstance(value, str) else value for name, value in row.items()}
    return {name: "" if value is None else str(value) for name, value in cells.items()}


def _key(row: Mapping[str, str]) -> tuple[str, ...] | None:
    """What a row is found by, None where it does not say. A trial that never ran has no time: then by its folder."""
    names = KEY if row.get("timestamp") else (*KEY[:-1], "study")
    key = tuple(row.get(column) or "" for column in names)
    return key if all(key) else None


def _read(path: Path) -> list[dict[str, str]]:
    try:
        with path.open(newline="", encoding="utf-8") as stream:
            return list(csv.DictReader(stream))
    except FileNotFoundError:
        return []


def _write(path: Path, rows: list[dict[str, str]]) -> None:
    middle = [name for row in rows for name in row if name not in FIRST and name not in LAST]
    text = io.StringIO(newline="")
    writer = csv.DictWriter(text, [*FIRST, *dict.fromkeys(middle), *LAST], restval="", lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    write_text(path, text.getvalue(), durable=False)
