"""Downloads, tested with yfinance 1.7's result for a response of Yahoo: `responses/spy_history.csv`."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from click.testing import CliRunner

from scalecore.api.errors import DataError, PluginError
from scalecore_market.cli import data
from scalecore_market.download import download
from scalecore_market.options import ReadRules
from scalecore_market.store import Store
from scalecore_market.validate import to_table

RESPONSE = Path(__file__).parent / "responses" / "spy_history.csv"


def recorded() -> Any:
    """Fifteen sessions with a clock change among them; dates are midnight in New York."""
    frame = pd.read_csv(RESPONSE, index_col="Date")
    return frame.set_axis(pd.to_datetime(frame.index, utc=True).tz_convert("America/New_York").rename("Date"))


def test_a_recorded_answer_becomes_a_table(bundled: Path) -> None:
    """Zones are dropped, dates stay, and the prices equal those of a file for the same days."""
    asked = []

    def fetch(symbol: str, start: str, end: str) -> Any:
        asked.append((symbol, start, end))
        return recorded()

    table = to_table(download("SPY", start="2021-03-01", end="2021-03-20", fetch=fetch), rules=ReadRules())
    assert asked == [("SPY", "2021-03-01", "2021-03-20")]
    assert (table.first, table.last, len(table)) == ("2021-03-01", "2021-03-19", 15)
    expected = pd.read_parquet(bundled / "spy_daily.parquet")["2021-03-01":"2021-03-19"]
    for name, values in table.columns.items():
        assert values.tolist() == expected[name].tolist()


def test_errors_and_empty_responses_are_retried_with_longer_pauses() -> None:
    """Yahoo limits the rate of requests; the third of four attempts succeeds here."""
    answers: list[Any] = [ConnectionError("timed out"), recorded()[:0], recorded()]
    pauses: list[float] = []

    def fetch(symbol: str, start: str, end: str) -> Any:
        answer = answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer

    assert len(download("SPY", fetch=fetch, sleep=pauses.append).stamps) == 15
    assert pauses == [2.0, 4.0]


@pytest.mark.parametrize(
    ("fail", "reason"),
    [
        (lambda: (_ for _ in ()).throw(ConnectionError("no route\nto host")), "ConnectionError: no route"),
        (lambda: recorded()[:0], "the response was empty"),
    ],
)
def test_after_the_last_attempt_the_reason_is_reported(fail: Callable[[], Any], reason: str) -> None:
    """Missing prices are an error with its cause, never an empty table."""
    pauses: list[float] = []
    with pytest.raises(DataError) as caught:
        download("SPYY", fetch=lambda symbol, start, end: fail(), sleep=pauses.append, tries=3)
    assert str(caught.value) == (
        f"Yahoo SPYY: no prices after 3 attempts ({reason}). Check the symbol on Yahoo Finance, or try again later: "
        "Yahoo limits the rate of requests"
    )
    assert pauses == [2.0, 4.0]


def test_a_broken_response_is_reported_like_a_broken_file() -> None:
    """Downloads pass the same checks, with the symbol instead of a file name."""
    frame = recorded()
    frame.iloc[4, frame.columns.get_loc("Close")] = float("nan")
    with pytest.raises(DataError) as caught:
        to_table(download("SPY", fetch=lambda symbol, start, end: frame), rules=ReadRules())
    assert str(caught.value) == (
        "Yahoo SPY: column Close: row 4 (2021-03-05T00:00:00-05:00): the number is missing, a gap in the data"
    )


def test_without_yfinance_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is not retried, because waiting does not install anything."""
    monkeypatch.setitem(sys.modules, "yfinance", None)
    with pytest.raises(PluginError) as caught:
        download("SPY", sleep=lambda seconds: pytest.fail("there is nothing to wait for"))
    assert str(caught.value) == "yfinance is not installed: pip install 'scalecore-market[download]'"


REPLAY = f"""
import pandas as pd

class Ticker:
    def __init__(self, symbol):
        self.symbol = symbol

    def history(self, *, start, end, interval, auto_adjust, actions):
        assert (self.symbol, interval, auto_adjust, actions) == ("SPY", "1d", False, False)
        assert start < "2021-03-01" and end > "2021-03-19"
        frame = pd.read_csv({str(RESPONSE)!r}, index_col="Date")
        return frame.set_axis(pd.to_datetime(frame.index, utc=True).tz_convert("America/New_York").rename("Date"))
"""


@pytest.fixture
def replayed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A module yfinance that returns the recorded response."""
    (tmp_path / "modules").mkdir()
    (tmp_path / "modules" / "yfinance.py").write_text(REPLAY)
    monkeypatch.delitem(sys.modules, "yfinance", raising=False)
    monkeypatch.syspath_prepend(tmp_path / "modules")


@pytest.mark.usefixtures("replayed")
def test_the_command_downloads_into_the_store(tmp_path: Path) -> None:
    """`ingest --download` and `register --download` work like files."""
    store = tmp_path / "store"
    result = CliRunner().invoke(data, ["ingest", "--download", "SPY", "--store", str(store), "--start", "2021-02-01"])
    assert result.output == "SPY.OHLCV.daily  version 1  15 rows  2021-03-01 .. 2021-03-19  new\n"
    assert Store(store).raw("SPY").origin == "Yahoo SPY"
    again = CliRunner().invoke(data, ["register", "--download", "SPY", "--store", str(store), "--end", "2021-03-18"])
    assert again.output == "SPY.OHLCV.daily  version 2  14 rows  2021-03-01 .. 2021-03-18  new\n"
