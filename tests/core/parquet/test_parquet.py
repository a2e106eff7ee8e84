"""The dataset `parquet`: accepted tables, and messages for others."""

from __future__ import annotations

import gzip
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from cattrs.errors import ClassValidationError

from scalecore.api.dataset import Dataset
from scalecore.api.dataset_options import Split
from scalecore.api.errors import DataError
from scalecore.api.panel import Panel
from scalecore.builtin.options_dataset import LabelTarget, ParquetOptions, PriceColumns, PriceTarget
from scalecore.builtin.parquet import ParquetDataset
from scalecore.config.structure import flatten, make_converter
from scalecore.data.prepare import describe

SPY = Path(__file__).parents[3] / "examples" / "data" / "spy_daily.parquet"


def bars(rows: int = 400) -> pd.DataFrame:
    """The first bars of SPY, indexed by date."""
    return pd.read_parquet(SPY).iloc[:rows]


def panel_of(path: Path, **options: Any) -> Panel:
    given = {"features": ["Close", "Volume"], "target": PriceTarget(), "context": 10, **options}
    return ParquetDataset(ParquetOptions(path=path, **given)).panel()


def refusal(path: Path, **options: Any) -> str:
    with pytest.raises(DataError) as caught:
        panel_of(path, **options)
    return str(caught.value)


@pytest.fixture
def write(tmp_path: Path) -> Any:
    """Writes a table as parquet or CSV and returns its path."""

    def write(frame: pd.DataFrame, name: str = "bars.parquet", **how: Any) -> Path:
        path = tmp_path / name
        frame.to_parquet(path, **how) if path.suffix in (".parquet", ".pq") else frame.to_csv(path, **how)
        return path

    return write


def test_real_bars_become_a_panel() -> None:
    """Columns are in the order of the file, with default target and stored times; the plan can describe the panel."""
    dataset = ParquetDataset(ParquetOptions(path=SPY, features=["Close", "Open"], target=PriceTarget(kind="threshold")))
    assert isinstance(dataset, Dataset)
    panel = dataset.panel()
    frame = pd.read_parquet(SPY)
    assert (panel.name, panel.context, panel.look_back) == ("spy_daily.parquet", 60, 0)
    np.testing.assert_array_equal(panel.values, frame[["Close", "Open"]].to_numpy())
    np.testing.assert_array_equal(panel.times, frame.index.to_numpy())
    assert panel.target.text == "HIGH[t+1] >= CLOSE[t] * (1 + 0.01)"
    reached = frame["High"].to_numpy()[1:] >= frame["Close"].to_numpy()[:-1] * 1.01
    np.testing.assert_array_equal(panel.labels[:-1], reached)
    assert np.isnan(panel.labels[-1])
    description = describe(panel)
    assert (description.rows, description.first, description.last) == (7212, "1993-01-29", "2021-09-17")


@pytest.mark.parametrize(
    ("name", "how"),
    [
        ("a.parquet", {"compression": "gzip"}),
        ("b.pq", {"compression": None, "row_group_size": 50}),
        ("c.csv", {}),
        ("d.csv.gz", {"compression": "gzip"}),
    ],
)
def test_fingerprint_does_not_depend_on_the_file(write: Any, name: str, how: dict) -> None:
    """Path, format, compression and row groups do not matter; the content does."""
    split = Split(train=0.5, val=0.25, test=0.25)
    limits = {"min_validation_samples": 10, "min_validation_positives": 1}
    expected = describe(panel_of(SPY, end=str(bars().index[-1].date()), split=split), **limits).fingerprint
    assert describe(panel_of(write(bars(), name, **how), split=split), **limits).fingerprint == expected


@pytest.mark.parametrize("column", ["Date", "date", "Datetime", "timestamp"])
def test_a_time_column_with_a_usual_name_is_found(write: Any, column: str) -> None:
    """If the index is only a count, the column is found by its name."""
    panel = panel_of(write(bars().rename_axis(column).reset_index()))
    np.testing.assert_array_equal(panel.times, bars().index.to_numpy())


def test_a_time_column_can_be_named(write: Any) -> None:
    """A configured name precedes the usual ones, for a column and for an index."""
    frame = bars().rename_axis("day").reset_index()
    frame["Date"] = "not a date"
    path = write(frame)
    np.testing.assert_array_equal(panel_of(path, time="day").times, bars().index.to_numpy())
    assert refusal(path, time="daj") == f"{path}: there is no time column 'daj'; did you mean 'day'? [G55]"
    assert panel_of(write(bars().rename_axis("moment")), time="moment").times[0] == np.datetime64("1993-01-29")


def test_start_and_end_apply_before_labels_are_computed(write: Any) -> None:
    """The last label before `end` is unknown, although the file has later rows: they are not used."""
    panel = panel_of(SPY, start="1999-03-10", end="2000-01-03")
    assert panel.times[0] == np.datetime64("1999-03-10")
    assert panel.times[-1] == np.datetime64("2000-01-03")
    assert np.isnan(panel.labels[-1])
    assert refusal(SPY, start="2030-01-01") == (
        f"{SPY} has no rows from 2030-01-01 to its end; its times are 1993-01-29 to 2021-09-17"
    )


def test_an_end_date_includes_the_whole_day(write: Any) -> None:
    """It includes hourly rows of the last day; an end with a time of day means that moment."""
    frame = bars(100).set_axis(pd.date_range("2020-01-01", periods=100, freq="h"))
    path = write(frame.rename_axis("Date"))
    assert panel_of(path, end="2020-01-02").times[-1] == np.datetime64("2020-01-02T23:00")
    assert panel_of(path, end="2020-01-02T05:00").times[-1] == np.datetime64("2020-01-02T05:00")


def test_other_times_with_a_zone_become_utc(write: Any) -> None:
    """Intraday times of different zones are compared in UTC."""
    frame = bars(200).set_axis(pd.date_range("2020-03-01 09:30", periods=200, freq="h", tz="America/New_York"))
    assert panel_of(write(frame.rename_axis("Date"))).times[0] == np.datetime64("2020-03-01T14:30")


def test_g55_a_feature_that_does_not_exist_is_refused(write: Any) -> None:
    """The message has the nearest name, all names, and a hint if only the case differs."""
    path = write(bars())
    names = "Open, High, Low, Close, Adj Close, Volume"
    assert refusal(path, features=["Clsoe"]) == (
        f"{path}: there is no feature 'Clsoe'; did you mean 'Close'? The columns are {names} [G55]"
    )
    assert refusal(path, features=["close"]) == (
        f"{path}: there is no feature 'close'; did you mean 'Close'? Names are case-sensitive [G55]"
    )
    assert refusal(path, features=["rsi_14"]) == f"{path}: there is no feature 'rsi_14'; the columns are {names} [G55]"
    columns = PriceTarget(columns=PriceColumns(high="Hi"))
    assert refusal(path, target=columns) == (
        f"{path}: there is no price column 'Hi'; did you mean 'High'? The columns are {names} [G55]"
    )
    assert refusal(path, features=["Close", "Close"]) == f"{path}: dataset.features lists 'Close' twice"


def test_g55_the_features_are_stored(write: Any) -> None:
    """The description names the features in order, and the model gets no other columns."""
    panel = panel_of(write(bars()), features=["Volume", "Open"])
    assert panel.features == ("Volume", "Open")
    np.testing.assert_array_equal(panel.values, bars()[["Volume", "Open"]].to_numpy())


@pytest.mark.parametrize("name", ["a.parquet", "a.csv"])
def test_g50_a_text_column_is_refused(write: Any, name: str) -> None:
    """It is refused before training; the message has column, first row, date and value."""
    frame = bars().assign(regime=np.where(np.arange(400) < 7, "calm", "wild"))
    path = write(frame, name)
    assert refusal(path, features=["Close", "regime"]) == (
        f"{path}: feature 'regime' is not numeric: row 0 (1993-01-29) contains 'calm'. Encode it as numbers, or remove "
        "the column [G50]"
    )


def test_g50_one_word_in_a_numeric_column_is_found(write: Any) -> None:
    """With `n/a?` in row 5 of a CSV, pandas reads the column as text; the message still names the row."""
    frame = bars().astype({"Volume": object})
    frame.iloc[5, frame.columns.get_loc("Volume")] = "n/a?"
    path = write(frame, "a.csv")
    assert refusal(path) == (
        f"{path}: feature 'Volume' is not numeric: row 5 (1993-02-05) contains 'n/a?'. Encode it as numbers, or remove "
        "the column [G50]"
    )


def test_g50_numbers_stored_as_text_or_dates_are_refused(write: Any) -> None:
    """Nothing is converted silently: quoted digits and dates are not numbers; exact decimals are."""
    path = write(bars().assign(digits=np.arange(400).astype(str), day=bars().index, exact=[Decimal("1.5")] * 400))
    text = "Encode it as numbers, or remove the column [G50]"
    assert refusal(path, features=["digits"]) == (
        f"{path}: feature 'digits' is not numeric: row 0 (1993-01-29) contains '0'. {text}"
    )
    assert refusal(path, features=["day"]) == (
        f"{path}: feature 'day' is not numeric: row 0 (1993-01-29) contains Timestamp('1993-01-29 00:00:00'). {text}"
    )
    assert panel_of(path, features=["exact"]).values[0, 0] == 1.5


@pytest.mark.parametrize(
    ("value", "text"), [(np.nan, "is missing"), (np.inf, "is inf, not a finite number of single precision")]
)
def test_g50_a_missing_value_in_a_feature_is_refused(write: Any, value: float, text: str) -> None:
    """The message has path, column, first invalid row and its date."""
    frame = bars()
    frame.iloc[[12, 30], frame.columns.get_loc("Volume")] = value
    path = write(frame)
    assert refusal(path) == (f"{path}: column 'Volume' {text} in row 12 (1993-02-17); 2 such rows in this column [G50]")


def test_integer_boolean_and_nullable_columns_are_numbers(write: Any) -> None:
    """They are read as numbers."""
    frame = bars().assign(
        count=np.arange(400), flag=np.arange(400) % 2 == 0, nullable=pd.array(range(400), dtype="Int64")
    )
    panel = panel_of(write(frame), features=["count", "flag", "nullable"])
    assert panel.values[:3].tolist() == [[0, 1, 0], [1, 0, 1], [2, 1, 2]]


def test_prices_of_the_target_are_checked(write: Any) -> None:
    """A zero or missing price would produce wrong labels."""
    frame = bars()
    frame.iloc[3, frame.columns.get_loc("High")] = 0.0
    path = write(frame)
    assert refusal(path) == f"{path}: price column 'High' is 0 in row 3 (1993-02-03); prices must be positive"
    frame.iloc[3, frame.columns.get_loc("High")] = np.nan
    path = write(frame)
    assert refusal(path) == f"{path}: column 'High' is missing in row 3 (1993-02-03) [G50]"


@pytest.mark.parametrize(
    ("values", "task", "outputs"),
    [
        (np.arange(400) % 2, "binary", 1),
        (np.arange(400) % 2 == 0, "binary", 1),
        (np.arange(400) % 3, "multiclass", 3),
        (np.arange(400) / 7, "forecast", 1),
    ],
)
def test_a_label_column_is_not_changed(write: Any, values: np.ndarray, task: str, outputs: int) -> None:
    """Its values determine the task; unknown labels at the end stay unknown."""
    frame = bars().assign(y=pd.Series(values, index=bars().index).astype(float))
    frame.iloc[-2:, frame.columns.get_loc("y")] = np.nan
    for name in ("a.parquet", "a.csv"):
        panel = panel_of(write(frame, name), target=LabelTarget(column="y", horizon=2))
        assert (panel.target.task, panel.target.outputs, panel.target.label_span) == (task, outputs, 2)
        np.testing.assert_allclose(panel.labels[:-2], values[:-2].astype(float), rtol=1e-15)
        assert np.isnan(panel.labels[-2:]).all()


def test_a_label_column_is_never_a_feature(write: Any) -> None:
    """The model would read the answer."""
    path = write(bars().assign(y=np.arange(400) % 2))
    assert refusal(path, features=["Close", "y"], target=LabelTarget(column="y")) == (
        f"{path}: column 'y' contains the labels and is also a feature, so a model would see the answer. Remove it "
        "from dataset.features"
    )


def test_labels_that_contradict_their_task_name_the_file(write: Any) -> None:
    """The message starts with the path."""
    path = write(bars().assign(y=np.arange(400) % 3))
    assert refusal(path, target=LabelTarget(column="y", task="binary")) == (
        f"{path}: column 'y' contains 2: labels of a binary task are 0 or 1"
    )


def test_times_that_do_not_ascend_are_refused(write: Any) -> None:
    """Duplicate and unsorted dates are reported, not repaired."""
    frame = bars(50)
    path = write(pd.concat([frame, frame.iloc[-1:]]))
    assert refusal(path) == f"{path}: rows 49 and 50 have the same time, 1993-04-12; times must be unique"
    path = write(frame.iloc[::-1])
    assert refusal(path) == f"{path}: row 1 (1993-04-08) comes after row 0 (1993-04-12); sort the rows by time"


def test_invalid_times_are_refused(write: Any) -> None:
    """Counts and words among dates are refused."""
    path = write(bars().reset_index().assign(Date=np.arange(400)))
    assert refusal(path) == f"{path}: times are int64; write them as dates or ISO 8601 text"
    frame = bars(20).reset_index().astype({"Date": str})
    frame.loc[4, "Date"] = "yesterday"
    path = write(frame)
    assert refusal(path) == (
        f"{path}: the time of row 4 is 'yesterday', which is not an ISO 8601 date such as 2019-01-02"
    )
    frame.loc[4, "Date"] = None
    path = write(frame)
    assert refusal(path) == f"{path}: row 4 has no time"
    path = write(bars().reset_index(drop=True))
    assert refusal(path) == (
        f"{path}: no time column found; set dataset.time. The columns are Open, High, Low, Close, Adj Close, Volume"
    )


def test_a_truncated_parquet_file_is_refused(write: Any) -> None:
    """The message has the path, without a traceback of pyarrow."""
    path = write(bars())
    path.write_bytes(path.read_bytes()[:-100])
    assert refusal(path).startswith(f"{path} cannot be read as parquet; it may be truncated or of another type: ")


def test_parquet_damaged_in_the_middle_is_refused(write: Any) -> None:
    """The footer is valid, but the data is damaged."""
    path = write(bars())
    content = path.read_bytes()
    path.write_bytes(content[:50] + bytes(len(content) // 2) + content[50 + len(content) // 2 :])
    assert refusal(path).startswith(f"{path} cannot be read as parquet; it may be truncated or of another type: ")


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("empty.parquet", b"", "{path} cannot be read as parquet; it may be truncated or of another type: "),
        ("csv.parquet", b"Date,Close\n2020-01-01,1\n", "{path} cannot be read as parquet; it may be truncated"),
        ("empty.csv", b"", "{path} is empty"),
        ("header.csv", b"Date,Close\n", "{path} has no rows"),
        ("parquet.csv", b"PAR1\xff\xfe\x00", "{path} cannot be read as CSV; it may be truncated or of another type: "),
        ("ragged.csv", b"Date,Close\n2020-01-01,1\n2020-01-02,2,3,4\n", "{path} cannot be read as CSV; it may be"),
        (
            "cut.csv.gz",
            gzip.compress(b"Date,Close\n" * 99, mtime=0)[:-12],
            "{path} cannot be read as CSV; it may be truncated",
        ),
        ("sheet.xlsx", b"x", "{path}: the suffix '.xlsx' is unknown; use .parquet, .pq, .csv or .csv.gz"),
    ],
)
def test_broken_files_have_one_clear_message(tmp_path: Path, name: str, content: bytes, message: str) -> None:
    """Empty, wrong, ragged and truncated files raise a DataError that begins with the path."""
    path = tmp_path / name
    path.write_bytes(content)
    assert refusal(path).startswith(message.format(path=path))


def test_exact_decimals_of_a_csv_file_survive(write: Any) -> None:
    """Numbers for which a fast parser is wrong in the last bit are read exactly."""
    frame = bars(300).assign(x=np.random.default_rng(0).normal(size=300) * 1e-7)
    panel = panel_of(write(frame, "a.csv"), features=["x"])
    np.testing.assert_array_equal(panel.values[:, 0], frame["x"].to_numpy())


def test_the_experiment_file_reaches_both_kinds_of_target(tmp_path: Path) -> None:
    """`kind` selects prices or a label column, and mistakes below it are reported at their key."""
    converter = make_converter(tmp_path)
    given = {"path": str(SPY), "features": ["Close"]}
    priced = converter.structure({**given, "target": {"kind": "direction", "horizon": 2}}, ParquetOptions)
    assert priced.target == PriceTarget(kind="direction", horizon=2)
    labelled = converter.structure({**given, "target": {"kind": "label", "column": "y"}}, ParquetOptions)
    assert labelled.target == LabelTarget(column="y")
    with pytest.raises(ClassValidationError) as caught:
        converter.structure({**given, "target": {"kind": "direction", "rule": "max"}}, ParquetOptions)
    assert [(path, str(error)) for path, error in flatten(caught.value)] == [
        (("target",), "`kind: direction` uses the price at t+horizon: omit rule, or set it to at_horizon")
    ]


def test_a_missing_file_or_a_folder_is_refused(tmp_path: Path) -> None:
    """The file may have been removed after `scalecore check`."""
    assert refusal(tmp_path / "no.parquet") == f"{tmp_path / 'no.parquet'} does not exist"
    assert refusal(tmp_path) == (
        f"{tmp_path} is a folder without parquet files; give a file or a folder of parquet files"
    )


@pytest.mark.parametrize(
    ("start", "message"),
    [
        ("soon", "start: 'soon' is not a date such as 1999-03-10"),
        ("2020-01-01T00:00+01:00", "start: '2020-01-01T00:00+01:00' must not name a time zone"),
    ],
)
def test_start_must_be_a_date(start: str, message: str) -> None:
    """The experiment file is checked without reading data."""
    with pytest.raises(ValueError) as caught:  # noqa: PT011 - the whole message is compared
        ParquetOptions(path=SPY, features=["Close"], target=PriceTarget(), start=start)
    assert str(caught.value) == message
