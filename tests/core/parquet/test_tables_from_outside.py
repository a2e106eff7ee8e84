"""Tables of other programs: read directly, read with an option, or refused with the cause."""

from __future__ import annotations

import bz2
import gzip
import lzma
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from scalecore.api.dataset_options import ReadOptions
from scalecore.api.errors import DataError
from scalecore.api.panel import Panel
from scalecore.builtin.options_dataset import ParquetOptions, PriceTarget
from scalecore.builtin.parquet import ParquetDataset
from scalecore.data.prepare import describe
from scalecore.data.table_files import number_of

REPOSITORY = Path(__file__).parents[3]
SPY = REPOSITORY / "examples" / "data" / "spy_daily.parquet"
ONE_SERIES = "keep the rows of one series; studies over many series are not supported yet"


def bars(rows: int = 300) -> pd.DataFrame:
    return pd.read_parquet(SPY).iloc[:rows]


def hourly(rows: int = 7000, zone: str = "Europe/Berlin") -> pd.DataFrame:
    """Hourly rows from February across both clock changes, in local time."""
    close = np.round(100 + np.cumsum(np.random.default_rng(0).normal(0, 0.1, rows)), 4)
    index = pd.date_range("2020-02-01", periods=rows, freq="h", tz=zone, name="Date")
    return pd.DataFrame({"Close": close, "High": close + 1.0, "Volume": np.arange(rows) * 1.0}, index=index)


def panel_of(path: Path, **options: Any) -> Panel:
    read = {name: options.pop(name) for name in list(options) if name in ReadOptions.__annotations__}
    given = {"features": ["Close", "Volume"], "target": PriceTarget(kind="direction"), "context": 5, **options}
    return ParquetDataset(ParquetOptions(path=path, read=ReadOptions(**read), **given)).panel()


def fingerprint(path: Path, **options: Any) -> str:
    return describe(panel_of(path, **options), min_validation_samples=1, min_validation_positives=1).fingerprint


def refusal(path: Path, **options: Any) -> str:
    with pytest.raises(DataError) as caught:
        panel_of(path, **options)
    assert str(caught.value).startswith(str(path))
    return str(caught.value).removeprefix(str(path)).removeprefix(": ").removeprefix(" ")


def written(frame: pd.DataFrame, path: Path, **how: Any) -> Path:
    if path.suffix == ".parquet":
        frame.to_parquet(path, **how)
    else:
        frame.to_csv(path, **how)
    return path


# Several series in one file


def two() -> pd.DataFrame:
    return pd.concat([bars().assign(ticker="SPY"), bars().assign(ticker="QQQ")])


def interleaved() -> pd.DataFrame:
    return two().sort_index(kind="stable")


@pytest.mark.parametrize(
    ("name", "frame", "row"),
    [
        ("interleaved.csv", interleaved(), 1),
        ("interleaved.parquet", interleaved(), 1),
        ("categories.parquet", interleaved().astype({"ticker": "category"}), 1),
        ("index.parquet", two().set_index("ticker", append=True).sort_index(level="Date", sort_remaining=False), 1),
        ("stacked.csv", two(), 300),
    ],
)
def test_several_series_are_reported_with_their_column(
    name: str, frame: pd.DataFrame, row: int, tmp_path: Path
) -> None:
    """Interleaved or consecutive series, named by text, categories or an index level."""
    assert refusal(written(frame, tmp_path / name)) == (
        f"the times do not ascend in row {row} (1993-01-29): column 'ticker' has 2 values (SPY, QQQ), each with "
        f"ascending times, so the file seems to contain several series; {ONE_SERIES}"
    )


def test_a_column_of_any_name_may_separate_series(tmp_path: Path) -> None:
    """A number column of any name counts if the times ascend within each of its values."""
    frame = (
        interleaved().assign(ticker=lambda one: (one["ticker"] == "SPY").astype(int)).rename(columns={"ticker": "k"})
    )
    assert "column 'k' has 2 values (1, 0), each with ascending times" in refusal(written(frame, tmp_path / "a.csv"))


@pytest.mark.parametrize("frame", [two(), interleaved()])
def test_series_without_a_column_are_counted(frame: pd.DataFrame, tmp_path: Path) -> None:
    """Each time occurs once per series."""
    path = written(frame.drop(columns="ticker"), tmp_path / "a.csv")
    assert "each time occurs 2 times, first 1993-01-29" in refusal(path)
    assert refusal(path).endswith(f"the file seems to contain 2 series; {ONE_SERIES}")


def test_a_second_shorter_series_is_reported(tmp_path: Path) -> None:
    """The second series is shorter, so some times occur once."""
    path = written(pd.concat([bars(), bars()[100:200]]), tmp_path / "a.csv")
    assert refusal(path) == (
        "row 300 (1993-06-23) is earlier than row 299 (1994-04-06): the file seems to contain several series, one "
        f"after the other; {ONE_SERIES}, or sort the rows by time if they are one series"
    )


@pytest.mark.parametrize(
    ("column", "values"),
    [
        ("ticker", ("SPY", "QQQ")),
        ("Symbol", ("SPY", "QQQ")),
        ("name", ("SPY", "QQQ")),
        ("stock_symbol", ("SPY", "QQQ")),
        ("id", (1, 2)),
    ],
)
def test_blocks_of_two_series_never_become_one(column: str, values: tuple[Any, Any], tmp_path: Path) -> None:
    """One series ends when the other begins, which only the column shows. A range within one of them is accepted."""
    frame = bars().assign(**{column: [values[0]] * 150 + [values[1]] * 150})
    path = written(frame, tmp_path / "a.csv")
    assert refusal(path) == (
        f"column {column!r} has 2 values ({values[0]}, {values[1]}): the file seems to contain several series. "
        f"K{ONE_SERIES[1:]}. If all rows are one series, remove that column from the file"
    )
    assert len(panel_of(path, end=str(frame.index[149].date())).times) == 150


def test_columns_of_an_ordinary_table_are_not_series(tmp_path: Path) -> None:
    """A constant ticker, regimes, weekdays, row numbers, codes and parts of a split are not series."""
    frame = bars().assign(
        ticker="SPY",
        regime=["calm"] * 7 + ["wild"] * 293,
        day=bars().index.day_name(),
        id=np.arange(300),
        code=np.arange(300) % 7,
        split=["train"] * 200 + ["test"] * 100,
        year=bars().index.year,
    )
    assert fingerprint(written(frame, tmp_path / "a.csv")) == fingerprint(written(bars(), tmp_path / "b.csv"))
    assert panel_of(tmp_path / "a.csv").details["notes"] == [
        "a.csv: column 'regime' has 2 values (calm, wild), one after the other; all rows are treated as one series"
    ]


def test_columns_with_several_levels_are_reported(tmp_path: Path) -> None:
    """A table of yfinance, as parquet and CSV."""
    frame = bars()[["Close", "Volume"]]
    frame.columns = pd.MultiIndex.from_product([frame.columns, ["SPY"]], names=["Price", "Ticker"])
    assert refusal(written(frame, tmp_path / "a.parquet")) == (
        "the columns have 2 levels, such as ('Close', 'SPY'), as in a table of several series; keep one level: the "
        "columns of one series"
    )
    assert refusal(written(frame, tmp_path / "a.csv")) == (
        "line 2 contains no number, 'Ticker, SPY, SPY': the header has 3 lines. Keep one line with the column names"
    )


def test_one_duplicate_row_is_not_a_second_series(tmp_path: Path) -> None:
    """A column that differs between the two rows is not reported."""
    frame = bars().assign(up=lambda one: (one["Close"].diff() > 0).astype(int))
    extra = frame.iloc[[100]].assign(up=1 - frame["up"].iloc[100])
    path = written(pd.concat([frame.iloc[:101], extra, frame.iloc[101:]]), tmp_path / "a.csv")
    assert refusal(path) == "rows 100 and 101 have the same time, 1993-06-23; times must be unique"


def test_a_separate_column_with_the_time_of_day_is_reported(tmp_path: Path) -> None:
    """Without it, dates repeat."""
    frame = hourly(200).tz_localize(None)
    frame.insert(0, "Time", frame.index.strftime("%H:%M"))
    path = written(frame.set_axis(frame.index.normalize().rename("Date")), tmp_path / "a.csv")
    assert refusal(path) == (
        "rows 0 and 1 both have the time 2020-02-01, and column 'Time' seems to contain the time of day; combine date "
        "and time in one column"
    )


# Times


def test_times_of_every_form_are_the_same_moments(tmp_path: Path) -> None:
    """UTC, changing offsets, a typed column, local times of a named zone and seconds have one fingerprint."""
    local = hourly()
    utc = local.tz_convert(None)
    iso = local.set_axis(pd.Index([moment.isoformat() for moment in local.index], name="Date"))
    seconds = utc.set_axis(pd.Index(utc.index.to_numpy().astype("datetime64[s]").astype(int), name="Date"))
    naive = local.tz_localize(None)
    expected = fingerprint(written(utc, tmp_path / "utc.csv"))
    found = {
        "offsets.csv": fingerprint(written(local, tmp_path / "offsets.csv")),
        "iso.csv": fingerprint(written(iso, tmp_path / "iso.csv")),
        "aware.parquet": fingerprint(written(local, tmp_path / "aware.parquet")),
        "naive.csv": fingerprint(written(naive, tmp_path / "naive.csv"), zone="Europe/Berlin"),
        "naive.parquet": fingerprint(written(naive, tmp_path / "naive.parquet"), zone="Europe/Berlin"),
        "unix.csv": fingerprint(written(seconds, tmp_path / "unix.csv"), date_format="unix"),
    }
    assert found == dict.fromkeys(found, expected)


def test_offsets_that_change_are_moments_in_utc(tmp_path: Path) -> None:
    """The offset distinguishes the two hours of a clock change."""
    local = hourly()
    times = panel_of(written(local, tmp_path / "a.csv")).times
    np.testing.assert_array_equal(times, local.index.tz_convert(None).to_numpy())
    assert (np.diff(times) == np.timedelta64(1, "h")).all()


def test_midnights_with_offsets_that_change_are_days(tmp_path: Path) -> None:
    """Daily bars at midnight in New York keep their date in winter and summer, as in a typed column."""
    local = bars().tz_localize("America/New_York")
    for name in ("a.csv", "a.parquet"):
        np.testing.assert_array_equal(panel_of(written(local, tmp_path / name)).times, bars().index.to_numpy())


def test_midnights_written_in_utc_are_days_in_their_zone(tmp_path: Path) -> None:
    """Midnight in Tokyo is the previous evening in UTC."""
    moved = bars().tz_localize("Asia/Tokyo").tz_convert("UTC")
    times = panel_of(written(moved, tmp_path / "a.csv"), zone="Asia/Tokyo").times
    np.testing.assert_array_equal(times, bars().index.to_numpy())


@pytest.mark.parametrize(
    ("freq", "zone", "row", "times"),
    [
        ("h", "Europe/Berlin", 6410, ("2020-10-25T02:00:00", "2020-10-25T02:00:00")),
        ("30min", "Europe/Berlin", 12820, ("2020-10-25T02:00:00", "2020-10-25T02:30:00")),
        ("15min", "America/New_York", 26308, ("2020-11-01T01:00:00", "2020-11-01T01:45:00")),
        ("h", "America/Santiago", 1536, ("2020-04-04T23:00:00", "2020-04-04T23:00:00")),
        ("h", "Asia/Tehran", 5591, ("2020-09-20T23:00:00", "2020-09-20T23:00:00")),
    ],
)
def test_a_clock_change_is_reported(freq: str, zone: str, row: int, times: Any, tmp_path: Path) -> None:
    """The repeated hour in autumn is reported, for hourly and shorter steps; the remedy is the zone."""
    index = pd.date_range("2020-02-01", periods=row + 500, freq=freq, tz=zone, name="Date")
    frame = pd.DataFrame({"Close": 1.0, "Volume": np.arange(len(index)) * 1.0}, index=index)
    path = written(frame.tz_localize(None), tmp_path / "a.csv")
    assert refusal(path) == (
        f"{times[0]} in row {row} follows {times[1]}, as happens when the clock is set back at the end of daylight "
        "saving time. Set the time zone, such as read: {zone: Europe/Berlin}, or write the times in UTC or with "
        "their offsets"
    )
    np.testing.assert_array_equal(panel_of(path, zone=zone).times, index.tz_convert(None).to_numpy())


def test_nonexistent_and_ambiguous_local_times_are_reported(tmp_path: Path) -> None:
    """Times that do not exist in the zone, and repeated hours whose order is ambiguous, are reported."""
    naive = hourly().tz_localize(None)
    assert refusal(written(naive, tmp_path / "a.csv"), zone="America/New_York") == (
        "row 866: 2020-03-08T02:00:00 does not exist in America/New_York, where the clock was set forward; set the "
        "zone in which the times were written, or write them in UTC or with their offsets"
    )
    once = naive[~naive.index.duplicated()]
    assert refusal(written(once, tmp_path / "b.csv"), zone="Europe/Berlin") == (
        "row 6409: 2020-10-25T02:00:00 occurred twice in Europe/Berlin, where the clock was set back, and the order "
        "of the rows does not show which one it is; write the times in UTC or with their offsets"
    )


def test_times_with_and_without_offset_do_not_mix(tmp_path: Path) -> None:
    """The zone of times without offset is not guessed."""
    path = tmp_path / "a.csv"
    path.write_text("Date,Close,Volume\n2020-01-01T00:00,1,1\n2020-01-01T01:00+01:00,1,1\n")
    assert refusal(path) == (
        "the time of row 1 is '2020-01-01T01:00+01:00' and that of row 0 '2020-01-01T00:00': either all times or none "
        "must have an offset from UTC"
    )


@pytest.mark.parametrize(
    ("form", "hint"),
    [
        ("%m/%d/%Y", "'%m/%d/%Y' or '%d/%m/%Y'"),
        ("%d.%m.%Y", "'%d.%m.%Y'"),
        ("%m/%d/%y", "'%m/%d/%y' or '%d/%m/%y'"),
        ("%d.%m.%y", "'%d.%m.%y'"),
        ("%b %d, %Y", "'%b %d, %Y', '%d-%b-%Y' or the like"),
        ("%d-%b-%Y", "'%b %d, %Y', '%d-%b-%Y' or the like"),
    ],
)
def test_an_option_describes_other_forms_of_dates(form: str, hint: str, tmp_path: Path) -> None:
    """The message names the option and a likely value; with a wrong value it names the row."""
    frame = bars().set_axis(pd.Index(bars().index.strftime(form), name="Date"))
    path = written(frame, tmp_path / "a.csv")
    first = frame.index[0]
    assert refusal(path) == (
        f"the time of row 0 is {first!r}, which is not an ISO 8601 date such as 2019-01-02; set the date format: "
        f"read: {{date_format: {hint}}}"
    )
    assert fingerprint(path, date_format=form) == fingerprint(written(bars(), tmp_path / "b.csv"))
    assert refusal(path, date_format="%Y_%m_%d") == (
        f"the time of row 0 is {first!r}, which does not match read.date_format: %Y_%m_%d"
    )


def test_dates_of_eight_digits_are_not_counts(tmp_path: Path) -> None:
    """CSV readers and parquet files treat them as numbers."""
    frame = bars().set_axis(pd.Index(bars().index.strftime("%Y%m%d").astype(int), name="Date"))
    for name in ("a.csv", "a.parquet"):
        path = written(frame, tmp_path / name)
        assert refusal(path) == (
            "times are int64; write them as dates or ISO 8601 text; set the date format: read: {date_format: '%Y%m%d'}"
        )
        np.testing.assert_array_equal(panel_of(path, date_format="%Y%m%d").times, bars().index.to_numpy())


# Separators, numbers, encodings, compression


def test_a_table_of_another_country_has_the_same_fingerprint(tmp_path: Path) -> None:
    """For semicolons, decimal commas, grouped thousands and Windows-1252 each refusal names the option."""
    frame = bars().rename(columns={"Open": "Eröffnung"})
    text = frame.to_csv(sep=";", decimal=",")
    for volume in frame["Volume"]:
        text = text.replace(f";{volume:.1f}".replace(".", ","), f";{volume:,.0f}".replace(",", "."))
    path = tmp_path / "a.csv"
    path.write_bytes(text.encode("cp1252"))
    assert refusal(path) == (
        "line 1 contains the byte 0xf6, which is not UTF-8. In Windows-1252 it reads 'Eröffnung': if that is right, "
        "write read: {encoding: cp1252}, or save the file as UTF-8"
    )
    assert refusal(path, encoding="cp1252") == (
        "the header has one cell, 'Date;Eröffnung;High;Low;Close;Adj Close;Volume': the separator is different; "
        "write read: {separator: ';', decimal: ','}"
    )
    assert refusal(path, encoding="cp1252", separator=";") == (
        "feature 'Close' is not numeric: row 0 (1993-01-29) contains '43,9375'. It is a number with a decimal comma: "
        "write read: {decimal: ','} [G50]"
    )
    found = fingerprint(path, encoding="cp1252", separator=";", decimal=",")
    assert found == fingerprint(written(bars(), tmp_path / "b.csv"))


def test_grouped_thousands_are_ambiguous_until_the_decimal_mark_is_named(tmp_path: Path) -> None:
    """`480,500` could be 480.5."""
    frame = bars().assign(Volume=[f"{volume:,.0f}" for volume in bars()["Volume"]])
    path = written(frame, tmp_path / "a.csv")
    assert refusal(path) == (
        "feature 'Volume' is not numeric: row 1 (1993-02-01) contains '480,500'. It is a number with a comma that may "
        "group thousands or be the decimal mark: write read: {decimal: '.'} or ',' [G50]"
    )
    assert fingerprint(path, decimal=".") == fingerprint(written(bars(), tmp_path / "b.csv"))


@pytest.mark.parametrize(
    ("text", "decimal", "value"),
    [
        ("1.5", None, 1.5),
        ("-$1,234.50", None, -1234.5),
        ("$ 12.5", None, 12.5),
        ("12,5 €", ",", 12.5),
        ("1.234,5", ",", 1234.5),
        ("1.234", ",", 1234.0),
        ("1,234", ".", 1234.0),
        ("1,234,567", None, 1234567.0),
        ("1e-3", None, 0.001),
    ],
)
def test_numbers_are_read_with_their_separators(text: str, decimal: Any, value: float) -> None:
    """Currency signs and thousands separators are ignored; ambiguous numbers are refused."""
    assert number_of(text, decimal=decimal) == value


@pytest.mark.parametrize(
    ("text", "decimal", "message"),
    [
        ("1,5", None, "with a decimal comma: write read: {decimal: ','}"),
        ("1.234,5", None, "with a decimal comma: write read: {decimal: ','}"),
        (
            "1,234",
            None,
            "with a comma that may group thousands or be the decimal mark: write read: {decimal: '.'} or ','",
        ),
        ("1.5", ",", ""),
        ("1,23", ".", ""),
        ("1_000", None, ""),
        ("12,34,567", ".", ""),
        ("n/a", None, ""),
    ],
)
def test_text_that_is_not_a_number_is_refused_with_a_remedy(text: str, decimal: Any, message: str) -> None:
    """No text is read as another number."""
    with pytest.raises(ValueError) as caught:  # noqa: PT011 - the whole message is compared
        number_of(text, decimal=decimal)
    assert str(caught.value) == message


def test_compressed_text_is_the_same_table(tmp_path: Path) -> None:
    """Also UTF-16, tabs, and rows that end with a separator."""
    text = bars().to_csv()
    raw = text.encode()
    for name, content in {
        "a.csv.gz": gzip.compress(raw),
        "a.csv.bz2": bz2.compress(raw),
        "a.csv.xz": lzma.compress(raw),
        "a.csv": text.encode("utf-16"),
        "b.csv": text.encode("utf-8-sig"),
        "a.txt": raw,
        "old mac.csv": raw.replace(b"\n", b"\r"),
        "windows.csv": raw.replace(b"\n", b"\r\n"),
        "ends.csv": raw.replace(b"\n", b",\n").replace(b",\n", b"\n", 1),
    }.items():
        (tmp_path / name).write_bytes(content)
    with pa.CompressedOutputStream(str(tmp_path / "a.csv.zst"), "zstd") as stream:
        stream.write(raw)
    with zipfile.ZipFile(tmp_path / "a.csv.zip", "w") as archive:
        archive.writestr("inner/a.csv", text)
    expected = fingerprint(SPY, end=str(bars().index[-1].date()))
    found = {path.name: fingerprint(path) for path in tmp_path.iterdir()}
    assert found == dict.fromkeys(found, expected)
    (tmp_path / "a.tsv").write_text(bars().to_csv(sep="\t"))
    assert refusal(tmp_path / "a.tsv").endswith("the separator is different; write read: {separator: tab}")
    assert fingerprint(tmp_path / "a.tsv", separator="tab") == expected


OTHER_THINGS = {
    "lfs.csv": (
        b"version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 12345\n",
        "is a pointer of Git LFS, not the data: fetch it with `git lfs pull`",
    ),
    "lfs.parquet": (
        b"version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 12345\n",
        "is a pointer of Git LFS, not the data: fetch it with `git lfs pull`",
    ),
    "annex.csv": (
        b"/annex/objects/SHA256E-s123--4d7a.csv\n",
        "is a pointer of git-annex, not the data: fetch it with `git annex get`",
    ),
    "page.csv": (
        b"\n<!DOCTYPE html>\n<html><body>Sign in</body></html>",
        "is a web page (HTML or XML), not a table: the download returned a login page, an error or a description; "
        "download the file itself",
    ),
    "answer.csv": (
        b'{"Error Message": "Invalid API call"}',
        'is JSON, not a table, perhaps a service\'s response without data: {"Error Message": "Invalid API call"}',
    ),
    "sheet.csv": (b"PK\x03\x04...", "is a zip archive or an Excel workbook: unpack it, or export the sheet as CSV"),
    "empty.csv": (b"", "is empty: nothing was written or downloaded; download it again"),
    "blank.csv": (b"\n \n", "is empty: nothing was written or downloaded; download it again"),
    "text.parquet": (
        b"Date,Close\n2020-01-01,1\n",
        "cannot be read as parquet; it may be truncated or of another type: it is text; rename it to .csv if it "
        "is a CSV file, or download it again",
    ),
    "notes.csv": (
        b"Source: a vendor\n\nDate,Close,Volume\n2020-01-01,1,1\n",
        "line 1 is not a header: it has one cell, 'Source: a vendor', but line 3 has more. Remove the lines above the "
        "column names",
    ),
    "units.csv": (
        b"Date,Close,Volume\n,USD,shares\n2020-01-01,1,1\n",
        "line 2 contains no number, ', USD, shares': the header has 2 lines. Keep one line with the column names",
    ),
    "no header.csv": (
        b"2020-01-01,1.5,100\n2020-01-02,1.5,100\n",
        "line 1 contains values, '2020-01-01, 1.5, 100', not names: the file has no header. Add a line with the column "
        "names",
    ),
    "blanks.csv": (
        b"Date Close Volume\n2020-01-01 1.5 100\n2020-01-02 1.5 100\n",
        "the header has one cell, 'Date Close Volume': the separator is different; write read: {separator: ' '}",
    ),
    "utf16.csv": (
        "Date,Close\n2020-01-01,1\n".encode("utf-16-le"),
        "contains zero bytes: it is UTF-16 without a byte order mark, or not text; for UTF-16, write read: "
        "{encoding: utf-16-le}",
    ),
}


@pytest.mark.parametrize("name", OTHER_THINGS)
def test_files_that_are_not_tables_are_identified(name: str, tmp_path: Path) -> None:
    """Pointers, web pages, API responses, archives and headers are reported with a remedy."""
    content, message = OTHER_THINGS[name]
    (tmp_path / name).write_bytes(content)
    assert refusal(tmp_path / name) == message


def test_a_compressed_file_without_its_suffix_is_reported(tmp_path: Path) -> None:
    """The suffix determines how a file is read."""
    path = tmp_path / "a.csv"
    path.write_bytes(gzip.compress(b"Date"))
    assert refusal(path) == f"is compressed with gzip: rename it to {path}.gz"
    path.rename(tmp_path / "a.gz")
    assert refusal(tmp_path / "a.gz") == "rename it to a.csv.gz if it contains a CSV file"
    (tmp_path / "table").touch()
    assert refusal(tmp_path / "table").startswith("the name has no suffix; use .parquet, .pq, .csv")


def test_a_broken_git_annex_link_is_reported(tmp_path: Path) -> None:
    """The content of the file was not fetched."""
    path = tmp_path / "a.csv"
    path.symlink_to(".git/annex/objects/aa/SHA256E-s1--b.csv")
    assert refusal(path) == (
        "is a link to .git/annex/objects/aa/SHA256E-s1--b.csv, which does not exist; fetch it with "
        "`git annex get a.csv`"
    )


# Rows


def test_leading_gaps_of_rolling_features_are_reported_with_a_start(tmp_path: Path) -> None:
    """The date in the message works as `start`; a later gap is a different message."""
    close = bars()["Close"]
    frame = bars().assign(sma_50=close.rolling(50).mean(), change=close.pct_change())
    path = written(frame, tmp_path / "a.csv")
    features = ["Close", "sma_50", "change"]
    assert refusal(path, features=features) == (
        "'sma_50', 'change' have no value in the first 49 rows (to 1993-04-08), as is usual for features over a "
        "rolling window. Skip these rows: start: 1993-04-12 [G50]"
    )
    assert len(panel_of(path, features=features, start="1993-04-12").times) == 251
    frame.iloc[60, frame.columns.get_loc("sma_50")] = np.nan
    assert "column 'sma_50' is missing in row 0" in refusal(written(frame, tmp_path / "b.csv"), features=features)


def test_a_folder_of_parts_is_one_table_however_it_is_divided(tmp_path: Path) -> None:
    """Divided by year, by month or by rows, with an index or mixed types, it has one fingerprint."""
    frame = bars().reset_index()
    dated = frame.assign(year=bars().index.year, month=bars().index.month)
    dated.drop(columns="month").to_parquet(tmp_path / "years", partition_cols=["year"], index=False)
    dated.to_parquet(tmp_path / "months", partition_cols=["year", "month"], index=False)
    (tmp_path / "rows").mkdir()
    (tmp_path / "rows" / "_SUCCESS").touch()
    for number in range(3):
        part = frame[100 * number : 100 * number + 100]
        part.to_parquet(tmp_path / "rows" / f"part-{9 - number}.parquet", index=False)
    (tmp_path / "index").mkdir()
    bars()[:150].astype({"Volume": int}).to_parquet(tmp_path / "index" / "a.parquet")
    bars()[150:].to_parquet(tmp_path / "index" / "b.parquet")
    expected = fingerprint(written(bars(), tmp_path / "one.parquet"))
    found = {name: fingerprint(tmp_path / name) for name in ("years", "months", "rows", "index")}
    assert found == dict.fromkeys(found, expected)


def test_times_in_the_files_of_a_folder_precede_those_of_its_path(tmp_path: Path) -> None:
    """`date=...` of a path is a day; the column in the files has the time."""
    frame = hourly(100).tz_convert(None).rename_axis("timestamp").reset_index()
    frame["date"] = frame["timestamp"].dt.strftime("%Y-%m-%d")
    frame.to_parquet(tmp_path / "days", partition_cols=["date"], index=False)
    np.testing.assert_array_equal(panel_of(tmp_path / "days").times, frame["timestamp"].to_numpy())


def test_folders_that_are_not_a_table_are_refused(tmp_path: Path) -> None:
    """Several series by path, a part that is not a parquet file, and parts with different columns."""
    interleaved().reset_index().to_parquet(tmp_path / "series", partition_cols=["ticker"], index=False)
    assert "column 'ticker' has 2 values (" in refusal(tmp_path / "series")
    (tmp_path / "delta" / "_delta_log").mkdir(parents=True)
    written(bars(), tmp_path / "delta" / "a.parquet")
    assert refusal(tmp_path / "delta") == (
        "is a table of Delta Lake or Iceberg, whose folder also contains older rows: write the rows of one version to "
        "a parquet file"
    )
    (tmp_path / "pointers").mkdir()
    (tmp_path / "pointers" / "a.parquet").write_text("version https://git-lfs.github.com/spec/v1\n")
    assert refusal(tmp_path / "pointers") == (
        "/a.parquet is a pointer of Git LFS, not the data: fetch it with `git lfs pull`"
    )


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"zone": "Berlin"}, "zone: unknown time zone 'Berlin'; use a name such as America/New_York"),
        ({"separator": "||"}, "separator: '||' is neither a single character nor `tab`"),
        ({"encoding": "hex"}, "encoding: unknown text encoding 'hex'; use a name such as cp1252"),
        ({"date_format": "DD.MM."}, "date_format: 'DD.MM.' contains no date field; use a format such as %m/%d/%Y"),
    ],
)
def test_invalid_options_are_refused_before_the_data_is_read(options: dict[str, Any], message: str) -> None:
    """The experiment file is checked without reading data."""
    with pytest.raises(ValueError) as caught:  # noqa: PT011 - the whole message is compared
        ReadOptions(**options)
    assert str(caught.value) == message
