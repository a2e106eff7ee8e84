"""Detects why times do not ascend: a table with several series, or a clock that was set back.

This module imports pandas: import it inside the function that reads.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import pandas as pd
from pandas.api import types

from scalecore.api.errors import DataError
from scalecore.data.dates import clock_changed, stamp

if TYPE_CHECKING:
    from collections.abc import Sequence

_SERIES = re.compile(
    r".*(symbol|ticker).*|tic|sym|isin|cusip|figi|ric|permno|gvkey|secid|uniqueid|series|entity|coin|"
    r"(series|instrument|asset|security|stock|item|station|sensor|device|meter|store|customer|user|product|machine|turbine|"
    r"building|site)(id|name|code)?"
)
"""Lower-case names, without punctuation, of columns that identify series."""
_PERHAPS = re.compile(r"id|name|code|company|fund|pair|contract|country|city|state|region|location|group|household")
"""Names that identify series only if equal values are contiguous."""
_FEW = 20
_HOUR = np.timedelta64(1, "h")
_ONE_SERIES = "keep the rows of one series; studies over many series are not supported yet"


def check_order(times: npt.NDArray[np.datetime64], frame: pd.DataFrame, *, name: str, zone: str | None) -> None:
    """Refuse times that do not ascend, naming the probable cause; merely unsorted times are checked elsewhere."""
    backward = np.flatnonzero(times[1:] <= times[:-1])
    if not len(backward):
        return
    row = int(backward[0]) + 1
    clock = next(
        (column for column in frame.columns if str(column).lower() in ("time", "clock", "hour", "<time>")), None
    )
    if clock is not None and times[row] == times[row - 1] == times[row].astype("datetime64[D]"):
        raise DataError(
            f"{name}: rows {row - 1} and {row} both have the time {stamp(times[row])}, and column {clock!r} seems to "
            "contain the time of day; combine date and time in one column"
        )
    if (column := _parting_column(times, frame)) is not None:
        raise DataError(
            f"{name}: the times do not ascend in row {row} ({stamp(times[row])}): column {column!r} has "
            f"{_values(frame[column])}, each with ascending times, so the file seems to contain several series; "
            f"{_ONE_SERIES}"
        )
    if zone is None and _set_back(times, row):
        raise DataError(
            f"{name}: {stamp(times[row])} in row {row} follows {stamp(times[row - 1])}, as happens when the clock is "
            "set back at the end of daylight saving time. Set the time zone, such as read: {zone: Europe/Berlin}, "
            "or write the times in UTC or with their offsets"
        )
    distinct, counts = np.unique(times, return_counts=True)
    if len(distinct) > 1 and counts.min() > 1 and counts.min() == counts.max():
        raise DataError(
            f"{name}: each time occurs {counts[0]} times, first {stamp(times[row])} in row {row}: the file seems to "
            f"contain {counts[0]} series; {_ONE_SERIES}"
        )
    if len(backward) < len(times) // 20 and (times[row:] < times[row - 1]).sum() > 1:
        raise DataError(
            f"{name}: row {row} ({stamp(times[row])}) is earlier than row {row - 1} ({stamp(times[row - 1])}): the "
            f"file seems to contain several series, one after the other; {_ONE_SERIES}, or sort the rows by time if "
            "they are one series"
        )


def check_one_series(frame: pd.DataFrame, *, name: str) -> None:
    """Refuse a table with ascending times in which a column whose name identifies series has several values."""
    for column in frame.columns:
        key = re.sub(r"[^a-z]", "", str(column).lower())
        certain = _SERIES.fullmatch(key) is not None
        if not certain and not _PERHAPS.fullmatch(key):
            continue
        found = _codes(frame[column])
        if found is None:
            continue
        changes, is_text = int((np.diff(found) != 0).sum()), not types.is_numeric_dtype(frame[column].dtype)
        blocks = changes == found.max()
        if blocks or (certain and is_text):
            raise DataError(
                f"{name}: column {column!r} has {_values(frame[column])}: the file seems to contain several series. "
                f"{_ONE_SERIES[0].upper()}{_ONE_SERIES[1:]}. If all rows are one series, remove that column from the "
                "file"
            )


def blocks_note(frame: pd.DataFrame, *, name: str) -> str | None:
    """A note for the plan about a text column with contiguous values: perhaps several series, perhaps periods."""
    for place, column in enumerate(frame.columns):
        values = frame.iloc[:, place]
        if types.is_numeric_dtype(values.dtype) or types.is_datetime64_any_dtype(values.dtype):
            continue
        found = _codes(values)
        if found is not None and int((np.diff(found) != 0).sum()) == found.max() < _FEW:
            held = f"{name}: column {column!r} has {_values(values)}"
            return f"{held}, one after the other; all rows are treated as one series"
    return None


def _parting_column(times: npt.NDArray[np.datetime64], frame: pd.DataFrame) -> str | None:
    """A column with few values within each of which the times ascend, preferably with a typical name, or text.

    If only a few rows are out of order, any column may differ there by chance, so that only names count.
    """
    displaced = float((times[1:] <= np.maximum.accumulate(times)[:-1]).mean())
    fitting = []
    for place, column in enumerate(frame.columns):
        if types.is_float_dtype(frame.iloc[:, place].dtype):
            continue
        found = _codes(frame.iloc[:, place])
        if found is None:
            continue
        order = np.argsort(found, kind="stable")
        same = found[order][1:] == found[order][:-1]
        if (times[order][1:] > times[order][:-1])[same].all():
            key = re.sub(r"[^a-z]", "", str(column).lower())
            named = 0 if _SERIES.fullmatch(key) else 1 if _PERHAPS.fullmatch(key) else 2
            number = types.is_numeric_dtype(frame.iloc[:, place].dtype)
            if named == 2 and displaced < 0.02:
                continue
            fitting.append((named, number, int(found.max()), place))
    return frame.columns[min(fitting)[3]] if fitting else None


def _codes(values: Any) -> npt.NDArray[np.int64] | None:
    """Codes of the values [rows] in order of appearance; None if there is one value or too many."""
    if isinstance(values, pd.DataFrame):  # two columns of one name
        return None
    try:
        found, known = pd.factorize(values, use_na_sentinel=False)
    except TypeError:  # lists and the like
        return None
    return np.asarray(found) if 2 <= len(known) <= len(found) // 2 else None


def _values(values: Any) -> str:
    known: Sequence[Any] = list(pd.unique(values))
    listed = ", ".join(map(str, known[:5])) + (" ..." if len(known) > 5 else "")
    return f"{len(known)} values ({listed})"


def _set_back(times: npt.NDArray[np.datetime64], row: int) -> bool:
    """Whether the step to `row` is an hour shorter than usual when the clock of some zone was set back."""
    usual = np.median(np.diff(times).astype(np.int64)).astype("timedelta64[ns]")
    shorter = usual <= _HOUR and times[row] - times[row - 1] == usual - _HOUR
    return bool(shorter and clock_changed(times[row], forward=False))
