"""Reading a table in time from a parquet or CSV file; each way in which it may be broken has one clear DataError.

This module imports pandas and pyarrow: import it inside the function that reads.
"""

from __future__ import annotations

from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa
from attrs import frozen
from pandas.api import types

from scalecore.config.bounds import nearest
from scalecore.data.checks import check_times
from scalecore.data.dates import stamp
from scalecore.errors import DataError

if TYPE_CHECKING:
    from typing import Any

__all__ = ["Table", "read_table"]

TIME_NAMES = ("Date", "date", "Datetime", "datetime", "Time", "time", "Timestamp", "timestamp")


@frozen(kw_only=True, eq=False)
class Table:
    """The columns of a file but for its times; row numbers count from 0 after the cut to `start` and `end`."""

    path: Path
    times: npt.NDArray[np.datetime64]
    """[rows] datetime64[ns] without a zone, ascending and unique."""
    frame: pd.DataFrame


def read_table(path: Path, *, time: str | None = None, start: str | None = None, end: str | None = None) -> Table:
    """Read `path` and find its times.

    They are in the column or index `time`, else in the index, else in the first column with a name of TIME_NAMES.
    Times with a zone lose it: if all of them are midnight there they are days, and keep their date; else they become
    UTC. `start` and `end`, both included, cut the rows; an `end` without a clock time includes the whole day.
    """
    frame = _read(path)
    if not len(frame):
        raise DataError(f"{path} has no rows")
    raw, frame = _split_times(frame, path=path, time=time)
    times = _naive(raw, path=path)
    check_times(times, name=str(path))
    inside = np.ones(len(times), dtype=bool)
    if start is not None:
        inside &= times >= np.datetime64(datetime.fromisoformat(start), "ns")
    if end is not None:
        last = np.datetime64(datetime.fromisoformat(end), "ns")
        inside &= times < last + np.timedelta64(1, "D") if len(end) <= len("1999-03-10") else times <= last
    if not inside.any():
        raise DataError(
            f"{path} has no rows from {start or 'its start'} to {end or 'its end'}; it goes from {stamp(times[0])} to "
            f"{stamp(times[-1])}"
        )
    return Table(path=path, times=times[inside], frame=frame.loc[inside])


def _read(path: Path) -> pd.DataFrame:
    if not path.is_file():
        raise DataError(f"{path} {'is not a file' if path.exists() else 'does not exist'}")
    name = path.name.lower()
    try:
        if name.endswith((".parquet", ".pq")):
            # Without its partition guessing: a folder named `symbol=SPY` is no column of this file.
            return pd.read_parquet(path, engine="pyarrow", partitioning=None)
        if name.endswith((".csv", ".csv.gz")):
            return pd.read_csv(path, low_memory=False)
    except pd.errors.EmptyDataError:
        raise DataError(f"{path} is empty") from None
    except (pa.ArrowException, pd.errors.ParserError, UnicodeDecodeError, EOFError, OSError) as error:
        kind = "parquet" if name.endswith((".parquet", ".pq")) else "CSV"
        reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise DataError(f"{path} cannot be read as {kind}; it may be truncated or of another type: {reason}") from None
    raise DataError(f"{path}: the suffix {path.suffix!r} is unknown; it may be .parquet, .pq, .csv or .csv.gz")


def _split_times(frame: pd.DataFrame, *, path: Path, time: str | None) -> tuple[Any, pd.DataFrame]:
    """The raw times, and the other columns under a plain index."""
    plain = frame.reset_index(drop=True)
    if time is not None:
        if time in frame.index.names and frame.index.nlevels == 1:
            return frame.index.to_series().reset_index(drop=True), plain
        if time not in frame.columns:
            known = [str(name) for name in (*frame.columns, *filter(None, frame.index.names))]
            raise DataError(f"{path}: there is no time column {time!r}; {nearest(time, known)} [G55]")
        return plain[time], plain.drop(columns=time)
    if isinstance(frame.index, pd.DatetimeIndex) or frame.index.name in TIME_NAMES:
        return frame.index.to_series().reset_index(drop=True), plain
    for name in TIME_NAMES:
        if name in frame.columns:
            return plain[name], plain.drop(columns=name)
    columns = ", ".join(map(str, frame.columns[:20]))
    raise DataError(f"{path}: no column holds the times; name it as dataset.time. The columns are {columns}")


def _naive(raw: pd.Series[Any], *, path: Path) -> npt.NDArray[np.datetime64]:
    if types.is_numeric_dtype(raw.dtype):
        raise DataError(f"{path}: times are {raw.dtype}; write them as dates or ISO 8601 text")
    try:
        times = raw if types.is_datetime64_any_dtype(raw.dtype) else pd.to_datetime(raw, format="ISO8601")
    except (ValueError, TypeError, OverflowError):
        raise DataError(_bad_time(raw, path=path)) from None
    if times.dt.tz is not None:
        local = times.dt.tz_localize(None)
        times = local if (local.dropna() == local.dropna().dt.normalize()).all() else times.dt.tz_convert(None)
    try:
        return times.dt.as_unit("ns").to_numpy()
    except pd.errors.OutOfBoundsDatetime:
        raise DataError(f"{path}: a time lies outside of the years 1678 to 2261") from None


def _bad_time(raw: pd.Series[Any], *, path: Path) -> str:
    parsed = pd.to_datetime(raw, format="ISO8601", errors="coerce", utc=True)
    bad = np.flatnonzero((parsed.isna() & raw.notna()).to_numpy())
    if len(bad):
        return f"{path}: the time of row {bad[0]} is {raw.iloc[bad[0]]!r}, which is no ISO 8601 date such as 2019-01-02"
    return f"{path}: times have several UTC offsets; write them in UTC, or as dates without a zone"
