"""Implausible prices: flags with causes, and plausible prices without flags (guard G58)."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from click.testing import CliRunner

from scalecore.api.errors import DataError
from scalecore.data.prepare import describe
from scalecore_market.cli import data
from scalecore_market.dataset import MarketDataset
from scalecore_market.options import MarketOptions, ReadRules
from scalecore_market.price_checks import implausible, remarks
from scalecore_market.sources import read_raw
from scalecore_market.table import PRICES, PriceTable
from scalecore_market.validate import to_table


@pytest.fixture(scope="module")
def spy() -> PriceTable:
    """The bundled SPY, 1993 to 2021, split-adjusted."""
    path = Path(__file__).parents[2] / "examples" / "data" / "spy_daily.parquet"
    return to_table(read_raw(path, symbol="SPY"), rules=ReadRules())


def scaled(table: PriceTable, rows: slice, factor: float, columns: tuple[str, ...] = PRICES) -> PriceTable:
    """The table with these columns multiplied in these rows."""
    changed = {name: values.copy() for name, values in table.columns.items()}
    for name in columns:
        changed[name][rows] *= factor
    return PriceTable(dates=table.dates, columns=changed)


def texts(table: PriceTable, symbol: str = "SPY") -> list[tuple[int, str]]:
    return [(one.row, one.text) for one in implausible(table, symbol=symbol)]


@pytest.mark.parametrize("ratio", [2, 3, 4, 5, 10, 20, 100])
def test_g58_a_split_that_nobody_adjusted_for_is_flagged_with_its_row(spy: PriceTable, ratio: int) -> None:
    """A jump by the ratio of a split between any two rows, down or up, is flagged once, in its row."""
    for row in [1, 2, *range(50, len(spy) - 1, 97), len(spy) - 1]:
        [(found, text)] = texts(scaled(spy, slice(0, row), ratio))
        assert found == row
        assert f"probably an unadjusted {ratio}:1 split" in text
        [(found, text)] = texts(scaled(spy, slice(row, None), ratio))
        assert found == row
        assert f"probably an unadjusted 1:{ratio} reverse split" in text


def test_g58_several_splits_are_each_flagged(spy: PriceTable) -> None:
    """Each split has its row and ratio."""
    found = texts(scaled(scaled(spy, slice(0, 3000), 2), slice(0, 3010), 7))
    assert [row for row, _ in found] == [3000, 3010]
    assert found[0][1].endswith(" of the previous row: probably an unadjusted 2:1 split")
    assert found[1][1].endswith(" of the previous row: probably an unadjusted 7:1 split")


def test_g58_a_price_that_comes_back_was_wrong(spy: PriceTable) -> None:
    """One or several days 100 times too high are one period, reported with its first and last row."""
    [(row, text)] = texts(scaled(spy, slice(1000, 1001), 100))
    assert row == 1000
    assert text.endswith("times the previous row: too high in this row, a wrong price or another unit")
    [(row, text)] = texts(scaled(spy, slice(1000, 1003), 0.01))
    assert row == 1000
    assert text.endswith(
        f"of the previous row: too low until row 1002 ({spy.dates[1002]}), a wrong price or another unit"
    )


def test_g58_a_unit_that_changes_is_named_beside_the_split(spy: PriceTable) -> None:
    """A level that stays a hundred times higher may be in cents."""
    [(row, text)] = texts(scaled(spy, slice(0, 2000), 100))
    assert row == 2000
    assert text.endswith("probably an unadjusted 100:1 split, or another unit (times 100) from here on")


@pytest.mark.parametrize(
    ("row", "found", "cause"), [(0, 1, "or a wrong price in row 0"), (-1, 7211, "or a wrong price")]
)
def test_g58_a_first_or_last_price_may_be_wrong(spy: PriceTable, row: int, found: int, cause: str) -> None:
    """No further row shows whether the level stays."""
    [(flagged, text)] = texts(scaled(spy, slice(row, row + 1 or None), 100))
    assert (flagged, text.rpartition(", ")[2]) == (found, cause)


@pytest.mark.parametrize(("column", "factor"), [("High", 10.0), ("High", 1.8), ("Low", 0.1), ("Low", 0.3)])
def test_g58_a_wrong_high_or_low_is_flagged(spy: PriceTable, column: str, factor: float) -> None:
    """Labels use highs, so a single wrong one is also flagged."""
    [(row, text)] = texts(scaled(spy, slice(500, 501), factor, (column,)))
    assert row == 500
    assert text.startswith(f"{column.lower()} ")
    assert text.endswith("a wrong price, or some columns are not adjusted for a split")


def test_g58_columns_of_which_only_some_are_adjusted_are_flagged_or_refused(
    spy: PriceTable, prices: Callable[..., pd.DataFrame], tmp_path: Path
) -> None:
    """Contradicting rows are counted. If low and high contradict, the refusal names the cause."""
    found = remarks(scaled(spy, slice(0, 1000), 4, ("Open", "High")), symbol="SPY", name="spy.csv")
    assert found[0].startswith("spy.csv: 1000 rows have implausible prices: row 0 (1993-01-29): close ")
    assert found[0].endswith("; and 995 more")
    frame = prices(60)
    frame.loc[frame.index[:30], "Close"] /= 4
    frame.to_csv(tmp_path / "x.csv")
    with pytest.raises(DataError, match="; they differ by a factor of 4: some columns may be unadjusted for a split"):
        to_table(read_raw(tmp_path / "x.csv", symbol="X"), rules=ReadRules())


@pytest.mark.parametrize("factor", [0.55, 0.6, 2 / 3, 0.774, 0.8, 1.2, 1.4, 1.45])
def test_g58_crashes_and_jumps_of_single_shares_stay_silent(spy: PriceTable, factor: float) -> None:
    """Shares do lose or gain 45 % in a day: no flag, whatever the volume."""
    assert texts(scaled(spy, slice(3000, None), factor)) == []
    assert texts(scaled(spy, slice(3000, None), 50, ("Volume",))) == []


def test_g58_a_move_beyond_half_at_no_ratio_is_flagged_as_such(spy: PriceTable) -> None:
    """The text allows for an event."""
    [(row, text)] = texts(scaled(spy, slice(3000, None), 1.65))
    assert row == 3000
    assert text.endswith("not the ratio of a split; a wrong price, or an event")


def test_g58_real_series_stay_silent(spy: PriceTable, sp500: Any, nasdaq: Any, bundled: Path) -> None:
    """No flag for the crashes of 2000, 2008 and 2020 in the bundled data, nor for the VIX, which doubled in a day."""
    assert texts(spy) == []
    vix = to_table(read_raw(bundled / "vix_daily.parquet", symbol="VIX"), rules=ReadRules())
    assert math.isclose(float(np.exp(np.diff(np.log(vix.columns["Close"]))).max()), 2.156, abs_tol=1e-3)
    assert texts(vix, "^VIX") == []
    assert implausible(vix, symbol="fear", level=True) == []
    assert len(texts(vix, "SPY")) > 5
    assert [row for row, _ in texts(scaled(vix, slice(800, 801), 100), "VIX")] == [800]
    for bars in (sp500, nasdaq):
        names = {name: getattr(bars, name.lower()) for name in PRICES}
        assert texts(PriceTable(dates=bars.dates, columns=names)) == []


@pytest.mark.parametrize("symbol", ["SPY", "DIA", "QQQ", "DJI", "IXIC", "VIX"])
def test_g58_whole_histories_stay_silent(symbol: str, real: Callable[[str], Path]) -> None:
    """All six series, with 1987, 2008 and 2020."""
    table = to_table(read_raw(real(symbol), symbol=symbol), rules=ReadRules(max_gap=30))
    assert texts(table, symbol) == []


def test_g58_the_flag_is_in_the_description_where_a_feature_or_a_window_reaches_it(
    spy: PriceTable, tmp_path: Path
) -> None:
    """Flags appear in the plan and in every record. A study that starts later has no flag."""
    path = tmp_path / "split.parquet"
    scaled(spy, slice(0, 4000), 4).write(path)

    def flags(**options: Any) -> list[dict[str, str]]:
        options = {"symbol": "SPY", "file": path, "tier": ["return_1d", "rsi_14"], **options}
        panel = MarketDataset(MarketOptions(**options)).panel()
        return [flag for flag in describe(panel).flags if flag["guard"] == "G58"]

    [flag] = flags()
    assert flag["kind"] == "implausible"
    assert flag["text"].startswith(f"split.parquet: a row has implausible prices: row 4000 ({spy.dates[4000]}): close ")
    assert flags(start=str(spy.dates[4300])) == []
    assert flags(end=str(spy.dates[3900])) == []


def test_g58_the_store_warns_about_implausible_prices(spy: PriceTable, tmp_path: Path) -> None:
    """`ingest` and `register` warn on stderr and accept the prices; `verify` reports them."""
    path = tmp_path / "SPY.parquet"
    scaled(spy, slice(0, 4000), 4).write(path)
    runner = CliRunner()
    taken = runner.invoke(data, ["ingest", str(path), "--store", str(tmp_path / "store")], catch_exceptions=False)
    assert taken.exit_code == 0
    assert taken.stderr.startswith("warning: SPY.parquet: a row has implausible prices: row 4000")
    assert taken.stderr.endswith("probably an unadjusted 4:1 split\n")
    checked = runner.invoke(data, ["verify", "--store", str(tmp_path / "store")], catch_exceptions=False)
    assert checked.exit_code == 0
    assert "probably an unadjusted 4:1 split" in checked.stdout
