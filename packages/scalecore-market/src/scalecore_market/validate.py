"""From cells to a table, or to one error that names file, column and first bad row."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from datetime import datetime, time
from typing import TYPE_CHECKING, Any
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import numpy as np
import numpy.typing as npt

from scalecore.errors import DataError, ExperimentError
from scalecore_market.table import PRICES, Table

if TYPE_CHECKING:
    from scalecore_market.bars import Array
    from scalecore_market.options import ReadRules
    from scalecore_market.sources import Raw

__all__ = ["check_same_dates", "to_table"]

_STAMP = re.compile(r"\d{4}-\d{2}-\d{2}([ T]\d{2}:\d{2}(:\d{2}(\.\d+)?)?( ?(Z|[+-]\d{2}:?\d{2}))?)?")
_EMPTY = {"", "null", "nan", "na", "n/a", "none", "nat", "<na>"}
_TOLERANCE = 0.01
"""How far an open or close may lie outside of low and high, as a share: adjusting rounds each of them on its own."""


def to_table(raw: Raw, *, rules: ReadRules) -> Table:
    """Dates without zone and float64 columns, ascending; a file in descending order is turned round.

    Raises DataError at the first row that is not a trading day, not a number, missing, doubled, or impossible as
    prices.
    """
    if not raw.stamps:
        raise DataError(f"{raw.origin}: the file has no rows")
    dates = _dates(raw, rules=rules)
    columns = {name: _numbers(raw, name) for name in raw.columns}
    order = np.arange(len(dates))
    if (dates[1:] < dates[:-1]).sum() > (dates[1:] > dates[:-1]).sum():
        order = order[::-1]
    dates, columns = dates[order], {name: values[order] for name, values in columns.items()}
    rows = _Rows(raw, order)
    _check_dates(dates, rows=rows, rules=rules)
    _check_prices(columns, rows=rows)
    return Table(dates=dates, columns=columns)


def check_same_dates(tables: Mapping[str, Table]) -> None:
    """All tables have the same dates in the time that they share; the first table is what the others are held against.

    `tables` are keyed by what messages call them. Raises DataError naming the first date that one of them misses.
    """
    names = list(tables)
    for name in names[1:]:
        first, other = tables[names[0]], tables[name]
        start, end = max(first.first, other.first), min(first.last, other.last)
        left, right = first.between(start, end), other.between(start, end)
        missing, more = np.setdiff1d(left.dates, right.dates), np.setdiff1d(right.dates, left.dates)
        if len(missing) or len(more):
            lacking, having = (name, names[0]) if len(missing) else (names[0], name)
            day = (missing if len(missing) else more)[0]
            raise DataError(
                f"{lacking}: column Date: {day} is missing, which {having} has; from {start} to {end} {names[0]} has "
                f"{len(left)} rows and {name} has {len(right)}"
            )


class _Rows:
    """Positions after sorting, to names of rows as the user finds them."""

    def __init__(self, raw: Raw, order: npt.NDArray[np.intp]) -> None:
        self._raw, self._order = raw, order

    def error(self, column: str, row: int, text: str) -> DataError:
        return DataError(f"{self._raw.origin}: column {column}: {self._raw.row(int(self._order[row]))}: {text}")


def _dates(raw: Raw, *, rules: ReadRules) -> npt.NDArray[np.datetime64]:
    zone = None
    if rules.zone is not None:
        try:
            zone = ZoneInfo(rules.zone)
        except (ZoneInfoNotFoundError, ValueError):
            raise ExperimentError(
                f"read.zone: there is no time zone {rules.zone!r}; write it as America/New_York"
            ) from None
    days = []
    for index, stamp in enumerate(raw.stamps):
        # The usual case first: thousands of plain dates. Without hyphens numpy takes the seconds of 1970 for a year.
        plain = len(stamp) == 10 or stamp.endswith("T00:00:00")
        days.append(stamp[:10] if plain and stamp[4] == stamp[7] == "-" else _day(raw, index, zone=zone))
    try:
        return np.array(days, dtype="datetime64[D]")
    except ValueError:
        return np.array([_checked(raw, index) for index in range(len(days))], dtype="datetime64[D]")


def _checked(raw: Raw, index: int) -> str:
    try:
        return datetime.fromisoformat(raw.stamps[index][:10]).date().isoformat()
    except ValueError:
        raise _not_a_date(raw, index) from None


def _day(raw: Raw, index: int, *, zone: ZoneInfo | None) -> str:
    stamp = raw.stamps[index]
    if not _STAMP.fullmatch(stamp):
        raise _not_a_date(raw, index)
    try:
        moment = datetime.fromisoformat(stamp.replace(" +", "+").replace(" -", "-").replace(" Z", "Z"))
    except ValueError:
        raise _not_a_date(raw, index) from None
    if zone is not None and moment.tzinfo is not None:
        return moment.astimezone(zone).date().isoformat()
    if moment.time() != time():
        remedy = "write plain dates, or times with their offset"
        if moment.tzinfo is not None:
            remedy = "say in which zone the exchange is (zone: America/New_York)"
        text = f"the time is not midnight where it was written, so that the day is not certain; {remedy}"
        raise DataError(f"{raw.origin}: column Date: {raw.row(index)}: {text}")
    return moment.date().isoformat()


def _not_a_date(raw: Raw, index: int) -> DataError:
    text = raw.stamps[index]
    found = "the date is missing" if text.strip().lower() in _EMPTY else f"{text!r} is not a date such as 2001-01-22"
    return DataError(f"{raw.origin}: column Date: {raw.unit} {raw.numbers[index]}: {found}")


def _numbers(raw: Raw, name: str) -> Array:
    cells = raw.columns[name]
    try:
        values = np.array(cells, dtype=np.float64)
    except (TypeError, ValueError):
        values = np.array([_number(raw, name, row) for row in range(len(cells))], dtype=np.float64)
    bad = np.flatnonzero(~np.isfinite(values))
    if len(bad):
        row = int(bad[0])
        what = (
            "there is no number, a gap in the data"
            if np.isnan(values[row])
            else f"{values[row]} is not a price or volume"
        )
        raise DataError(f"{raw.origin}: column {name}: {raw.row(row)}: {what}{_more(bad)}")
    return values


def _number(raw: Raw, name: str, row: int) -> float:
    cell: Any = raw.columns[name][row]
    text = str(cell).strip()
    if text.lower() in _EMPTY:
        return np.nan
    try:
        return float(text)
    except ValueError:
        raise DataError(f"{raw.origin}: column {name}: {raw.row(row)}: {text!r} is text, not a number") from None


def _check_dates(dates: npt.NDArray[np.datetime64], *, rows: _Rows, rules: ReadRules) -> None:
    gaps = np.diff(dates).astype(np.int64)
    wrong = np.flatnonzero(gaps <= 0)
    if len(wrong):
        row = int(wrong[0]) + 1
        if gaps[row - 1] == 0:
            raise rows.error("Date", row, f"the date is there twice{_more(wrong)}")
        raise rows.error("Date", row, f"the date does not follow {dates[row - 1]}; sort the file by date")
    # Day 0 of the epoch is a Thursday.
    weekday = (dates.astype(np.int64) + 3) % 7
    odd = np.flatnonzero(weekday >= 5)
    if len(odd):
        row = int(odd[0])
        day = "Saturday" if weekday[row] == 5 else "Sunday"
        raise rows.error("Date", row, f"a {day} is no trading day{_more(odd)}; are the times in the wrong zone?")
    far = np.flatnonzero(gaps > rules.max_gap)
    if len(far):
        row = int(far[0]) + 1
        text = f"{gaps[row - 1]} days after the row before, {dates[row - 1]}: a gap in the data{_more(far)}"
        raise rows.error("Date", row, f"{text} (max_gap: {rules.max_gap})")


def _check_prices(columns: Mapping[str, Array], *, rows: _Rows) -> None:
    for name in (*PRICES, *(["Adj Close"] if "Adj Close" in columns else [])):
        bad = np.flatnonzero(columns[name] <= 0.0)
        if len(bad):
            value = columns[name][bad[0]]
            raise rows.error(
                name, int(bad[0]), f"the price is {'zero' if value == 0.0 else f'{value:g}, below zero'}{_more(bad)}"
            )
    high, low = columns["High"], columns["Low"]
    bad = np.flatnonzero(high < low)
    if len(bad):
        row = int(bad[0])
        raise rows.error("High", row, f"high {high[row]:g} is below low {low[row]:g}{_more(bad)}")
    for name in ("Open", "Close"):
        price = columns[name]
        bad = np.flatnonzero((price > high * (1.0 + _TOLERANCE)) | (price < low * (1.0 - _TOLERANCE)))
        if len(bad):
            row = int(bad[0])
            text = f"{name.lower()} {price[row]:g} is not between low {low[row]:g} and high {high[row]:g}{_more(bad)}"
            raise rows.error(name, row, text)
    if "Volume" in columns:
        bad = np.flatnonzero(columns["Volume"] < 0.0)
        if len(bad):
            raise rows.error(
                "Volume", int(bad[0]), f"the volume is {columns['Volume'][bad[0]]:g}, below zero{_more(bad)}"
            )


def _more(bad: Sequence[Any] | npt.NDArray[Any]) -> str:
    return f"; {len(bad)} such rows" if len(bad) > 1 else ""
