"""Reads a table with times from a parquet or CSV file; every defect raises one specific `DataError`.

This module imports pandas and pyarrow: import it inside the function that reads.
"""

from __future__ import annotations

import io
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa
from attrs import field, frozen
from packaging.version import Version

from scalecore.api.dataset_options import ReadOptions
from scalecore.api.errors import DataError
from scalecore.builtin.table_series import blocks_note, check_one_series, check_order
from scalecore.builtin.table_times import naive_times
from scalecore.config.constraints import nearest
from scalecore.data.checks import check_times
from scalecore.data.dates import stamp
from scalecore.data.table_files import check_header, kind_of, read_text

if TYPE_CHECKING:
    from typing import Any

TIME_NAMES = ("Date", "date", "Datetime", "datetime", "Time", "time", "Timestamp", "timestamp")


@frozen(kw_only=True, eq=False)
class Table:
    """The columns of a file except its times; row numbers count from 0 after the cut to `start` and `end`."""

    path: Path
    times: npt.NDArray[np.datetime64]
    """[rows] datetime64[ns] without a zone, ascending and unique."""
    frame: pd.DataFrame
    reading: ReadOptions = field(factory=ReadOptions)
    is_text: bool = False
    """Whether the cells are text, so that numbers may need `reading` to be parsed."""
    note: str | None = None
    """A note for the plan."""


def read_table(
    path: Path,
    *,
    time: str | None = None,
    start: str | None = None,
    end: str | None = None,
    reading: ReadOptions | None = None,
) -> Table:
    """Read `path`, a file or a folder of parquet files, and find its times.

    Times are taken from the column or index `time`, else from the index, else from the first column in TIME_NAMES.
    Times with a zone or offsets are converted: if all are midnight there, they are days and keep their date; otherwise
    they become UTC, as do local times if `reading.zone` names their zone. `start` and `end` are inclusive; an `end`
    without a time of day includes the whole day. The rows of a folder are sorted by time.
    """
    reading = ReadOptions() if reading is None else reading
    frame, is_text = read_frame(path, reading=reading)
    if not len(frame):
        raise DataError(f"{path} has no rows")
    raw, frame = _split_times(frame, path=path, time=time)
    times = naive_times(raw, name=str(path), reading=reading)
    if path.is_dir():
        order = np.argsort(times, kind="stable")
        times, frame = times[order], frame.iloc[order].reset_index(drop=True)
    check_order(times, frame, name=str(path), zone=reading.zone)
    check_times(times, name=str(path))
    inside = np.ones(len(times), dtype=bool)
    if start is not None:
        inside &= times >= np.datetime64(datetime.fromisoformat(start), "ns")
    if end is not None:
        last = np.datetime64(datetime.fromisoformat(end), "ns")
        inside &= times < last + np.timedelta64(1, "D") if len(end) <= len("1999-03-10") else times <= last
    if not inside.any():
        raise DataError(
            f"{path} has no rows from {start or 'its start'} to {end or 'its end'}; its times are {stamp(times[0])} to "
            f"{stamp(times[-1])}"
        )
    frame = frame.loc[inside]
    check_one_series(frame, name=str(path))
    note = blocks_note(frame, name=path.name)
    return Table(path=path, times=times[inside], frame=frame, reading=reading, is_text=is_text, note=note)


def read_frame(path: Path, *, reading: ReadOptions) -> tuple[pd.DataFrame, bool]:
    """All cells of a file or folder, and whether they were text."""
    if path.is_dir():
        return _read_parts(path), False
    kind = kind_of(path, name=str(path))
    try:
        if kind == "parquet":
            # Without guessing partitions: a folder named `symbol=SPY` is not a column of this file.
            return pd.read_parquet(path, engine="pyarrow", partitioning=None), False
        text = read_text(path, reading=reading, name=str(path))
        check_header(text, reading=reading, name=str(path))
        mark = reading.decimal or "."
        # Before pandas 3.1 the default parser is off in the last bit of some numbers, so that the data of a study would
        # depend on the version of pandas; from 3.1 on it is exact and the argument deprecated.
        exact: dict[str, Any] = {} if Version(pd.__version__) >= Version("3.1") else {"float_precision": "round_trip"}
        frame = pd.read_csv(io.BytesIO(text.encode()), low_memory=False, sep=reading.delimiter, decimal=mark, **exact)
        if type(frame.index) is pd.Index and frame.iloc[:, -1].isna().all():
            # Each line below the header ends with a separator, so pandas used the first cell as an index.
            frame = frame.reset_index().iloc[:, :-1].set_axis(frame.columns, axis=1)
        return frame, True
    except pd.errors.EmptyDataError:
        raise DataError(f"{path} is empty") from None
    except (pa.ArrowException, pd.errors.ParserError, ValueError, EOFError, OSError) as error:
        shown = "parquet" if kind == "parquet" else "CSV"
        reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise DataError(f"{path} cannot be read as {shown}; it may be truncated or of another type: {reason}") from None


def _read_parts(folder: Path) -> pd.DataFrame:
    """The rows of all parquet files in `folder`; path components such as `year=2020` become the last columns."""
    if (folder / "_delta_log").is_dir() or any(folder.glob("metadata/*.metadata.json")):
        raise DataError(
            f"{folder} is a table of Delta Lake or Iceberg, whose folder also contains older rows: write the rows of "
            "one version to a parquet file"
        )
    parts = sorted(
        part
        for part in folder.rglob("*")
        if part.suffix.lower() in (".parquet", ".pq")
        and not any(name.startswith((".", "_")) for name in part.relative_to(folder).parts)
    )
    if not parts:
        raise DataError(f"{folder} is a folder without parquet files; give a file or a folder of parquet files")
    for part in parts:
        kind_of(part, name=str(part))
    import pyarrow.dataset as ds

    files, hive = [str(part) for part in parts], ds.partitioning(flavor="hive")
    try:
        found = ds.dataset(files, format="parquet", partitioning=hive)
        # One schema for all files, so that integers in one and floats in another become floats.
        physical = [fragment.physical_schema for fragment in found.get_fragments()]
        keys = [name for name in found.schema.names if name not in physical[0].names]
        schema = pa.unify_schemas(
            [*physical, pa.schema([found.schema.field(key) for key in keys])], promote_options="permissive"
        )
        table = ds.dataset(files, schema=schema, format="parquet", partitioning=hive).to_table()
        frame: pd.DataFrame = table.to_pandas()
    except (pa.ArrowException, ValueError, OSError) as error:
        reason = str(error).strip().splitlines()[0]
        raise DataError(f"{folder}: its parquet files do not form one table: {reason}") from None
    frame = frame[[name for name in frame.columns if name not in keys] + keys]
    frame.attrs["keys"] = keys
    return frame


def _split_times(frame: pd.DataFrame, *, path: Path, time: str | None) -> tuple[Any, pd.DataFrame]:
    """The raw times, and the other columns with a default index."""
    if frame.columns.nlevels > 1:
        raise DataError(
            f"{path}: the columns have {frame.columns.nlevels} levels, such as {frame.columns[0]!r}, as in a table of "
            "several series; keep one level: the columns of one series"
        )
    if frame.index.nlevels > 1:
        named = [name or f"index {level}" for level, name in enumerate(frame.index.names)]
        frame = frame.reset_index(names=named)
    plain = frame.reset_index(drop=True)
    if time is not None:
        if time in frame.index.names:
            return frame.index.to_series().reset_index(drop=True), plain
        if time not in frame.columns:
            known = [str(name) for name in (*frame.columns, *filter(None, frame.index.names))]
            raise DataError(f"{path}: there is no time column {time!r}; {nearest(time, known)} [G55]")
        return plain[time], plain.drop(columns=time)
    if isinstance(frame.index, pd.DatetimeIndex) or frame.index.name in TIME_NAMES:
        return frame.index.to_series().reset_index(drop=True), plain
    # In a folder, columns of the files take precedence over parts of their path.
    for name in sorted(TIME_NAMES, key=lambda one: one in frame.attrs.get("keys", ())):
        if name in frame.columns:
            return plain[name], plain.drop(columns=name)
    columns = ", ".join(map(str, frame.columns[:20]))
    raise DataError(f"{path}: no time column found; set dataset.time. The columns are {columns}")
