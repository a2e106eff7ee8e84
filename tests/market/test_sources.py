"""All files in the format of Yahoo and its tools yield the same table."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from scalecore.api.errors import DataError
from scalecore_market.options import ReadRules
from scalecore_market.sources import from_frame, read_raw
from scalecore_market.table import PriceTable
from scalecore_market.validate import to_table

Prices = Callable[..., Any]


def read(path: Path, *, symbol: str = "SPY", **rules: object) -> PriceTable:
    return to_table(read_raw(path, symbol=symbol), rules=ReadRules(**rules))  # type: ignore[arg-type]


def three_lines(frame: Any, ticker: str = "SPY") -> Any:
    """Columns in yfinance's format: pairs of price and ticker."""
    out = frame[["Adj Close", "Close", "High", "Low", "Open", "Volume"]].copy()
    out.columns = pd.MultiIndex.from_product([out.columns, [ticker]], names=["Price", "Ticker"])
    return out


def zoned(frame: Any) -> Any:
    """Dates in the format of `Ticker.history`: midnight in New York, winter and summer."""
    return frame.set_axis(frame.index.tz_localize("America/New_York"))


def test_every_format_of_a_file_yields_the_same_table(prices: Prices, tmp_path: Path) -> None:
    """Index or column, upper or lower case, three-line headers, zones, newest first: one content, one checksum."""
    frame = prices(120)  # from January into June, over the change of the clocks
    renamed = frame.reset_index().rename(columns=str.lower).rename(columns={"adj close": "adj_close"})
    written: dict[str, Callable[[Path], object]] = {
        "index.parquet": lambda path: frame.to_parquet(path),
        "column.parquet": lambda path: frame.reset_index().to_parquet(path),
        "small.parquet": lambda path: renamed.to_parquet(path),
        "pairs.parquet": lambda path: three_lines(frame).to_parquet(path),
        "zoned.parquet": lambda path: zoned(frame).to_parquet(path),
        "gzip.parquet": lambda path: frame.to_parquet(path, compression="gzip"),
        "index.csv": lambda path: frame.to_csv(path),
        "numbered.csv": lambda path: frame.reset_index().to_csv(path),
        "small.csv": lambda path: renamed.to_csv(path, index=False),
        "pairs.csv": lambda path: three_lines(frame).to_csv(path),
        "zoned.csv": lambda path: zoned(frame).to_csv(path),
        "unnamed.csv": lambda path: frame.rename_axis(None).to_csv(path),
        "descending.csv": lambda path: frame[::-1].to_csv(path),
        "blank line.csv": lambda path: path.write_text(frame.to_csv() + "\n\n"),
        "dividends.csv": lambda path: frame.assign(Dividends=0.0, **{"Stock Splits": 0.0}).to_csv(path),
    }
    tables = {}
    for name, write in written.items():
        write(tmp_path / name)
        tables[name] = read(tmp_path / name)
    expected = tables["index.parquet"]
    assert list(expected.columns) == ["Open", "High", "Low", "Close", "Adj Close", "Volume"]
    assert (expected.first, expected.last, len(expected)) == ("2001-01-02", "2001-06-18", 120)
    np.testing.assert_array_equal(expected.columns["Close"], frame["Close"])
    assert {name: table.checksum for name, table in tables.items()} == dict.fromkeys(written, expected.checksum)


def test_the_checksum_does_not_depend_on_the_writer_and_sees_the_last_bit(prices: Prices, tmp_path: Path) -> None:
    """Our file and one of pandas have equal checksums; a changed bit, name or date changes the checksum."""
    frame = prices(30)
    frame.to_parquet(tmp_path / "a.parquet")
    table = read(tmp_path / "a.parquet")
    table.write(tmp_path / "b.parquet")
    assert (tmp_path / "a.parquet").read_bytes() != (tmp_path / "b.parquet").read_bytes()
    assert PriceTable.read(tmp_path / "b.parquet").checksum == read(tmp_path / "b.parquet").checksum == table.checksum
    close = table.columns["Close"].copy()
    close[7] = np.nextafter(close[7], 0.0)
    others = [
        PriceTable(dates=table.dates, columns={**table.columns, "Close": close}),
        PriceTable(dates=table.dates + np.timedelta64(1, "D"), columns=table.columns),
        PriceTable(dates=table.dates, columns={("close" if k == "Close" else k): v for k, v in table.columns.items()}),
        table.slice(0, 29),
    ]
    assert len({table.checksum, *(other.checksum for other in others)}) == 5
    assert table.checksum == "sha256:" + table.checksum[7:]
    assert len(table.checksum) == 71


def test_the_checksum_of_a_known_table_does_not_change() -> None:
    """A version with another checksum would report every store as changed."""
    days = np.array(["1999-03-10", "1999-03-11"], dtype="datetime64[D]")
    table = PriceTable(dates=days, columns={"Close": np.array([-0.0, np.nan])})
    assert table.checksum == "sha256:f9bbef29ce2ffd64c3423e97f8c5e6c0aecd06841c6e94cc11b37c8e9032c20a"


def test_the_requested_symbol_is_read_from_a_file_of_several(prices: Prices, tmp_path: Path) -> None:
    """`yf.download(["SPY", "^VIX"])` writes both into one table; the other one is ignored."""
    spy, vix = prices(30), prices(30, seed=1, base=20.0)
    pd.concat([three_lines(spy), three_lines(vix, "^VIX")], axis=1).to_csv(tmp_path / "both.csv")
    np.testing.assert_array_equal(read(tmp_path / "both.csv", symbol="SPY").columns["Open"], spy["Open"])
    np.testing.assert_array_equal(read(tmp_path / "both.csv", symbol="VIX").columns["Open"], vix["Open"])
    with pytest.raises(DataError) as caught:
        read(tmp_path / "both.csv", symbol="QQQ")
    assert str(caught.value) == "both.csv: the file contains SPY, VIX, not QQQ"


def test_tickers_with_the_name_of_a_column_are_distinguished(prices: Prices, tmp_path: Path) -> None:
    """LOW and OPEN are companies; prices are on the level that has all of them."""
    low, opened = prices(30), prices(30, seed=1)
    both = pd.concat([three_lines(low, "LOW"), three_lines(opened, "OPEN")], axis=1)
    both.swaplevel(axis=1).to_csv(tmp_path / "both.csv")
    both.to_parquet(tmp_path / "both.parquet")
    for name in ("both.csv", "both.parquet"):
        np.testing.assert_array_equal(read(tmp_path / name, symbol="LOW").columns["Close"], low["Close"])
        np.testing.assert_array_equal(read(tmp_path / name, symbol="OPEN").columns["Low"], opened["Low"])


def test_volume_and_adjusted_close_may_be_absent(prices: Prices, tmp_path: Path) -> None:
    """An index has no volume, an adjusted download no `Adj Close`. Nothing replaces them."""
    prices(30)[["Open", "High", "Low", "Close"]].to_csv(tmp_path / "VIX.csv")
    assert list(read(tmp_path / "VIX.csv").columns) == ["Open", "High", "Low", "Close"]


@pytest.mark.parametrize("zone", ["America/New_York", "Asia/Tokyo"])
def test_times_with_an_offset_are_moved_to_the_zone_of_the_exchange(prices: Prices, tmp_path: Path, zone: str) -> None:
    """Midnight of the zone, written in UTC (for Tokyo on the previous day), becomes the correct date."""
    frame = prices(120)
    moved = frame.set_axis(frame.index.tz_localize(zone).tz_convert("UTC").rename("Date"))
    moved.to_csv(tmp_path / "utc.csv")
    table = read(tmp_path / "utc.csv", zone=zone)
    assert table.checksum == to_table(from_frame(frame, origin="x", symbol="SPY"), rules=ReadRules()).checksum
