"""Detects the options of the dataset `parquet` for a table by reading it.

This module imports pandas: import it inside the function that reads.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from attrs import field, frozen

from scalecore.api.dataset_options import ReadOptions
from scalecore.api.errors import DataError, ExperimentError
from scalecore.api.targets import label_target
from scalecore.builtin.parquet import numbers
from scalecore.builtin.tables import Table, read_frame, read_table
from scalecore.config.constraints import nearest
from scalecore.config.source import parse
from scalecore.data.dates import stamp

CLOSE = ("close", "adj close", "adj_close")
LABEL = ("label", "target", "class", "y")
CLASSES = 20
"""Integers with more distinct values are quantities, not classes."""


@frozen(kw_only=True)
class DetectedColumns:
    """`options` are the dataset's options for the first row and the format of the file."""

    options: Mapping[str, Any]
    features: tuple[str, ...]
    """Columns of finite numbers, without the label."""
    close: str | None
    """The column with closing prices, if any."""
    label: str
    """The given column, else one with a typical name, else the last one."""
    task: str
    rows: int
    left_out: Mapping[str, str] = field(factory=dict)
    """Columns that are not used as features, with the reason."""


def detect_columns(path: Path, *, label: str | None = None) -> DetectedColumns:
    """Read the table in the same way as the dataset. Raises `DataError` if it cannot be used.

    If the reader's message suggests other options, they are tried, and used if exactly one set of options fits.
    """
    found: list[DetectedColumns] = []
    first: DataError | None = None
    waiting: list[dict[str, Any]] = [{}]
    seen: list[dict[str, Any]] = []
    while waiting:
        options = waiting.pop(0)
        seen.append(options)
        try:
            found.append(_detected(_table(path, options), options, label=label))
        except DataError as error:
            first = first or error
            waiting += [more for more in _advised(path, options, str(error)) if more not in seen]
    if len(found) == 1:
        return found[0]
    assert first is not None
    raise first


def _table(path: Path, options: Mapping[str, Any]) -> Table:
    return read_table(path, time=options.get("time"), reading=ReadOptions(**options.get("read", {})))


def _advised(path: Path, options: Mapping[str, Any], text: str) -> Iterator[dict[str, Any]]:
    """Other options suggested by the message `text`."""
    read = options.get("read", {})
    if "no time column found" in text:
        frame, is_text = read_frame(path, reading=ReadOptions(**read))
        if is_text and not read:  # a comma in a name hides another separator from the reader
            yield from ({**options, "read": {"separator": mark}} for mark in (";", "tab", "|"))
        numeric = frame.select_dtypes("number").columns
        for name in map(str, frame.columns):
            if name not in numeric or re.search("dat[eu]|time|day|year", name, re.IGNORECASE):
                yield {**options, "time": name}
    if (hint := re.search(r"read: \{(.+?)\}(?: or '(.)')?(?:$|[ ;.,)])", text)) is None:
        return
    for content in _alternatives(hint[1], hint[2]):
        tree = parse(f"{{{content}}}", source="message")
        if tree.problems or not isinstance(tree.root, dict):
            continue
        try:
            ReadOptions(**tree.root)
        except (TypeError, ValueError):
            continue
        if not tree.root.keys() & read.keys():
            yield {**options, "read": {**read, **tree.root}}


def _alternatives(content: str, other: str | None) -> list[str]:
    """Split `date_format: '%d/%m/%Y' or '%m/%d/%Y'` and `{decimal: '.'} or ','` into two options each."""
    key, _, values = content.partition(": ")
    if key == "date_format":
        return [f"{key}: {one}" for one in re.findall(r"'[^']+'|unix\w*", values)]
    return [content] if other is None else [content, f"{key}: '{other}'"]


def _detected(table: Table, options: Mapping[str, Any], *, label: str | None) -> DetectedColumns:
    columns, left_out = {}, {}
    for name in dict.fromkeys(map(str, table.frame.columns)):
        try:
            columns[name] = numbers(table, name, role="feature")
        except DataError as error:
            if "read: {" in str(error):
                raise
            left_out[name] = "not numbers"
    if not columns:
        raise DataError(f"{table.path}: no numeric column found")
    lower = {name.lower(): name for name in reversed(columns)}
    close = next((lower[name] for name in CLOSE if name in lower and bool((columns[lower[name]] > 0).all())), None)
    column = label or next((lower[name] for name in LABEL if name in lower), [*columns][-1])
    if column not in columns:
        raise ExperimentError(f"{table.path}: there is no label column {column!r}; {nearest(column, [*columns])}")
    task = _task(table, column)
    # Features over rolling windows have no value in their first rows.
    first = 0
    for name, values in columns.items():
        bad = np.flatnonzero(~np.isfinite(values))
        if len(bad) and (bad[-1] + 1 != len(bad) or 2 * len(bad) > len(values)):
            left_out[name] = f"no number in row {bad[0]}"
        elif len(bad):
            first = max(first, len(bad))
    begin = {"start": stamp(table.times[first])} if first else {}
    return DetectedColumns(
        options={**options, **begin},
        features=tuple(name for name in columns if name not in left_out),
        close=close,
        label=column,
        task=task,
        rows=len(table.times) - first,
        left_out=left_out,
    )


def _task(table: Table, column: str) -> str:
    values = numbers(table, column, role="label column", keep_integers=True)
    try:
        target = label_target(values, column=column, horizon=1)
    except DataError as error:
        if len(np.unique(values)) <= CLASSES:
            raise DataError(f"{table.path}: {error}") from None
        return "forecast"
    return "forecast" if target.outputs > CLASSES else str(target.task)
