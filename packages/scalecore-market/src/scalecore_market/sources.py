"""Daily prices as Yahoo and its tools write them: parquet, CSV, or a frame that was downloaded, in one raw form."""

from __future__ import annotations

import csv
import re
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from attrs import frozen

from scalecore.errors import DataError

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["COLUMNS", "Raw", "from_frame", "read_raw"]

COLUMNS = ("Open", "High", "Low", "Close", "Adj Close", "Volume")
"""The columns that are kept, in this order; the last two need not be there."""

_NAMES = {re.sub(r"[^a-z]", "", name.lower()): name for name in COLUMNS} | {"adjustedclose": "Adj Close"}
_DATES = {"date", "datetime", "timestamp", "time"}
_UNNAMED = {"", "index", "unnamed"}
"""How an index without a name is written; read as dates where no column is called so."""


@frozen(kw_only=True, eq=False)
class Raw:
    """Cells as they were found, before any check: `stamps` and each of `columns` have one entry a row.

    `numbers` are the positions of the rows as the user finds them: lines of a text file from 1, else rows from 0.
    """

    origin: str
    """What messages call it: the name of the file, or `Yahoo SPY`."""
    unit: str
    numbers: Sequence[int]
    stamps: Sequence[str]
    columns: dict[str, Sequence[Any]]

    def row(self, index: int) -> str:
        """How messages name a row: `line 17 (2001-01-22)`."""
        return f"{self.unit} {self.numbers[index]} ({self.stamps[index].removesuffix('T00:00:00')})"


def read_raw(path: Path, *, symbol: str) -> Raw:
    """The cells of a parquet or CSV file. Where it holds several symbols, those of `symbol` are taken.

    Raises DataError where the file is missing, torn, of another kind, or has no dates or prices.
    """
    if not path.is_file():
        raise DataError(f"{path}: there is no such file")
    suffix = path.suffix.lower()
    if suffix in (".parquet", ".pq"):
        return _read_parquet(path, symbol=symbol)
    if suffix == ".csv":
        return _read_csv(path, symbol=symbol)
    raise DataError(f"{path.name}: a file of daily prices is .parquet, .pq or .csv")


def _read_parquet(path: Path, *, symbol: str) -> Raw:
    import pandas as pd
    import pyarrow as pa

    try:
        frame = pd.read_parquet(path)
    except (pa.ArrowException, OSError, ValueError) as error:
        reason = str(error).splitlines()[0].rstrip(".")
        raise DataError(
            f"{path.name} cannot be read: the file is cut off or not parquet ({reason}); get it again"
        ) from error
    return from_frame(frame, origin=path.name, symbol=symbol)


def from_frame(frame: pd.DataFrame, *, origin: str, symbol: str) -> Raw:
    """The cells of a frame: dates in the index or in a column; names plain, or pairs with the ticker."""
    import pandas as pd

    names = [tuple(name) if isinstance(name, tuple) else (name,) for name in frame.columns]
    index_of_dates = isinstance(frame.index, pd.DatetimeIndex) or (len(frame) and hasattr(frame.index[0], "isoformat"))
    if index_of_dates or _key(frame.index.name) in _DATES:
        column, stamps = -1, list(frame.index)
    else:
        column = _date_column([parts[0] for parts in names], origin=origin)
        stamps = list(frame.iloc[:, column])
    chosen = _choose(
        [(index, parts) for index, parts in enumerate(names) if index != column], origin=origin, symbol=symbol
    )
    return Raw(
        origin=origin,
        unit="row",
        numbers=range(len(frame)),
        stamps=[_text(stamp) for stamp in stamps],
        columns={name: list(frame.iloc[:, index]) for name, index in chosen.items()},
    )


def _read_csv(path: Path, *, symbol: str) -> Raw:
    try:
        with path.open(encoding="utf-8-sig", newline="") as stream:
            reader = csv.reader(stream)
            rows = [(reader.line_num, row) for row in reader if row]
    except (UnicodeDecodeError, csv.Error) as error:
        raise DataError(f"{path.name} cannot be read as CSV: {error}") from error
    if not rows:
        raise DataError(f"{path.name}: the file is empty")
    header, body = _header(rows)
    column = _date_column([parts[0] for parts in header], origin=path.name)
    chosen = _choose(
        [(index, parts) for index, parts in enumerate(header) if index != column], origin=path.name, symbol=symbol
    )
    for line, row in body:
        if len(row) != len(header):
            raise DataError(
                f"{path.name}: line {line} has {len(row)} cells, the header has {len(header)}; the line is cut off or "
                "has a comma too many"
            )
    return Raw(
        origin=path.name,
        unit="line",
        numbers=[line for line, _ in body],
        stamps=[row[column].strip() for _, row in body],
        columns={name: [row[index].strip() for _, row in body] for name, index in chosen.items()},
    )


def _header(rows: list[tuple[int, list[str]]]) -> tuple[list[tuple[Any, ...]], list[tuple[int, list[str]]]]:
    """Names of the columns, and the rows below them. Newer yfinance writes three lines: Price, Ticker, Date."""
    first = [cell.strip() for cell in rows[0][1]]
    second = [cell.strip() for cell in rows[1][1]] if len(rows) > 1 else [""]
    if {first[0].lower(), second[0].lower()} == {"price", "ticker"} and len(first) == len(second):
        named = len(rows) > 2 and not any(cell.strip() for cell in rows[2][1][1:])
        return [("Date", ""), *zip(first[1:], second[1:], strict=True)], rows[3 if named else 2 :]
    return [(cell,) for cell in first], rows[1:]


def _date_column(names: Sequence[Any], *, origin: str) -> int:
    for wanted in (_DATES, _UNNAMED):
        for index, name in enumerate(names):
            if _key(name) in wanted:
                return index
    raise DataError(f"{origin}: there is no column Date; the columns are {', '.join(str(name) for name in names)}")


def _choose(names: Sequence[tuple[int, tuple[Any, ...]]], *, origin: str, symbol: str) -> dict[str, int]:
    """Positions of the price columns, for one symbol."""
    # Of pairs of price and ticker, either may come first; LOW and OPEN are tickers too.
    levels = range(max((len(parts) for _, parts in names), default=0))
    prices = {_key(name) for name in COLUMNS[:4]}
    level = next((one for one in levels if prices <= {_key(parts[one]) for _, parts in names}), 0)
    found: dict[str, dict[str, int]] = {}
    for index, parts in names:
        name = _NAMES.get(_key(parts[level]))
        if name is not None:
            ticker = "".join(str(part) for one, part in enumerate(parts) if one != level).lstrip("^").upper()
            if name in found.setdefault(ticker, {}):
                raise DataError(f"{origin}: column {name} is there twice")
            found[ticker][name] = index
    if not found:
        raise DataError(f"{origin}: none of the columns {', '.join(COLUMNS)} is there")
    wanted = "" if set(found) == {""} else symbol.lstrip("^").upper()
    if wanted not in found:
        raise DataError(f"{origin}: the file holds {', '.join(sorted(found))}, not {wanted}")
    columns = found[wanted]
    missing = [name for name in COLUMNS[:4] if name not in columns]
    if missing:
        raise DataError(f"{origin}: column {missing[0]} is missing; the file has {', '.join(columns)}")
    return {name: columns[name] for name in COLUMNS if name in columns}


def _key(name: Any) -> str:
    return re.sub(r"[^a-z]", "", str(name).lower())


def _text(stamp: Any) -> str:
    return str(stamp.isoformat()) if hasattr(stamp, "isoformat") else str(stamp)
