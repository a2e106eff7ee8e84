"""Signs that a table holds several series, or that a clock was set back: what lies behind times that do not ascend.

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
"""Names, without case and signs, of columns that tell series apart."""
_PERHAPS = re.compile(r"id|name|code|company|fund|pair|contract|country|city|state|region|location|group|household")
"""Names that do so only where their values lie one below the other."""
_FEW = 20
_HOUR = np.timedelta64(1, "h")
_ONE_SERIES = "keep the rows of one series; studies over many series are not supported yet"


def check_order(times: npt.NDArray[np.datetime64], frame: pd.DataFrame, *, name: str, zone: str | None) -> None:
    """Where times do not ascend, refuse with the probable cause; times that are only unsorted are left to others."""
    backward = np.flatnonzero(times[1:] <= times[:-1])
    if not len(backward):
        return
    row = int(backward[0]) + 1
    clock = next(
        (column for column in frame.columns if str(column).lower() in ("time", "clock", "hour", "<time>")), None
    )
    if clock is not None and times[row] == times[row - 1] == times[row].astype("datetime64[D]"):
        raise DataError(
            f"{name}: {stamp(times[row])} is there in rows {row - 1} and {row}, and column {clock!r} seems to hold "
            "the time of day; write both into one column"
        )
    if (column := _parting_column(times, frame)) is not None:
        raise DataError(
            f"{name}: the times do not ascend in row {row} ({stamp(times[row])}): column {column!r} holds "
            f"{_values(frame[column])}, each with ascending times, so the file seems to hold several series; "
            f"{_ONE_SERIES}"
        )
    if zone is None and _set_back(times, row):
        raise DataError(
            f"{name}: {stamp(times[row])} in row {row} comes after {stamp(times[row - 1])}, as where the clock is set "
            "back at the end of daylight saving time. Name the zone of the times, such as read: {zone: Europe/Berlin}, "
            "or write them in UTC or with their offsets"
        )
    distinct, counts = np.unique(times, return_counts=True)
    if len(distinct) > 1 and counts.min() > 1 and counts.min() == counts.max():
        raise DataError(
            f"{name}: each time is there {counts[0]} times, first {stamp(times[row])} in row {row}: the file seems to "
            f"hold {counts[0]} series; {_ONE_SERIES}"
        )
    if len(backward) < len(times) // 20 and (times[row:] < times[row - 1]).sum() > 1:
        raise DataError(
            f"{name}: row {row} ({stamp(times[row])}) goes back behind row {row - 1} ({stamp(times[row - 1])}): the "
            f"file seems to hold several series, one below the other; {_ONE_SERIES}, or sort the rows by time if they "
            "are one"
        )


def check_one_series(frame: pd.DataFrame, *, name: str) -> None:
    """Refuse a table in which a column that tells series apart by its name has several values, though times ascend."""
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
                f"{name}: column {column!r} holds {_values(frame[column])}: the file seems to hold several series. "
                f"{_ONE_SERIES[0].upper()}{_ONE_SERIES[1:]}. If all rows are one series, leave that column out of the "
                "file"
            )


def blocks_note(frame: pd.DataFrame, *, name: str) -> str | None:
    """What the plan says of a column of words that lie one below the other: perhaps several series, perhaps periods."""
    for place, column in enumerate(frame.columns):
        values = frame.iloc[:, place]
        if types.is_numeric_dtype(values.dtype) or types.is_datetime64_any_dtype(values.dtype):
            continue
        found = _codes(values)
        if found is not None and int((np.diff(found) != 0).sum()) == found.max() < _FEW:
            held = f"{name}: column {column!r} holds {_values(values)}"
            return f"{held}, one below the other; all rows are taken for one series"
    return None


def _parting_column(times: npt.NDArray[np.datetime64], frame: pd.DataFrame) -> str | None:
    """A column with few values, within each of which the times ascend; of several one that is named so, or is text.

    Where but a few rows are out of order any column may differ there by chance: only names count then.
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
    """Numbers of the values [rows] in the order in which they come; None where there is one, or where they are many."""
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
    """Whether the step to `row` is an hour less than usual, where the clock of any zone was set back."""
    usual = np.median(np.diff(times).astype(np.int64)).astype("timedelta64[ns]")
    shorter = usual <= _HOUR and times[row] - times[row - 1] == usual - _HOUR
    return bool(shorter and clock_changed(times[row], forward=False))
