"""A table of columns over dates, which a store saves and checksums."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import numpy.typing as npt
from attrs import frozen

from scalecore.api.errors import DataError
from scalecore.api.files import sync_folder
from scalecore_market.bars import Array, Bars

__all__ = ["PRICES", "PriceTable"]

PRICES = ("Open", "High", "Low", "Close")


@frozen(kw_only=True, eq=False)
class PriceTable:
    """Dates [rows], ascending and unique, without time or zone, and named float64 columns [rows] in a fixed order."""

    dates: npt.NDArray[np.datetime64]
    """[rows] datetime64[D]"""
    columns: Mapping[str, Array]

    def __len__(self) -> int:
        return len(self.dates)

    @property
    def first(self) -> str:
        """The first date, as 1999-03-10."""
        return str(self.dates[0])

    @property
    def last(self) -> str:
        """The last date."""
        return str(self.dates[-1])

    def slice(self, start: int, stop: int) -> PriceTable:
        """Rows `start` to `stop`, the last not included."""
        return PriceTable(
            dates=self.dates[start:stop], columns={name: values[start:stop] for name, values in self.columns.items()}
        )

    def between(self, start: str | None, end: str | None) -> PriceTable:
        """Rows from `start` to `end`, both included; None for no bound."""
        first = 0 if start is None else int(np.searchsorted(self.dates, np.datetime64(start, "D")))
        stop = len(self) if end is None else int(np.searchsorted(self.dates, np.datetime64(end, "D"), side="right"))
        return self.slice(first, stop)

    def bars(self, *, vix: Array | None = None) -> Bars:
        """The raw columns, under the names that indicators use."""
        columns = self.columns
        if missing := [name for name in PRICES if name not in columns]:
            raise DataError(f"this table has closes only, no {', '.join(missing)}: features cannot be computed")
        return Bars(
            dates=self.dates,
            open=columns["Open"],
            high=columns["High"],
            low=columns["Low"],
            close=columns["Close"],
            volume=columns.get("Volume"),
            vix=vix,
        )

    @property
    def checksum(self) -> str:
        """`sha256:` of the content: names, order, dates and the bits of the values. It does not depend on the program
        or format of a file.
        """
        digest = hashlib.sha256(f"scalecore-market table 1\n{len(self)} rows\n".encode())
        digest.update(self.dates.astype("datetime64[D]").astype("<i8").tobytes())
        for name, values in self.columns.items():
            digest.update(f"\n{name}\n".encode())
            numbers = np.asarray(values, dtype="<f8") + 0.0  # -0.0 becomes 0.0
            digest.update(np.where(np.isnan(numbers), np.nan, numbers).tobytes())
        return f"sha256:{digest.hexdigest()}"

    def write(self, path: Path) -> None:
        """Write a parquet file with the column Date and the other columns, atomically."""
        import pyarrow as pa
        import pyarrow.parquet as pq

        arrays = {"Date": pa.array(self.dates.astype("datetime64[ms]"), type=pa.timestamp("ms"))}
        arrays.update(
            {name: pa.array(values, type=pa.float64(), from_pandas=False) for name, values in self.columns.items()}
        )
        temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
        try:
            with temporary.open("wb") as stream:
                pq.write_table(pa.table(arrays), stream, compression="zstd")
                stream.flush()
                os.fsync(stream.fileno())
            os.replace(temporary, path)
        except BaseException:
            temporary.unlink(missing_ok=True)
            raise
        sync_folder(path.parent)

    @classmethod
    def read(cls, path: Path) -> PriceTable:
        """Read a file that `write` wrote. Raises DataError for any other file."""
        import pyarrow as pa
        import pyarrow.parquet as pq

        try:
            table = pq.read_table(path)
            dates = table.column("Date").to_numpy().astype("datetime64[D]")
            columns = {
                name: np.array(table.column(name).to_numpy(), dtype=np.float64)
                for name in table.column_names
                if name != "Date"
            }
        except FileNotFoundError:
            raise DataError(f"{path.name} is missing in {path.parent}") from None
        except (pa.ArrowException, OSError, KeyError, ValueError) as error:
            raise DataError(
                f"{path.name} cannot be read as a table of scalecore-market: {str(error).splitlines()[0]}"
            ) from error
        return cls(dates=dates, columns=columns)
