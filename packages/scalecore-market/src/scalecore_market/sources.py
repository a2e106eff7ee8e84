"""Reads vendors' daily prices (parquet, CSV or a downloaded frame) into one raw form."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from attrs import frozen

from scalecore.api.errors import DataError
from scalecore.api.table_files import check_header, kind_of, read_text
from scalecore_market.columns import (
    COLUMNS,
    Names,
    date_column,
    is_date_name,
    price_columns,
    several_values,
    symbol_rows,
)
from scalecore_market.options import ReadRules

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["COLUMNS", "Raw", "from_frame", "read_raw"]


@frozen(kw_only=True, eq=False)
class Raw:
    """Unchecked cells: `stamps` and each of `columns` have one entry a row.

    `numbers` are the positions of the rows for the user: lines of a text file from 1, otherwise rows from 0.
    """

    origin: str
    """The name in messages: that of the file, or `Yahoo SPY`."""
    unit: str
    numbers: Sequence[int]
    stamps: Sequence[str]
    columns: dict[str, Sequence[Any]]
    several: str = ""
    """A hint for messages: another column that may distinguish several series."""

    def row(self, index: int) -> str:
        """A row in messages: `line 17 (2001-01-22)`."""
        return f"{self.unit} {self.numbers[index]} ({self.stamps[index].removesuffix('T00:00:00')})"

    def error(self, column: str, index: int, text: str) -> DataError:
        """An error in a cell, or in the date of a row."""
        return DataError(f"{self.origin}: column {column}: {self.row(index)}: {text}")


def read_raw(path: Path, *, symbol: str, rules: ReadRules | None = None, close_only: bool = False) -> Raw:
    """The cells of a parquet or CSV file. From a file with several symbols, only the rows of `symbol` are read.

    With `close_only`, the other prices are optional. Raises DataError if the file is missing, truncated, of another
    kind or symbol, or has no dates or prices.
    """
    rules = ReadRules() if rules is None else rules
    if path.is_dir():
        raise DataError(f"{path}: this is a folder; use a file of daily prices")
    if not path.exists() and not path.is_symlink():
        raise DataError(f"{path}: there is no such file")
    if kind_of(path, name=path.name) == "text":
        return _read_csv(path, symbol=symbol, rules=rules, close_only=close_only)
    import pandas as pd
    import pyarrow as pa

    try:
        # Disable the detection of partitions: a folder named `symbol=SPY` is not a column of this file.
        frame = pd.read_parquet(path, partitioning=None)
    except (pa.ArrowException, OSError, ValueError) as error:
        reason = str(error).splitlines()[0].rstrip(".")
        raise DataError(
            f"{path.name} cannot be read: the file is truncated or not parquet ({reason}); download it again"
        ) from error
    return from_frame(frame, origin=path.name, symbol=symbol, rules=rules, close_only=close_only)


def from_frame(
    frame: pd.DataFrame, *, origin: str, symbol: str, rules: ReadRules | None = None, close_only: bool = False
) -> Raw:
    """The cells of a frame with dates in the index or in a column, and plain names or pairs with the ticker."""
    import pandas as pd

    rules = ReadRules() if rules is None else rules
    if frame.index.nlevels > 1:
        frame = frame.reset_index()
    names = [tuple(name) if isinstance(name, tuple) else (name,) for name in frame.columns]
    index_of_dates = isinstance(frame.index, pd.DatetimeIndex) or (len(frame) and hasattr(frame.index[0], "isoformat"))
    wanted = rules.columns.date
    in_index = wanted == frame.index.name if wanted is not None else index_of_dates or is_date_name(frame.index.name)
    return _raw(
        names,
        cells=lambda index: list(frame.iloc[:, index]),
        stamps=list(frame.index) if in_index else None,
        rows=range(len(frame)),
        unit="row",
        origin=origin,
        symbol=symbol,
        rules=rules,
        close_only=close_only,
    )


def _read_csv(path: Path, *, symbol: str, rules: ReadRules, close_only: bool) -> Raw:
    text = read_text(path, reading=rules, name=path.name)
    try:
        reader = csv.reader(io.StringIO(text, newline=""), delimiter=rules.delimiter)
        rows = [(reader.line_num, row) for row in reader if any(cell.strip() for cell in row)]
    except csv.Error as error:
        raise DataError(f"{path.name} cannot be read as CSV: {error}") from error
    if not rows:
        raise DataError(f"{path.name} is empty: it contains no cells")
    header, body = _header(rows)
    if len(header[0]) == 1:
        check_header(text, reading=rules, name=path.name)
    for line, row in body:
        # Some programs end each line below the header with a separator.
        if len(row) != len(header) and (len(row) < len(header) or any(cell.strip() for cell in row[len(header) :])):
            comma = ", or its decimal mark is a comma" if rules.delimiter == "," else ""
            raise DataError(
                f"{path.name}: line {line} has {len(row)} cells, the header has {len(header)}; the line is truncated "
                f"or has an extra {'comma' if rules.delimiter == ',' else 'separator'}{comma}"
            )
    return _raw(
        header,
        cells=lambda index: [row[index].strip() for _, row in body],
        stamps=None,
        rows=[line for line, _ in body],
        unit="line",
        origin=path.name,
        symbol=symbol,
        rules=rules,
        close_only=close_only,
    )


def _header(rows: list[tuple[int, list[str]]]) -> tuple[Names, list[tuple[int, list[str]]]]:
    """The column names, and the rows below them. Newer yfinance writes three header lines: Price, Ticker, Date."""
    first = [cell.strip() for cell in rows[0][1]]
    second = [cell.strip() for cell in rows[1][1]] if len(rows) > 1 else [""]
    if {first[0].lower(), second[0].lower()} == {"price", "ticker"} and len(first) == len(second):
        named = len(rows) > 2 and not any(cell.strip() for cell in rows[2][1][1:])
        return [("Date", ""), *zip(first[1:], second[1:], strict=True)], rows[3 if named else 2 :]
    return [(cell,) for cell in first], rows[1:]


def _raw(
    names: Names,
    *,
    cells: Callable[[int], list[Any]],
    stamps: list[Any] | None,
    rows: Sequence[int],
    unit: str,
    origin: str,
    symbol: str,
    rules: ReadRules,
    close_only: bool,
) -> Raw:
    """The required columns and rows. `stamps` are the dates if they are not in a column."""
    column = (
        -1 if stamps is not None else date_column(names, origin=origin, columns=rules.columns, close_only=close_only)
    )
    others = [(index, parts) for index, parts in enumerate(names) if index != column]
    chosen = price_columns(others, origin=origin, symbol=symbol, columns=rules.columns, close_only=close_only)
    dates = cells(column) if stamps is None else stamps
    free = {str(parts[0]): cells(index) for index, parts in others if index not in chosen.values() and len(parts) == 1}
    kept = symbol_rows(free, origin=origin, symbol=symbol, columns=rules.columns, place=lambda at: f"{unit} {rows[at]}")
    keep = range(len(rows)) if kept is None else kept
    found = {name: cells(index) for name, index in chosen.items()}
    return Raw(
        origin=origin,
        unit=unit,
        numbers=[rows[at] for at in keep],
        stamps=[_text(dates[at]) for at in keep],
        columns={name: [values[at] for at in keep] for name, values in found.items()},
        several="" if kept is not None else several_values(free),
    )


def _text(stamp: Any) -> str:
    return str(stamp.isoformat()) if hasattr(stamp, "isoformat") else str(stamp).strip()
