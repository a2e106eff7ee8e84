"""Prices of other vendors and markets: each refusal contains the option that reads the file."""

from __future__ import annotations

import gzip
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from click.testing import CliRunner

from scalecore.api.errors import DataError
from scalecore.api.panel import Panel
from scalecore_market.cli import data
from scalecore_market.dataset import MarketDataset
from scalecore_market.options import MarketOptions, ReadRules, VendorColumns
from scalecore_market.sources import read_raw
from scalecore_market.table import PriceTable
from scalecore_market.validate import to_table

Prices = Callable[..., Any]


def read(path: Path, *, symbol: str = "SPY", columns: dict[str, str] | None = None, **rules: Any) -> PriceTable:
    reading = ReadRules(columns=VendorColumns(**(columns or {})), **rules)
    return to_table(read_raw(path, symbol=symbol, rules=reading), rules=reading)


def refusal(path: Path, **options: Any) -> str:
    with pytest.raises(DataError) as caught:
        read(path, **options)
    assert str(caught.value).startswith(f"{path.name}")
    return str(caught.value).removeprefix(path.name).removeprefix(": ").removeprefix(" ")


@pytest.fixture
def plain(prices: Prices) -> Any:
    """Prices without an adjusted close, which some vendors do not offer."""
    return prices(60).drop(columns="Adj Close").round(4)


@pytest.fixture
def checksum(plain: Any, tmp_path: Path) -> str:
    """The checksum of these prices in Yahoo's format."""
    plain.to_csv(tmp_path / "expected.csv")
    return read(tmp_path / "expected.csv").checksum


# Symbols


def two(plain: Any, name: str = "Symbol") -> Any:
    other = plain.assign(**{price: plain[price] * 2 for price in ("Open", "High", "Low", "Close")})
    return pd.concat([plain.assign(**{name: "SPY"}), other.assign(**{name: "QQQ"})])


@pytest.mark.parametrize("name", ["Symbol", "ticker", "<TICKER>", "Name", "Fund"])
def test_the_rows_of_the_symbol_are_read(name: str, plain: Any, checksum: str, tmp_path: Path) -> None:
    """Stacked or interleaved, in a column of any name, as text, categories or an index level: one checksum."""
    stacked = two(plain, name)
    mixed = stacked.sort_index(kind="stable")
    stacked.to_csv(tmp_path / "stacked.csv")
    mixed.to_csv(tmp_path / "mixed.csv")
    mixed.to_parquet(tmp_path / "mixed.parquet")
    mixed.astype({name: "category"}).to_parquet(tmp_path / "categories.parquet")
    stacked.set_index(name, append=True).to_parquet(tmp_path / "index.parquet")
    found = {path.name: read(path).checksum for path in tmp_path.iterdir()}
    assert found == dict.fromkeys(found, checksum)


def test_a_file_of_that_symbol_alone_is_the_same_table(plain: Any, checksum: str, tmp_path: Path) -> None:
    """A column with only the requested symbol has no effect, whatever its spelling."""
    for name in ("SPY", "spy", "^SPY", " SPY"):
        plain.assign(Symbol=name).to_csv(tmp_path / "a.csv")
        assert read(tmp_path / "a.csv").checksum == checksum


@pytest.mark.parametrize("column", ["Symbol", "Ticker", "Name", "code"])
def test_a_file_whose_column_names_another_symbol_is_refused(column: str, plain: Any, tmp_path: Path) -> None:
    """The message lists the file's symbols."""
    plain.assign(**{column: "QQQ"}).to_csv(tmp_path / "a.csv")
    expected = (
        f"the file contains QQQ, not SPY (column {column}); use a file of SPY, or a symbol of this file, such as QQQ"
    )
    assert refusal(tmp_path / "a.csv") == expected
    result = CliRunner().invoke(data, ["ingest", f"SPY={tmp_path / 'a.csv'}", "--store", str(tmp_path / "store")])
    assert str(result.exception) == f"a.csv: {expected}"
    two(plain, column).to_csv(tmp_path / "b.csv")
    assert refusal(tmp_path / "b.csv", symbol="DIA") == (
        f"the file contains SPY, QQQ, not DIA (column {column}); use a file of DIA, or a symbol of this file, such as "
        "SPY"
    )


def test_a_row_without_a_symbol_is_refused(plain: Any, tmp_path: Path) -> None:
    """It may belong to any symbol."""
    frame = plain.assign(Symbol="SPY")
    frame.iloc[7, -1] = None
    frame.to_csv(tmp_path / "a.csv")
    assert refusal(tmp_path / "a.csv") == "column Symbol: line 9: there is no symbol"


def test_names_of_companies_and_currencies_are_no_symbols(plain: Any, checksum: str, tmp_path: Path) -> None:
    """Columns with other facts about the symbol are ignored."""
    others = {"Name": "SPDR S&P 500", "Currency": "USD", "Interval": "1d", "ISIN": "US78462F1030"}
    plain.assign(**others).to_csv(tmp_path / "a.csv")
    assert read(tmp_path / "a.csv").checksum == checksum


def test_special_characters_of_a_symbol_become_hyphens(plain: Any, tmp_path: Path) -> None:
    """The symbol in the message can be used in an experiment and finds its rows."""
    frame = two(plain).replace({"SPY": "BTC/USD", "QQQ": "SPY US Equity"})
    frame.to_csv(tmp_path / "a.csv")
    assert refusal(tmp_path / "a.csv") == (
        "the file contains BTC-USD, SPY-US-EQUITY, not SPY (column Symbol); use a file of SPY, or a symbol of this "
        "file, such as BTC-USD"
    )
    taken = [MarketOptions(symbol=symbol, file=tmp_path / "a.csv").symbol for symbol in ("BTC-USD", "SPY-US-Equity")]
    assert [len(read(tmp_path / "a.csv", symbol=symbol)) for symbol in taken] == [60, 60]


def test_duplicate_dates_suggest_a_column_that_names_series(plain: Any, tmp_path: Path) -> None:
    """The message shows how to name the column, which then works."""
    frame = two(plain, "Region").replace({"SPY": "US", "QQQ": "EU"})
    frame.sort_index(kind="stable").to_csv(tmp_path / "a.csv")
    assert refusal(tmp_path / "a.csv") == (
        "column Date: line 3 (2001-01-02): the date appears twice; 60 such rows; column Region contains 2 values "
        "(US, EU): if they name series, write read: {columns: {symbol: Region}}, and use one of them as the symbol"
    )
    assert len(read(tmp_path / "a.csv", symbol="EU", columns={"symbol": "Region"})) == 60


def test_several_series_without_a_distinguishing_column_are_reported(plain: Any, tmp_path: Path) -> None:
    """Interleaved, and one below the other."""
    frame = two(plain).drop(columns="Symbol")
    several = "the file seems to contain several series, without a column that distinguishes them: keep one of them"
    frame.sort_index(kind="stable").to_csv(tmp_path / "a.csv")
    assert refusal(tmp_path / "a.csv") == (
        f"column Date: line 3 (2001-01-02): the date appears twice; 60 such rows; {several}"
    )
    frame.to_csv(tmp_path / "b.csv")
    assert refusal(tmp_path / "b.csv") == (
        f"column Date: line 62 (2001-01-02): the date does not follow 2001-03-26; {several}"
    )


# Vendors


def test_alpha_vantage_and_yahoo_pages_are_read_without_options(plain: Any, checksum: str, tmp_path: Path) -> None:
    """Numbered names, newest first; stars after names."""
    names = {"Open": "1. open", "High": "2. high", "Low": "3. low", "Close": "4. close", "Volume": "5. volume"}
    plain.rename(columns=names).rename_axis("timestamp")[::-1].to_csv(tmp_path / "alpha.csv")
    plain.rename(columns={"Close": "Close*"}).to_csv(tmp_path / "page.csv")
    assert read(tmp_path / "alpha.csv").checksum == read(tmp_path / "page.csv").checksum == checksum


GERMAN = {
    "date": "Datum",
    "open": "Eröffnung",
    "high": "Hoch",
    "low": "Tief",
    "close": "Schlusskurs",
    "volume": "Stück",
}


def german(plain: Any) -> str:
    frame = plain.reset_index().rename(columns={name.capitalize(): word for name, word in GERMAN.items()})
    frame["Datum"] = frame["Datum"].dt.strftime("%d.%m.%Y")
    text: str = frame.to_csv(index=False, sep=";", decimal=",")
    return text


def test_a_german_file_is_read_option_by_option(plain: Any, checksum: str, tmp_path: Path) -> None:
    """Each message suggests the next option, until the table equals Yahoo's."""
    path = tmp_path / "a.csv"
    path.write_bytes(german(plain).encode("cp1252"))
    options: dict[str, Any] = {}
    steps: list[tuple[str, dict[str, Any]]] = [
        (
            "line 1 contains the byte 0xf6, which is not UTF-8. In Windows-1252 it reads 'Eröffnung': if that is "
            "right, write read: {encoding: cp1252}, or save the file as UTF-8",
            {"encoding": "cp1252"},
        ),
        (
            "the header has one cell, 'Datum;Eröffnung;Hoch;Tief;Schlusskurs;Stück': the separator is different; "
            "write read: {separator: ';', decimal: ','}",
            {"separator": ";"},
        ),
        (
            "there is no column Date; the columns are Datum, Eröffnung, Hoch, Tief, Schlusskurs, Stück. Name the "
            "columns: read: {columns: {date: Datum, open: Eröffnung, high: Hoch, low: Tief, close: Schlusskurs}}",
            {"columns": GERMAN},
        ),
        (
            "column Date: line 2: '02.01.2001' is not a date such as 2001-01-22; set the date format: read: "
            "{date_format: '%d.%m.%Y'}",
            {"date_format": "%d.%m.%Y"},
        ),
        (
            "column Open: line 2 (02.01.2001): '99,4822' is a number with a decimal comma: write read: {decimal: ','}",
            {"decimal": ","},
        ),
    ]
    for message, option in steps:
        assert re.sub(r"'\d+,\d+'", "'99,4822'", refusal(path, **options)) == message
        options |= option
    assert read(path, **options).checksum == checksum


def test_nasdaq_writes_dollars_and_american_dates(plain: Any, checksum: str, tmp_path: Path) -> None:
    """`Close/Last` is mapped by the option; currency signs are ignored."""
    frame = plain.astype(str)
    for name in ("Open", "High", "Low", "Close"):
        frame[name] = "$" + frame[name]
    frame = frame.rename(columns={"Close": "Close/Last"}).set_axis(
        pd.Index(plain.index.strftime("%m/%d/%Y"), name="Date")
    )
    frame[["Close/Last", "Volume", "Open", "High", "Low"]][::-1].to_csv(tmp_path / "a.csv")
    columns = {"close": "Close/Last"}
    assert refusal(tmp_path / "a.csv") == (
        "column Close is missing; the file has Close/Last, Volume, Open, High, Low. Name the columns: read: "
        "{columns: {close: Close/Last}}"
    )
    assert read(tmp_path / "a.csv", columns=columns, date_format="%m/%d/%Y").checksum == checksum


def test_stooq_writes_angle_brackets_and_eight_digits(plain: Any, checksum: str, tmp_path: Path) -> None:
    """Text files of its archive, with a column of symbols."""
    frame = plain.reset_index().rename(columns=lambda name: f"<{name.upper()}>").rename(columns={"<VOLUME>": "<VOL>"})
    frame["<DATE>"] = plain.index.strftime("%Y%m%d")
    frame.insert(0, "<TICKER>", "SPY.US")
    frame.insert(1, "<PER>", "D")
    frame.to_csv(tmp_path / "spy.us.txt", index=False)
    assert refusal(tmp_path / "spy.us.txt") == (
        "the file contains SPY.US, not SPY (column <TICKER>); use a file of SPY, or a symbol of this file, such as "
        "SPY.US"
    )
    assert refusal(tmp_path / "spy.us.txt", symbol="SPY.US").endswith("read: {date_format: '%Y%m%d'}")
    table = read(tmp_path / "spy.us.txt", symbol="SPY.US", date_format="%Y%m%d", columns={"volume": "<VOL>"})
    assert table.checksum == checksum


def test_compressed_files_are_read(plain: Any, checksum: str, tmp_path: Path) -> None:
    """The symbol of `ingest` is the name without its suffixes."""
    for suffix in ("gz", "bz2", "xz", "zip"):
        plain.to_csv(tmp_path / f"SPY.csv.{suffix}")
        assert read(tmp_path / f"SPY.csv.{suffix}").checksum == checksum
    result = CliRunner().invoke(data, ["ingest", str(tmp_path / "SPY.csv.gz"), "--store", str(tmp_path / "store")])
    assert result.output == "SPY.OHLCV.daily  version 1  60 rows  2001-01-02 .. 2001-03-26  new\n"
    plain.to_csv(tmp_path / "BRK.B.csv.gz")
    result = CliRunner().invoke(data, ["ingest", str(tmp_path / "BRK.B.csv.gz"), "--store", str(tmp_path / "store")])
    assert result.output.startswith("BRK.B.OHLCV.daily  version 1")
    (tmp_path / "a.csv").write_bytes(gzip.compress(b"Date"))
    assert refusal(tmp_path / "a.csv") == "is compressed with gzip: rename it to a.csv.gz"


def test_a_missing_column_name_is_reported_with_the_existing_ones(plain: Any, tmp_path: Path) -> None:
    """A mapping is never silently ignored."""
    plain.to_csv(tmp_path / "a.csv")
    assert refusal(tmp_path / "a.csv", columns={"close": "Last"}) == (
        "there is no column 'Last' (read.columns.close); the columns are Open, High, Low, Close, Volume"
    )


def test_the_commands_accept_and_report_the_same_options(plain: Any, checksum: str, tmp_path: Path) -> None:
    """Messages show options in the form of the command line."""
    (tmp_path / "a.csv").write_text(german(plain))
    ingest = ["ingest", f"SPY={tmp_path / 'a.csv'}", "--store", str(tmp_path / "store")]
    ingest += ["--separator", ";", "--decimal", ","]
    assert str(CliRunner().invoke(data, ingest).exception) == (
        "a.csv: there is no column Date; the columns are Datum, Eröffnung, Hoch, Tief, Schlusskurs, Stück. Name the "
        "columns: --column date=Datum --column open=Eröffnung --column high=Hoch --column low=Tief --column "
        "close=Schlusskurs"
    )
    for role, name in GERMAN.items():
        ingest += ["--column", f"{role}={name}"]
    assert str(CliRunner().invoke(data, ingest).exception).endswith("set the date format: --date-format '%d.%m.%Y'")
    assert CliRunner().invoke(data, [*ingest, "--date-format", "%d.%m.%Y"]).exit_code == 0
    assert PriceTable.read(tmp_path / "store" / "raw" / "SPY.OHLCV.daily.v1.parquet").checksum == checksum
    wrong = CliRunner().invoke(data, [*ingest, "--column", "last=x"])
    assert str(wrong.exception) == (
        "--column: 'last=x' is not ROLE=NAME; the roles are date, open, high, low, close, adj_close, volume, symbol"
    )


# Calendars


def all_days(plain: Any) -> Any:
    return plain.set_axis(pd.date_range("2020-01-01", periods=len(plain), name="Date"))


def test_a_market_of_seven_days_has_its_calendar(plain: Any, tmp_path: Path) -> None:
    """The message suggests it instead of a zone; gaps are still found."""
    frame = all_days(plain)
    frame.to_csv(tmp_path / "a.csv")
    assert refusal(tmp_path / "a.csv", symbol="BTC-USD") == (
        "column Date: line 5 (2020-01-04): a Saturday is not a trading day; 17 such rows; if the market trades on "
        "weekends, write read: {calendar: daily}"
    )
    assert len(read(tmp_path / "a.csv", symbol="BTC-USD", calendar="daily")) == 60
    frame.drop(frame.index[10:20]).to_csv(tmp_path / "b.csv")
    assert refusal(tmp_path / "b.csv", calendar="daily") == (
        "column Date: line 12 (2020-01-21): 11 days after the previous row, 2020-01-10: a gap in the data (max_gap: 7)"
    )


def test_seconds_since_1970_are_days(plain: Any, tmp_path: Path) -> None:
    """In seconds and milliseconds, as in files of crypto exchanges."""
    frame = all_days(plain)
    frame.to_csv(tmp_path / "a.csv")
    expected = read(tmp_path / "a.csv", calendar="daily").checksum
    for form, unit in (("unix", "s"), ("unix_ms", "ms")):
        count = frame.index.to_numpy().astype(f"datetime64[{unit}]").astype(int)
        frame.set_axis(pd.Index(count, name="time")).to_csv(tmp_path / "b.csv")
        assert read(tmp_path / "b.csv", calendar="daily", date_format=form).checksum == expected


def panel(file: Path, **options: Any) -> Panel:
    return MarketDataset(MarketOptions(symbol="SPY", file=file, warm_up="own", **options)).panel()


@pytest.mark.parametrize(
    ("calendar", "text"),
    [
        ("sessions", None),
        ("business", "a.csv: 2 of 60 days of the calendar business are missing, first 2001-01-16"),
        ("daily", "a.csv: 26 of 84 days of the calendar daily are missing, first 2001-01-06"),
    ],
)
def test_days_of_the_calendar_that_are_missing_are_counted(
    calendar: Any, text: str | None, plain: Any, tmp_path: Path
) -> None:
    """Only `sessions` expects holidays; for the others the plan has a note."""
    plain.drop(plain.index[[10, 20]]).to_csv(tmp_path / "a.csv")
    found = panel(tmp_path / "a.csv", tier=["close"], read=ReadRules(calendar=calendar))
    assert found.details.get("notes") == (None if text is None else [text])


def test_local_times_of_a_named_zone_are_days(plain: Any, checksum: str, tmp_path: Path) -> None:
    """Bars with the time of the close."""
    plain.set_axis((plain.index + pd.Timedelta(hours=16)).rename("Date")).to_csv(tmp_path / "a.csv")
    assert read(tmp_path / "a.csv", zone="America/New_York").checksum == checksum


# The VIX

VIX: dict[str, Any] = {"tier": ["close", "vix_close"]}


@pytest.fixture
def pair(plain: Any, prices: Prices, tmp_path: Path) -> tuple[Path, Any]:
    plain.to_csv(tmp_path / "SPY.csv")
    return tmp_path / "SPY.csv", prices(60, seed=1, base=20.0)


def test_only_the_closes_of_the_vix_must_be_right(pair: tuple[Path, Any], tmp_path: Path) -> None:
    """A wrong open, a missing high, or only closes: the feature is the same, with a note."""
    file, vix = pair
    paths = [tmp_path / name for name in ("good.csv", "open.csv", "high.csv", "close.csv")]
    vix.to_csv(paths[0])
    vix.assign(Open=vix["Open"].where(np.arange(60) != 9, 999.0)).to_csv(paths[1])
    vix.assign(High=vix["High"].where(np.arange(60) != 9, np.nan)).to_csv(paths[2])
    vix[["Close"]].to_csv(paths[3])
    panels = [panel(file, vix_file=path, **VIX) for path in paths]
    for one in panels:
        np.testing.assert_array_equal(one.values, panels[0].values)
    low, high = vix["Low"].iloc[9], vix["High"].iloc[9]
    assert [one.details.get("notes") for one in panels] == [
        None,
        [
            f"open.csv: column Open: line 11 (2001-01-15): open 999 is not between low {low:g} and high {high:g}; only "
            "the closes of this file are used"
        ],
        [
            "high.csv: column High: line 11 (2001-01-15): the number is missing, a gap in the data; only the closes of "
            "this file are used"
        ],
        None,
    ]
    (tmp_path / "bad.csv").write_text(vix.to_csv().replace("2001-01-15,", "2001-01-15,x", 1))
    assert len(panel(file, vix_file=tmp_path / "bad.csv", **VIX).details["notes"]) == 1
    vix.assign(Close=0.0).to_csv(tmp_path / "zero.csv")
    with pytest.raises(DataError) as caught:
        panel(file, vix_file=tmp_path / "zero.csv", **VIX)
    assert str(caught.value) == "zero.csv: column Close: line 2 (2001-01-02): the price is zero; 60 such rows"


def test_the_store_keeps_the_closes_of_a_vix_too(pair: tuple[Path, Any], tmp_path: Path) -> None:
    """`ingest` reports why the other columns were ignored, and `build` uses the closes."""
    file, vix = pair
    vix.assign(Open=vix["Open"].where(np.arange(60) != 9, 999.0)).to_csv(tmp_path / "VIX.csv")
    store = ["--store", str(tmp_path / "store")]
    result = CliRunner().invoke(data, ["ingest", str(file), str(tmp_path / "VIX.csv"), *store])
    assert result.exit_code == 0
    assert result.output.startswith("note: VIX.csv: column Open: line 11 (2001-01-15): open 999 is not between")
    built = CliRunner().invoke(data, ["build", "SPY", "--tier", "vix_close", *store])
    assert built.exit_code == 0
    alone = CliRunner().invoke(data, ["build", "VIX", "--tier", "close", *store])
    assert isinstance(alone.exception, DataError)
    assert str(alone.exception) == "this table has closes only, no Open, High, Low: features cannot be computed"


def test_a_vix_of_another_vendor_is_read_by_its_own_options(pair: tuple[Path, Any], tmp_path: Path) -> None:
    """FRED names the column after the series and leaves holidays empty; the notes report the handling."""
    file, vix = pair
    fred = vix[["Close"]].rename(columns={"Close": "VIXCLS"}).rename_axis("observation_date").astype(object)
    fred.iloc[[20, 30], 0] = ["", "."]
    fred.to_csv(tmp_path / "fred.csv")
    given = {**VIX, "vix_file": tmp_path / "fred.csv"}
    with pytest.raises(DataError) as caught:
        panel(file, **given)
    assert str(caught.value) == (
        "fred.csv: there is no column Date; the columns are observation_date, VIXCLS. Name the columns: "
        "vix_read: {columns: {date: observation_date, close: ...}}"
    )
    given["vix_read"] = ReadRules(columns=VendorColumns(date="observation_date", close="VIXCLS"))
    with pytest.raises(DataError) as caught:
        panel(file, **given)
    assert str(caught.value) == (
        "fred.csv: column Date: 2001-01-30 is missing, a trading day of SPY.csv; 2 such days. Complete the file, set "
        "`end`, or use the previous value with `vix_missing: previous`"
    )
    found = panel(file, vix_missing="previous", **given)
    assert found.details["notes"] == [
        "fred.csv: 2 rows without a close are skipped, first line 22 (2001-01-30)",
        "fred.csv: 2 days of SPY.csv use the previous value, first 2001-01-30",
    ]
    assert found.values[20, 1] == found.values[19, 1] == vix["Close"].iloc[19]


def test_days_of_the_vix_without_prices_are_counted(plain: Any, prices: Prices, tmp_path: Path) -> None:
    """A holiday of the exchange on which the VIX has a value."""
    plain.drop(plain.index[[10, 20]]).to_csv(tmp_path / "SPY.csv")
    prices(60, seed=1, base=20.0).to_csv(tmp_path / "VIX.csv")
    found = panel(tmp_path / "SPY.csv", vix_file=tmp_path / "VIX.csv", **VIX)
    assert found.details["notes"] == ["VIX.csv: 2 days without a row of SPY.csv are ignored, first 2001-01-16"]
