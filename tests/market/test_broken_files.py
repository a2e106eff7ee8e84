"""Broken files: each yields one message with file, column and first bad row, and leaves no files."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from click.testing import CliRunner

from scalecore.api.errors import DataError, ExperimentError
from scalecore_market.cli import data
from scalecore_market.options import ReadRules
from scalecore_market.sources import read_raw
from scalecore_market.validate import to_table

Prices = Callable[..., Any]


def _set(row: int, column: str, value: object) -> Callable[[Any], Any]:
    def change(frame: Any) -> Any:
        frame = frame.astype({column: object})
        frame.iloc[row, frame.columns.get_loc(column)] = value
        return frame

    return change


def _twice(frame: Any) -> Any:
    return pd.concat([frame[:13], frame[12:]])


def _swapped(frame: Any) -> Any:
    return pd.concat([frame[:10], frame[11:12], frame[10:11], frame[12:]])


def _gap(frame: Any) -> Any:
    return frame.drop(frame.index[12:18])


def _utc(frame: Any) -> Any:
    return frame.set_axis(frame.index.tz_localize("America/New_York").tz_convert("UTC").rename("Date"))


def _shifted(frame: Any) -> Any:
    return frame.set_axis((frame.index - pd.Timedelta(days=1)).rename("Date"))


def _clock(frame: Any) -> Any:
    return frame.set_axis((frame.index + pd.Timedelta(hours=16)).rename("Date"))


def _dates(value: str) -> Callable[[Any], Any]:
    def change(frame: Any) -> Any:
        stamps = [str(day.date()) for day in frame.index]
        stamps[5] = value
        return frame.set_axis(pd.Index(stamps, name="Date"))

    return change


def _low(frame: Any) -> Any:
    frame.iloc[20, 1] = 50.0
    frame.iloc[20, 2] = 51.0
    return frame


def _wild(frame: Any) -> Any:
    frame.iloc[9] = [2.58, 13.5, 12.9, 13.1, 13.1, 100]
    return frame


MIDNIGHT = "the time is not midnight, so the day is ambiguous; "
ZONE = "set the time zone of the exchange (zone: America/New_York)"
BROKEN: dict[str, tuple[Callable[[Any], Any], str]] = {
    "gap in the dates": (
        _gap,
        "column Date: line 14 (2001-01-26): 9 days after the previous row, 2001-01-17: a gap in the data (max_gap: 7)",
    ),
    "gap in a column": (
        _set(14, "Close", ""),
        "column Close: line 16 (2001-01-22): the number is missing, a gap in the data",
    ),
    "null, as Yahoo wrote it": (
        _set(14, "Open", "null"),
        "column Open: line 16 (2001-01-22): the number is missing, a gap in the data",
    ),
    "infinity": (_set(3, "Volume", "inf"), "column Volume: line 5 (2001-01-05): inf is not a price or volume"),
    "duplicate dates": (_twice, "column Date: line 15 (2001-01-18): the date appears twice"),
    "unsorted": (
        _swapped,
        "column Date: line 13 (2001-01-16): the date does not follow 2001-01-17; sort the file by date",
    ),
    "high below low": (_low, "column High: line 22 (2001-01-30): high 50 is below low 51"),
    "zero price": (_set(6, "Low", 0.0), "column Low: line 8 (2001-01-10): the price is zero"),
    "negative price": (
        _set(6, "Adj Close", -2.5),
        "column Adj Close: line 8 (2001-01-10): the price is -2.5, below zero",
    ),
    "negative volume": (_set(6, "Volume", -1), "column Volume: line 8 (2001-01-10): the volume is -1, below zero"),
    "open outside of low and high": (
        _wild,
        "column Open: line 11 (2001-01-15): open 2.58 is not between low 12.9 and high 13.5",
    ),
    "text in a column": (
        _set(7, "High", "n.a. (halted)"),
        "column High: line 9 (2001-01-11): 'n.a. (halted)' is text, not a number",
    ),
    "wrong time zone, with an offset": (
        _utc,
        f"column Date: line 2 (2001-01-02 05:00:00+00:00): {MIDNIGHT}{ZONE}",
    ),
    "wrong time zone, a day off": (
        _shifted,
        "column Date: line 6 (2001-01-07): a Sunday is not a trading day; 8 such rows; the times may be in the wrong "
        "zone",
    ),
    "times of day without a zone": (
        _clock,
        f"column Date: line 2 (2001-01-02 16:00:00): {MIDNIGHT}write plain dates, or set the time zone (zone: "
        "America/New_York)",
    ),
    "another way to write dates": (
        _dates("01/09/2001"),
        "column Date: line 7: '01/09/2001' is not a date such as 2001-01-22; set the date format: read: "
        "{date_format: '%m/%d/%Y' or '%d/%m/%Y'}",
    ),
    "seconds since 1970": (
        _dates("1009929600"),
        "column Date: line 7: '1009929600' is not a date such as 2001-01-22; set the date format: read: "
        "{date_format: unix}",
    ),
    "an impossible date": (_dates("2001-02-30"), "column Date: line 7: '2001-02-30' is not a date such as 2001-01-22"),
    "a missing date": (_dates(""), "column Date: line 7: the date is missing"),
    "a missing column": (
        lambda frame: frame.drop(columns="Low"),
        "column Low is missing; the file has Open, High, Close, Adj Close, Volume. Name the columns: read: "
        "{columns: {low: ...}}",
    ),
    "no rows": (lambda frame: frame[:0], "the file has no rows"),
}

ON_THE_COMMAND_LINE = {
    "another way to write dates": "column Date: line 7: '01/09/2001' is not a date such as 2001-01-22; set the date "
    "format: --date-format '%m/%d/%Y' or '%d/%m/%Y'",
    "seconds since 1970": "column Date: line 7: '1009929600' is not a date such as 2001-01-22; set the date "
    "format: --date-format unix",
    "a missing column": "column Low is missing; the file has Open, High, Close, Adj Close, Volume. Name the columns: "
    "--column low=...",
}
"""Messages of the commands, with options of the command line."""


@pytest.mark.parametrize("case", BROKEN)
def test_a_broken_file_is_named_with_its_column_and_first_bad_row(case: str, prices: Prices, tmp_path: Path) -> None:
    """The message has file, column and line; the store is not created."""
    change, expected = BROKEN[case]
    change(prices(40)).to_csv(tmp_path / "SPY.csv")
    with pytest.raises(DataError) as caught:
        to_table(read_raw(tmp_path / "SPY.csv", symbol="SPY"), rules=ReadRules())
    assert str(caught.value) == f"SPY.csv: {expected}"
    result = CliRunner().invoke(data, ["ingest", str(tmp_path / "SPY.csv"), "--store", str(tmp_path / "store")])
    assert str(result.exception) == f"SPY.csv: {ON_THE_COMMAND_LINE.get(case, expected)}"
    assert not (tmp_path / "store").exists()


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (_twice, "column Date: row 13 (2001-01-18): the date appears twice"),
        (
            _utc,
            f"column Date: row 0 (2001-01-02T05:00:00+00:00): {MIDNIGHT}{ZONE}",
        ),
        (_low, "column High: row 20 (2001-01-30): high 50 is below low 51"),
    ],
)
def test_rows_of_parquet_are_counted_from_zero(
    change: Callable[[Any], Any], expected: str, prices: Prices, tmp_path: Path
) -> None:
    """Without lines, the row is that of the table, as everywhere in scalecore."""
    change(prices(40)).to_parquet(tmp_path / "SPY.parquet")
    with pytest.raises(DataError, match=re.escape(f"SPY.parquet: {expected}")):
        to_table(read_raw(tmp_path / "SPY.parquet", symbol="SPY"), rules=ReadRules())


def test_text_in_a_parquet_column_is_found(prices: Prices, tmp_path: Path) -> None:
    """A column of text has prices in all rows but one."""
    frame = prices(40).astype({"Close": str})
    frame.iloc[11, 3] = "closed"
    frame.to_parquet(tmp_path / "SPY.parquet")
    with pytest.raises(DataError) as caught:
        to_table(read_raw(tmp_path / "SPY.parquet", symbol="SPY"), rules=ReadRules())
    assert str(caught.value) == "SPY.parquet: column Close: row 11 (2001-01-17): 'closed' is text, not a number"


@pytest.mark.parametrize("share", [0.0, 0.3, 0.99])
def test_a_truncated_parquet_file_is_reported(share: float, prices: Prices, tmp_path: Path) -> None:
    """The store does not change."""
    whole = tmp_path / "SPY.parquet"
    prices(400).to_parquet(whole)
    whole.write_bytes(whole.read_bytes()[: int(share * whole.stat().st_size)])
    result = CliRunner().invoke(data, ["ingest", str(whole), "--store", str(tmp_path / "store")])
    assert isinstance(result.exception, DataError)
    assert re.fullmatch(
        r"SPY\.parquet cannot be read: the file is truncated or not parquet \(.+\); download it again",
        str(result.exception),
    )
    assert not (tmp_path / "store").exists()


def test_a_truncated_csv_file_is_reported_with_its_line(prices: Prices, tmp_path: Path) -> None:
    """The last line is incomplete."""
    text = prices(40).to_csv()
    (tmp_path / "SPY.csv").write_text(text[: text.rindex(",") - 20])
    with pytest.raises(DataError) as caught:
        read_raw(tmp_path / "SPY.csv", symbol="SPY")
    assert str(caught.value) == (
        "SPY.csv: line 41 has 5 cells, the header has 7; the line is truncated or has an extra comma, or its decimal "
        "mark is a comma"
    )


def test_dates_that_one_of_several_symbols_lacks_are_reported(prices: Prices, tmp_path: Path) -> None:
    """Each symbol is a separate series, so none is refused for another's holidays; both differences are reported."""
    spy, vix = prices(40), prices(60, seed=1, base=20.0)
    spy.drop(spy.index[5]).to_csv(tmp_path / "SPY.csv")
    vix.drop(vix.index[[12, 20]]).to_csv(tmp_path / "VIX.csv")
    files = [str(tmp_path / "SPY.csv"), str(tmp_path / "VIX.csv")]
    result = CliRunner().invoke(data, ["ingest", *files, "--store", str(tmp_path / "store")])
    assert result.exit_code == 0
    assert result.output == (
        "note: VIX.csv lacks 2 dates of SPY.csv, first 2001-01-18\n"
        "note: SPY.csv lacks 1 date of VIX.csv, first 2001-01-09\n"
        "SPY.OHLCV.daily  version 1  39 rows  2001-01-02 .. 2001-02-26  new\n"
        "VIX.OHLCV.daily  version 1  58 rows  2001-01-02 .. 2001-03-26  new\n"
    )


def test_an_unknown_zone_is_reported_with_an_example(prices: Prices, tmp_path: Path) -> None:
    """A misspelt zone is an error of the experiment, not of the data."""
    prices(5).to_csv(tmp_path / "SPY.csv")
    with pytest.raises(ValueError) as caught:  # noqa: PT011 - the whole message is compared
        ReadRules(zone="New York")
    assert str(caught.value) == "zone: unknown time zone 'New York'; use a name such as America/New_York"
    arguments = ["ingest", str(tmp_path / "SPY.csv"), "--store", str(tmp_path / "store"), "--zone", "New York"]
    error = CliRunner().invoke(data, arguments).exception
    assert isinstance(error, ExperimentError)
    assert str(error) == "--zone: unknown time zone 'New York'; use a name such as America/New_York"


def test_files_of_another_kind_and_missing_files_are_reported(tmp_path: Path) -> None:
    """Neither is opened as a table."""
    (tmp_path / "SPY.xlsx").write_bytes(b"PK")
    with pytest.raises(DataError) as caught:
        read_raw(tmp_path / "SPY.xlsx", symbol="SPY")
    assert str(caught.value) == (
        "SPY.xlsx: the suffix '.xlsx' is unknown; use .parquet, .pq, .csv or .csv.gz; also .tsv and .txt, and "
        "compressed as .bz2, .xz, .zst or .zip"
    )
    with pytest.raises(DataError) as caught:
        read_raw(tmp_path / "SPY.csv", symbol="SPY")
    assert str(caught.value) == f"{tmp_path / 'SPY.csv'}: there is no such file"
