"""Read CSV tables of trials, and return each row in the form of a trial in JSON.

Supports the table of the logger `csv`, Optuna's `trials_dataframe()` written by pandas, and tables with one column per
parameter.
"""

from __future__ import annotations

import csv
import io
import json
import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

RENAMED = {
    "trial": "number",
    "trial_number": "number",
    "trial_id": "number",
    "status": "state",
}
OWN = frozenset({"number", "state", "value", "hash", "seed", "reason"})
"""Columns that are keys of a trial."""
CLAIMS: Mapping[str, tuple[str, ...]] = {
    "budget": ("budget", "param_budget", "parameter_budget"),
    "tier": ("tier", "feature_tier", "data_tier"),
    "experiment": ("experiment", "experiment_name", "study_name"),
    "horizon": ("horizon",),
}
"""Properties of a record's study that a file may contain, and their keys."""
WHOLE = frozenset({"param_count", "architecture_idx", "architecture_index"})
"""Columns whose names only look as if they had a prefix."""
PREFIXES = (
    *((f"{name}{sep}", "params") for name in ("params", "param") for sep in "_."),
    *((f"{name}{sep}", "user_attrs") for name in ("user_attrs", "user_attr", "attrs") for sep in "_."),
    *((f"architecture{sep}", "architecture") for sep in "_."),
)
MEASURED = re.compile(
    r"(^|_)(loss|auc|pr_?auc|acc|accuracy|precision|recall|f1|brier|ece|mcc|mae|mse|rmse|r2|score|metric|duration|seconds"
    r"|minutes|hours|time|timestamp|date|datetime|started?|ended?|thermal|checksum|fingerprint|study|samples|positives"
    r"|best|last|final|origin|flags|count|parameters)(_|$)",
    re.IGNORECASE,
)
"""Columns without a prefix that are results or notes, not settings of a trial."""
OF_THE_LABEL = frozenset({"target", "threshold"})
"""Columns of scalecore's table that describe the label."""
CHECKSUM = "data_checksum"
"""A column that only scalecore's table has together with `hash`."""
MISSING = frozenset({"", "nan", "none", "null", "na", "n/a"})


def read_table(path: Path) -> str | list[dict[str, Any] | str]:
    """Return each row as a trial, or the reason why it is none; or the reason why the file cannot be read."""
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, ValueError) as error:
        return f"cannot be read as CSV: {error}"
    first = text.lstrip().partition("\n")[0]
    if not first.strip():
        return "is empty"
    separator = max(",;\t|", key=first.count)
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=separator, strict=True)
    try:
        rows = [row for row in reader if any(cell.strip() for cell in row)]
    except csv.Error as error:
        return f"cannot be read as CSV: line {reader.line_num}: {error}"
    header = [RENAMED.get(name.strip().lower(), name.strip()) for name in rows[0]]
    if twice := next((name for name in header if name and header.count(name) > 1), None):
        return f"has two columns named {twice!r}"
    if "value" not in header:
        return "contains no trials: there is no column `value`"
    if len(rows) == 1:
        return "contains no trials"
    places = _places(header)
    return [
        _trial(zip(places, row, strict=True))
        if len(row) == len(header)
        else f"the row has {len(row)} cells, but the table has {len(header)} columns"
        for row in rows[1:]
    ]


def _trial(row: Iterable[tuple[tuple[str, str], str]]) -> dict[str, Any]:
    trial: dict[str, Any] = {"params": {}, "user_attrs": {}, "architecture": {}}
    for (place, name), cell in row:
        if cell.strip().lower() in MISSING:
            continue
        if not place:
            trial[name] = cell.strip()
        elif not name:
            trial[place] |= _nested(cell)
        else:
            trial[place][name] = {"true": True, "false": False}.get(cell.strip().lower(), cell.strip())
    # In scalecore's table the checksum covers data, target and split.
    if "hash" in trial and CHECKSUM in trial["user_attrs"]:
        trial["user_attrs"]["data"] = {"fingerprint": trial["user_attrs"][CHECKSUM]}
    return trial


def _places(header: Sequence[str]) -> list[tuple[str, str]]:
    """The place and name of each column in a trial; a column that contains a whole mapping has no name."""
    found = [_place(name) for name in header]
    prefixed = any(place is not None and place[0] == "params" for place in found)
    attributes = OF_THE_LABEL if {"hash", CHECKSUM} <= set(header) else frozenset()
    return [
        place or ("user_attrs" if prefixed or name in attributes or MEASURED.search(name) else "params", name)
        for place, name in zip(found, header, strict=True)
    ]


def _place(name: str) -> tuple[str, str] | None:
    """None if the name does not determine the place."""
    if name in OWN or any(name in keys for keys in CLAIMS.values()):
        return "", name
    if name in ("params", "user_attrs", "architecture"):
        return name, ""
    if name.startswith(("forced_", "system_attrs")):
        return "user_attrs", name
    for prefix, place in PREFIXES:
        if name.startswith(prefix) and name not in WHOLE:
            return place, name.removeprefix(prefix)
    return None


def _nested(cell: str) -> dict[str, Any]:
    """A mapping in one cell, in JSON or Python syntax."""
    for text in (cell, cell.replace("'", '"')):
        try:
            content = json.loads(text)
        except (ValueError, RecursionError):
            continue
        return content if isinstance(content, dict) else {}
    return {}
