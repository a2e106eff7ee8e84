"""Steps between rows: the usual step, long steps, and the windows and labels that cross them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from scalecore.api.data_report import Steps
from scalecore.data.dates import span
from scalecore.data.prepare import describe
from scalecore.data.steps import steps_flag, steps_of

REPOSITORY = Path(__file__).parents[3]
SHARED = REPOSITORY.parent / "shared" / "data"


def of(times: Any, *, context: int = 10, horizon: int = 2) -> Steps:
    moments = np.asarray(times, dtype="datetime64[ns]")
    ends = np.arange(context - 1, len(moments) - horizon)
    found = steps_of(moments, ends={"train": ends}, context=context, horizon=horizon)
    assert found is not None
    return found


def business(first: str = "2000-01-03", last: str = "2009-12-31") -> pd.DatetimeIndex:
    return pd.bdate_range(first, last)


def hours() -> pd.DatetimeIndex:
    return pd.date_range("2020-01-01", "2020-06-30", freq="h")


def trading_hours() -> pd.DatetimeIndex:
    found = hours()
    return found[(found.hour >= 9) & (found.hour < 16) & (found.day_of_week < 5)]


random = np.random.default_rng(0)
QUIET: dict[str, Any] = {
    "business days": business(),
    "business days with holidays of up to a week": business().delete([100, 500, 501, 502]),
    "a market with a week of holidays each year": business()[~((business().month == 2) & (business().day < 8))],
    "all days": pd.date_range("2020-01-01", periods=900),
    "hours": hours(),
    "weeks": pd.date_range("1990-01-01", periods=400, freq="W"),
    "months": pd.date_range("1990-01-01", periods=300, freq="MS"),
    "last business days of months": pd.date_range("1990-01-01", periods=300, freq="BME"),
    "quarters": pd.date_range("1990-01-01", periods=100, freq="QS"),
    "years": pd.date_range("1900-01-01", periods=100, freq="YS"),
    "closes in New York, in UTC": (business().tz_localize("America/New_York") + pd.Timedelta(hours=16)).tz_convert(
        None
    ),
    "Sunday to Thursday": business() - pd.Timedelta(days=1),
    "trades at random": np.datetime64("2020-01-01", "ns")
    + np.cumsum(random.exponential(1e9, 5000) + 1).astype("timedelta64[ns]"),
    "a clock that trembles": np.datetime64("2020-01-01", "ns")
    + (np.arange(3000) * 60e9 + random.normal(0, 1e9, 3000)).astype("timedelta64[ns]"),
}


@pytest.mark.parametrize("case", QUIET)
def test_ordinary_tables_have_no_long_step(case: str) -> None:
    """Weekends, holidays, months of unequal length and clock changes are not gaps."""
    steps = of(QUIET[case])
    assert (steps.long, steps.windows, steps.labels, steps_flag(steps)) == (0, {"train": 0}, {"train": 0}, None)


@pytest.mark.parametrize(
    "path", [*(REPOSITORY / "examples" / "data").glob("*_daily.parquet"), *SHARED.glob("market/*.parquet")]
)
def test_real_prices_have_no_long_step(path: Path) -> None:
    """The longest close in these decades is that of September 2001."""
    steps = of(pd.read_parquet(path).index)
    assert (span(steps.usual), span(steps.longest), steps.after, steps.long) == ("1 day", "7 days", "2001-09-10", 0)


def test_g56_a_missing_year_is_found_with_what_crosses_it() -> None:
    """One step, the windows with rows on both sides of it, and the labels across it."""
    days = business()
    times = days[(days < "2003-01-01") | (days >= "2004-01-01")]
    steps = of(times, context=10, horizon=2)
    row = int((times < "2003-01-01").sum()) - 1
    assert (steps.after_row, steps.after, steps.long) == (row, "2002-12-31", 1)
    assert span(steps.longest) == "366 days"
    assert (steps.windows, steps.labels) == ({"train": 9}, {"train": 2})
    assert steps_flag(steps) == {
        "guard": "G56",
        "kind": "gaps",
        "text": f"1 of {len(times) - 1:,} steps between rows is much longer than the usual 1 day, the longest 366 days "
        f"after row {row} (2002-12-31): 9 windows and 2 labels cross such a gap, as if the rows on both sides "
        "were neighbours",
    }


@pytest.mark.parametrize(
    ("times", "long"),
    [
        (business().delete(range(520, 543)), 1),
        (business().delete(range(520, 525)), 1),
        (pd.date_range("2020-01-01", periods=900).delete([100, 500]), 2),
        (pd.date_range("1990-01-01", periods=300, freq="MS").delete(100), 1),
        (pd.date_range("1990-01-01", periods=400, freq="W").delete(100), 1),
        (hours().delete(1000), 1),
    ],
)
def test_g56_missing_months_weeks_days_and_hours_are_found(times: pd.DatetimeIndex, long: int) -> None:
    """A gap is detected relative to the usual step of the series."""
    assert of(times).long == long


def test_g56_nights_are_within_windows_of_intraday_data() -> None:
    """Seven bars per day: each window of ten crosses a night, and so do the labels of a day's last two bars."""
    times = trading_hours()
    steps = of(times, context=10, horizon=2)
    nights = int((np.diff(times) > np.timedelta64(1, "h")).sum())
    assert (span(steps.usual), steps.long) == ("1 h", nights)
    assert steps.windows["train"] == len(times) - 11
    ends = np.arange(9, len(times) - 2)
    assert steps.labels["train"] == int(np.isin(times.hour[ends], (14, 15)).sum())


def test_one_bar_a_morning_and_one_an_afternoon_have_nights_too() -> None:
    """Half of the steps are nights; the shorter ones are the usual step."""
    found = hours()
    times = found[np.isin(found.hour, (9, 13)) & (found.day_of_week < 5)]
    assert (span(of(times).usual), of(times).long) == ("4 h", len(times) // 2 - 1)


@pytest.mark.parametrize(("zone", "named"), [("Europe/Berlin", True), ("America/Santiago", True), ("UTC", False)])
def test_g56_a_clock_that_was_set_forward_is_named(zone: str, named: bool) -> None:
    """Local times have one long step in spring; a missing hour elsewhere has another cause."""
    times = pd.date_range("2020-01-10", periods=8000, freq="h", tz=zone).tz_localize(None).unique()
    flag = steps_flag(of(times if named else times.delete(3000)))
    assert flag is not None
    cause = "; the clock is set forward there in some zones: if times are local, set their zone: read: {zone: ...}"
    assert flag["text"].partition("neighbours")[2] == (cause if named else "")


def test_irregular_times_have_a_median_and_gaps_too() -> None:
    """An hour without a trade among seconds."""
    times = QUIET["trades at random"].copy()
    times[2500:] += np.timedelta64(1, "h")
    steps = of(times)
    assert (steps.regular, steps.long) == (False, 1)
    assert "much longer than their median of 0.6" in (steps_flag(steps) or {})["text"]


def test_one_row_has_no_steps() -> None:
    """The result is None."""
    assert steps_of(np.array(["2020-01-01"], dtype="datetime64[ns]"), ends={}, context=1, horizon=1) is None


def test_g56_gaps_are_stored_and_flagged_with_the_data(make_panel: Any) -> None:
    """The description counts by part, and the flag goes into every record."""
    times = pd.bdate_range("2000-01-03", periods=960).delete(range(100, 160)).to_numpy()
    panel = make_panel(rows=900, times=times)
    description = describe(panel, min_validation_samples=1, min_validation_positives=1)
    assert description.steps is not None
    assert description.steps.long == 1
    assert set(description.steps.windows) == {"train", "val", "test"}
    assert [flag["kind"] for flag in description.flags if flag["guard"] == "G56"] == ["gaps"]


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (86400, "1 day"),
        (367 * 86400, "367 days"),
        (63000, "17 h 30 min"),
        (300, "5 min"),
        (0.25, "0.25 s"),
        (90.5, "1 min 30.5 s"),
    ],
)
def test_durations_are_shown_in_their_largest_units(seconds: float, text: str) -> None:
    """Two units at most."""
    assert span(seconds) == text
