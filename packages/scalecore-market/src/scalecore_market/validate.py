"""Converts cells to a table, or raises one error with file, column and first bad row."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime, time
from typing import TYPE_CHECKING, Any, Literal
from zoneinfo import ZoneInfo

import attrs
import numpy as np
import numpy.typing as npt

from scalecore.api.dataset_options import UNIX
from scalecore.api.errors import DataError
from scalecore.api.table_files import date_hint, number_of
from scalecore_market.price_checks import split_hint
from scalecore_market.table import PRICES, PriceTable

if TYPE_CHECKING:
    from scalecore_market.bars import Array
    from scalecore_market.options import ReadRules
    from scalecore_market.sources import Raw

__all__ = ["different_dates", "missing_days", "to_table", "vix_table"]

RowError = Callable[[str, int, str], DataError]
"""Creates an error from a column, a row in order of time, and a text."""

_STAMP = re.compile(r"\d{4}-\d{2}-\d{2}([ T]\d{2}:\d{2}(:\d{2}(\.\d+)?)?( ?(Z|[+-]\d{2}:?\d{2}))?)?")
_EMPTY = {"", ".", "-", "null", "nan", "na", "n/a", "none", "nat", "<na>"}
_TOLERANCE = 0.01
"""Tolerance of open and close outside low and high, as a share: adjusting rounds each of them separately."""


def to_table(raw: Raw, *, rules: ReadRules) -> PriceTable:
    """Dates without a zone and float64 columns, ascending. A file in descending order is reversed.

    Raises DataError at the first row that is not a trading day, not a number, missing, duplicated, or has impossible
    prices.
    """
    if not raw.stamps:
        raise DataError(f"{raw.origin}: the file has no rows")
    dates = _dates(raw, rules=rules)
    columns = {name: _numbers(raw, name, rules=rules) for name in raw.columns}
    order = np.arange(len(dates))
    if (dates[1:] < dates[:-1]).sum() > (dates[1:] > dates[:-1]).sum():
        order = order[::-1]
    dates, columns = dates[order], {name: values[order] for name, values in columns.items()}

    def error(column: str, row: int, text: str) -> DataError:
        return raw.error(column, int(order[row]), text)

    _check_dates(dates, rules=rules, several=raw.several, error=error)
    _check_prices(columns, error=error)
    return PriceTable(dates=dates, columns=columns)


def vix_table(raw: Raw, *, rules: ReadRules) -> tuple[PriceTable, list[str]]:
    """The VIX, and notes on ignored parts of its file. Only the closes are used, so only they must be correct.

    Days without a close, which some vendors write for holidays, are skipped. The other columns are kept if valid.
    """
    closes = raw.columns["Close"]
    empty = [at for at, cell in enumerate(closes) if str(cell).strip().lower() in _EMPTY]
    notes = []
    if empty:
        count = f"{len(empty)} rows without a close are" if len(empty) > 1 else "1 row without a close is"
        notes.append(f"{raw.origin}: {count} skipped, first {raw.row(empty[0])}")
        keep = [at for at in range(len(closes)) if at not in set(empty)]
        raw = attrs.evolve(
            raw,
            numbers=[raw.numbers[at] for at in keep],
            stamps=[raw.stamps[at] for at in keep],
            columns={name: [cells[at] for at in keep] for name, cells in raw.columns.items()},
        )
    try:
        return to_table(raw, rules=rules), notes
    except DataError as error:
        table = to_table(attrs.evolve(raw, columns={"Close": raw.columns["Close"]}), rules=rules)
        return table, [*notes, f"{error}; only the closes of this file are used"]


def different_dates(tables: Mapping[str, PriceTable]) -> list[str]:
    """A line for each table whose dates differ from those of the first one in their common period.

    `tables` maps names in the lines to tables.
    """
    names, lines = list(tables), []
    for name in names[1:]:
        first, other = tables[names[0]], tables[name]
        start, end = max(first.first, other.first), min(first.last, other.last)
        left, right = first.between(start, end), other.between(start, end)
        for lacking, having, days in (
            (name, names[0], np.setdiff1d(left.dates, right.dates)),
            (names[0], name, np.setdiff1d(right.dates, left.dates)),
        ):
            if len(days):
                plural = "s" if len(days) > 1 else ""
                lines.append(f"{lacking} lacks {len(days)} date{plural} of {having}, first {days[0]}")
    return lines


def missing_days(table: PriceTable, *, rules: ReadRules) -> tuple[npt.NDArray[np.datetime64], int]:
    """The days of the calendar without a row, and its number of days. The days of `sessions` are unknown."""
    if rules.calendar == "sessions":
        return table.dates[:0], len(table)
    days = np.arange(table.dates[0], table.dates[-1] + 1)
    if rules.calendar == "business":
        days = days[np.is_busday(days)]
    return np.setdiff1d(days, table.dates), len(days)


def _dates(raw: Raw, *, rules: ReadRules) -> npt.NDArray[np.datetime64]:
    zone = None if rules.zone is None else ZoneInfo(rules.zone)
    days = []
    for index, stamp in enumerate(raw.stamps):
        # The usual case: thousands of plain dates. Without hyphens, numpy would read seconds since 1970 as a year.
        plain = rules.date_format is None and (len(stamp) == 10 or stamp.endswith("T00:00:00"))
        shaped = plain and stamp[4] == stamp[7] == "-"
        days.append(stamp[:10] if shaped else _day(raw, index, zone=zone, form=rules.date_format))
    try:
        return np.array(days, dtype="datetime64[D]")
    except ValueError:
        return np.array([_checked(raw, index) for index in range(len(days))], dtype="datetime64[D]")


def _checked(raw: Raw, index: int) -> str:
    try:
        return datetime.fromisoformat(raw.stamps[index][:10]).date().isoformat()
    except ValueError:
        raise _not_a_date(raw, index, form=None) from None


def _day(raw: Raw, index: int, *, zone: ZoneInfo | None, form: str | None) -> str:
    stamp = raw.stamps[index]
    try:
        if form is not None and form in UNIX:
            moment = datetime.fromtimestamp(float(stamp) / (1.0 if UNIX[form] == "s" else 1000.0), UTC)
        elif form is not None and not stamp.endswith("T00:00:00"):  # a parquet column of dates needs no format
            moment = datetime.strptime(stamp.removesuffix(".0"), form)
        elif _STAMP.fullmatch(stamp):
            moment = datetime.fromisoformat(stamp.replace(" +", "+").replace(" -", "-").replace(" Z", "Z"))
        else:
            raise _not_a_date(raw, index, form=form)
    except (ValueError, OverflowError):
        raise _not_a_date(raw, index, form=form) from None
    if zone is not None:
        return (moment if moment.tzinfo is None else moment.astimezone(zone)).date().isoformat()
    if moment.time() != time():
        remedy = "write plain dates, or set the time zone (zone: America/New_York)"
        if moment.tzinfo is not None:
            remedy = "set the time zone of the exchange (zone: America/New_York)"
        text = f"the time is not midnight, so the day is ambiguous; {remedy}"
        raise raw.error("Date", index, text)
    return moment.date().isoformat()


def _not_a_date(raw: Raw, index: int, *, form: str | None) -> DataError:
    text = raw.stamps[index]
    if text.strip().lower() in _EMPTY:
        found = "the date is missing"
    elif form is not None:
        found = f"{text!r} does not match date_format: {form}"
    else:
        found = f"{text!r} is not a date such as 2001-01-22{date_hint(text)}"
    return DataError(f"{raw.origin}: column Date: {raw.unit} {raw.numbers[index]}: {found}")


def _numbers(raw: Raw, name: str, *, rules: ReadRules) -> Array:
    cells = raw.columns[name]
    try:
        # Text with a decimal comma could be read as another number.
        values = np.array(cells if rules.decimal is None else [*map(_not_text, cells)], dtype=np.float64)
    except (TypeError, ValueError):
        read = (_number(raw, name, row, decimal=rules.decimal) for row in range(len(cells)))
        values = np.array(list(read), dtype=np.float64)
    bad = np.flatnonzero(~np.isfinite(values))
    if len(bad):
        value = values[bad[0]]
        what = "the number is missing, a gap in the data" if np.isnan(value) else f"{value} is not a price or volume"
        raise raw.error(name, int(bad[0]), f"{what}{_more(bad)}")
    return values


def _not_text(cell: Any) -> Any:
    if isinstance(cell, str):
        raise TypeError
    return cell


def _number(raw: Raw, name: str, row: int, *, decimal: Literal[".", ","] | None) -> float:
    cell: Any = raw.columns[name][row]
    text = str(cell).strip()
    if text.lower() in _EMPTY:
        return np.nan
    try:
        return number_of(text, decimal=decimal) if isinstance(cell, str) else float(text)
    except ValueError as error:
        what = f"a number {error}" if str(error) else "text, not a number"
        raise raw.error(name, row, f"{text!r} is {what}") from None


def _check_dates(dates: npt.NDArray[np.datetime64], *, rules: ReadRules, several: str, error: RowError) -> None:
    gaps = np.diff(dates).astype(np.int64)
    wrong = np.flatnonzero(gaps <= 0)
    if len(wrong):
        row = int(wrong[0]) + 1
        twice = len(dates) - len(np.unique(dates))
        several = f"; {several}" if several else ""
        if not several and twice > len(dates) // 3:
            several = (
                "; the file seems to contain several series, without a column that distinguishes them: keep one of them"
            )
        if gaps[row - 1] == 0:
            raise error("Date", row, f"the date appears twice{_more(wrong)}{several}")
        order = "" if several else "; sort the file by date"
        raise error("Date", row, f"the date does not follow {dates[row - 1]}{order}{several}")
    if rules.calendar != "daily":
        _check_weekdays(dates, error=error)
    far = np.flatnonzero(gaps > rules.max_gap)
    if len(far):
        row = int(far[0]) + 1
        text = f"{gaps[row - 1]} days after the previous row, {dates[row - 1]}: a gap in the data{_more(far)}"
        raise error("Date", row, f"{text} (max_gap: {rules.max_gap})")


def _check_weekdays(dates: npt.NDArray[np.datetime64], *, error: RowError) -> None:
    # Day 0 of the epoch is a Thursday.
    weekday = (dates.astype(np.int64) + 3) % 7
    odd = np.flatnonzero(weekday >= 5)
    if not len(odd):
        return
    row = int(odd[0])
    day = "Saturday" if weekday[row] == 5 else "Sunday"
    counts = np.bincount(weekday, minlength=7)
    # Days shifted by a time zone leave one weekday empty.
    everyday = counts[:5].min() > 0.5 * counts[:5].max() and counts[5:].max() > 0.5 * counts[:5].max()
    known = "if the market trades on weekends, write read: {calendar: daily}"
    remedy = known if everyday else "the times may be in the wrong zone"
    raise error("Date", row, f"a {day} is not a trading day{_more(odd)}; {remedy}")


def _check_prices(columns: Mapping[str, Array], *, error: RowError) -> None:
    for name in [name for name in (*PRICES, "Adj Close") if name in columns]:
        bad = np.flatnonzero(columns[name] <= 0.0)
        if len(bad):
            value = columns[name][bad[0]]
            found = "zero" if value == 0.0 else f"{value:g}, below zero"
            raise error(name, int(bad[0]), f"the price is {found}{_more(bad)}")
    if not set(PRICES) <= set(columns):  # the VIX, with closes only
        return
    high, low = columns["High"], columns["Low"]
    bad = np.flatnonzero(high < low)
    if len(bad):
        row = int(bad[0])
        raise error("High", row, f"high {high[row]:g} is below low {low[row]:g}{_more(bad)}")
    for name in ("Open", "Close"):
        price = columns[name]
        bad = np.flatnonzero((price > high * (1.0 + _TOLERANCE)) | (price < low * (1.0 - _TOLERANCE)))
        if len(bad):
            row = int(bad[0])
            text = f"{name.lower()} {price[row]:g} is not between low {low[row]:g} and high {high[row]:g}{_more(bad)}"
            beyond = high[row] if price[row] > high[row] else low[row]
            # One row is a slip; many rows are the effect of a split for which not all columns were adjusted.
            raise error(name, row, text + (split_hint(price[row] / beyond) if len(bad) > 1 else ""))
    if "Volume" in columns:
        bad = np.flatnonzero(columns["Volume"] < 0.0)
        if len(bad):
            value = columns["Volume"][bad[0]]
            raise error("Volume", int(bad[0]), f"the volume is {value:g}, below zero{_more(bad)}")


def _more(bad: Sequence[Any] | npt.NDArray[Any]) -> str:
    return f"; {len(bad)} such rows" if len(bad) > 1 else ""
