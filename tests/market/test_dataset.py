"""The dataset `market`: from options to the core's panel."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from scalecore.api.dataset_options import Split, TargetOptions
from scalecore.api.errors import DataError, ExperimentError
from scalecore.api.panel import Panel
from scalecore.api.targets import target_of
from scalecore.data.prepare import describe
from scalecore_market.dataset import MarketDataset
from scalecore_market.indicators.tiers import TIERS
from scalecore_market.options import MarketOptions, ReadRules

Prices = Callable[..., Any]


def panel(**options: Any) -> Panel:
    return MarketDataset(MarketOptions(**{"symbol": "SPY", **options})).panel()


@pytest.fixture
def files(bundled: Path) -> dict[str, Path]:
    return {"file": bundled / "spy_daily.parquet", "vix_file": bundled / "vix_daily.parquet"}


@pytest.mark.parametrize(("price", "rule"), [("close", "at_horizon"), ("close", "max"), ("high", "max")])
@pytest.mark.parametrize("horizon", [1, 2, 3, 5])
def test_g06_labels_come_from_raw_prices(price: Any, rule: Any, horizon: int, files: dict[str, Path]) -> None:
    """Each label equals that of a loop over the file's closes and highs, whatever the features."""
    target = TargetOptions(horizon=horizon, threshold=0.01, price=price, rule=rule)
    found = panel(file=files["file"], tier=["rsi_14"], target=target, start="2015-01-02", end="2019-12-31")
    frame = pd.read_parquet(files["file"])["2015-01-02":"2019-12-31"]
    close, prices = frame["Close"].tolist(), frame["High" if price == "high" else "Close"].tolist()
    for t in range(len(close) - horizon):
        ahead = prices[t + 1 : t + horizon + 1]
        reached = max(ahead) if rule == "max" else ahead[-1]
        assert found.labels[t] == float(reached >= close[t] * 1.01), frame.index[t]
    assert np.isnan(found.labels[-horizon:]).all()


def test_g01_the_horizon_of_the_experiment_reaches_the_labels(files: dict[str, Path]) -> None:
    """Each horizon has its own labels, base rate and target, and the panel has that target."""
    panels = {
        horizon: panel(file=files["file"], tier=["close"], target=TargetOptions(horizon=horizon))
        for horizon in (1, 3, 5)
    }
    rates = [float(np.nanmean(one.labels)) for one in panels.values()]
    assert rates[0] < rates[1] < rates[2]
    assert [one.target.horizon for one in panels.values()] == [1, 3, 5]
    assert len({one.target.hash for one in panels.values()}) == 3


def test_g07_the_target_is_the_one_of_the_core(files: dict[str, Path]) -> None:
    """Studies on `market` and `parquet` with equal targets have equal hashes and can be compared."""
    options = TargetOptions(horizon=3, threshold=0.02, price="close")
    assert panel(file=files["file"], tier=["close"], target=options).target.hash == target_of(options).hash


@pytest.mark.parametrize(
    ("tier", "vix", "count"), [("a25", False, 25), ("a25", True, 33), ("a50", True, 63), ("a100", True, 113)]
)
def test_g55_the_panel_has_the_declared_features(tier: str, vix: bool, count: int, files: dict[str, Path]) -> None:
    """The model's inputs are stored by name, in order, and in the tier's number."""
    if tier == "a25" and not vix:
        files = {"file": files["file"]}
    found = panel(**files, tier=tier, vix=vix, start="2010-01-01")
    assert found.features == TIERS[tier] + (TIERS["vix"] if vix else ())
    assert found.values.shape == (len(found.times), count)
    assert [one["name"] for one in found.details["indicators"]] == list(found.features)
    frame = pd.read_parquet(files["file"])["2010-01-01":]
    np.testing.assert_array_equal(found.values[:, 3], frame["Close"])


def test_the_core_accepts_the_panel(files: dict[str, Path]) -> None:
    """The core's splits, checks and drift work on it; the purge covers the declared look-back."""
    found = panel(**files, tier="a25", vix=True, context=60, target=TargetOptions(horizon=3))
    description = describe(found)
    assert found.look_back == 340
    assert description.look_back == 340
    assert description.split.purge == 59 + 3 + 340
    assert description.features == tuple(found.features)
    assert description.details["sources"]["SPY.OHLCV.daily"]["checksum"].startswith("sha256:")
    assert description.details["built"] is None


def test_g53_tiers_start_on_the_same_date(files: dict[str, Path]) -> None:
    """All tiers skip the warm-up of the slowest built-in indicator, so that they are compared on the same samples."""
    panels = {tier: panel(**files, tier=tier, vix=True) for tier in ("a25", "a50", "a100")}
    panels["list"] = panel(file=files["file"], tier=["close", "return_1d"])
    dates = {name: (str(one.times[0]), str(one.times[-1]), len(one.times)) for name, one in panels.items()}
    assert set(dates.values()) == {("1994-11-03", "2021-09-17", 6766)}
    assert {one.details["first"] for one in panels.values()} == {"1994-11-03"}


def test_g53_a_tier_on_its_own_dates_says_so(files: dict[str, Path]) -> None:
    """`warm_up: own` keeps every possible row and records the first date."""
    found = panel(file=files["file"], tier=["close", "return_5d"], warm_up="own")
    assert found.details["first"] == str(found.times[0]) == "1993-02-05"
    assert found.details["warm_up"] == 5


def test_prices_before_start_warm_indicators_up(files: dict[str, Path]) -> None:
    """`start` and `end` select rows; their features equal those of the whole file."""
    whole = panel(file=files["file"])
    part = panel(file=files["file"], start="2003-01-01", end="2007-12-31")
    rows = (whole.times >= np.datetime64("2003-01-01")) & (whole.times <= np.datetime64("2007-12-31"))
    np.testing.assert_array_equal(part.times, whole.times[rows])
    np.testing.assert_array_equal(part.values, whole.values[rows])
    assert np.isnan(part.labels[-1])
    np.testing.assert_array_equal(part.labels[:-1], whole.labels[rows][:-1])


def _write(prices: Prices, folder: Path, **changes: Any) -> dict[str, Path]:
    spy, vix = prices(120), prices(120, seed=1, base=20.0)
    spy = changes.get("spy", lambda frame: frame)(spy)
    vix = changes.get("vix", lambda frame: frame)(vix)
    spy.to_parquet(folder / "SPY.parquet")
    vix.to_parquet(folder / "VIX.parquet")
    return {"file": folder / "SPY.parquet", "vix_file": folder / "VIX.parquet"}


SMALL: dict[str, Any] = {"tier": ["close", "vix_close", "vix_change_1"], "warm_up": "own"}


def test_a_missing_date_of_the_vix_is_reported(prices: Prices, tmp_path: Path) -> None:
    """A trading day without a VIX is an error, because no true value exists."""
    files = _write(prices, tmp_path, vix=lambda frame: frame.drop(frame.index[[30, 31]]))
    with pytest.raises(DataError) as caught:
        panel(**files, **SMALL)
    assert str(caught.value) == (
        "VIX.parquet: column Date: 2001-02-13 is missing, a trading day of SPY.parquet; 2 such days. Complete the "
        "file, set `end`, or use the previous value with `vix_missing: previous`"
    )


def test_vix_missing_previous_fills_a_missing_vix(prices: Prices, tmp_path: Path) -> None:
    """`previous` uses the previous close, never a later one."""
    files = _write(prices, tmp_path, vix=lambda frame: frame.drop(frame.index[[30, 31]]))
    found = panel(**files, **SMALL, vix_missing="previous")
    closes = pd.read_parquet(files["vix_file"])["Close"]
    column = found.values[:, found.features.index("vix_close")]
    dates = list(found.times)
    row = dates.index(np.datetime64("2001-02-13"))
    assert column[row - 1] == column[row] == column[row + 1] == closes["2001-02-12"]
    assert column[row + 2] == closes["2001-02-15"]


def test_a_vix_that_ended_is_not_carried_on(prices: Prices, tmp_path: Path) -> None:
    """`previous` bridges days, not months: the end of the file is missing."""
    files = _write(prices, tmp_path, vix=lambda frame: frame[:100])
    with pytest.raises(DataError) as caught:
        panel(**files, **SMALL, vix_missing="previous")
    assert str(caught.value) == (
        "VIX.parquet: column Date: 2001-05-29, a trading day of SPY.parquet, is 8 days after the previous value; "
        "15 such days. Complete the file, or set `end`"
    )


def test_the_vix_may_begin_later_and_have_further_days(prices: Prices, tmp_path: Path) -> None:
    """Rows before the first VIX are skipped like a warm-up. The VIX's other days are ignored."""
    files = _write(prices, tmp_path, vix=lambda frame: frame[20:], spy=lambda frame: frame.drop(frame.index[50]))
    found = panel(**files, **SMALL)
    assert str(found.times[0]) == "2001-01-31"  # the day after the first VIX, for a change over one day
    assert len(found.times) == 98


def test_a_tier_that_needs_the_vix_lists_the_features(bundled: Path) -> None:
    """a50 contains the variance risk premium, which needs the VIX."""
    with pytest.raises(ExperimentError) as caught:
        panel(file=bundled / "spy_daily.parquet", tier="a50")
    assert str(caught.value) == (
        "dataset.vix_file: variance_risk_premium_10, variance_risk_premium_21, implied_realised_ratio_21 need the VIX; "
        "set a file of its prices"
    )


def test_an_unused_vix_file_is_refused(files: dict[str, Path]) -> None:
    """An experiment file has no unused entries."""
    with pytest.raises(ExperimentError) as caught:
        panel(**files, tier="a25")
    assert str(caught.value) == "dataset.vix_file: no feature reads the VIX; write `vix: true`, or remove the file"


def test_g50_a_feature_that_is_not_defined_is_refused_with_its_first_row(prices: Prices, tmp_path: Path) -> None:
    """A volume of zero for 20 rows leaves a volume-weighted price undefined."""

    def quiet(frame: Any) -> Any:
        frame.iloc[40:70, frame.columns.get_loc("Volume")] = 0
        return frame

    files = _write(prices, tmp_path, spy=quiet)
    with pytest.raises(DataError) as caught:
        panel(file=files["file"], tier=["close", "vwap_20"], warm_up="own")
    assert str(caught.value) == (
        "SPY.parquet: column vwap_20: row 59 (2001-03-26): is not defined there (sum of 20 of volume * (high + low + "
        "close) / 3, by the sum of 20 volumes); start later, or remove vwap_20; 11 such rows [G50]"
    )
    assert len(panel(file=files["file"], tier=["vwap_20"], warm_up="own", start="2001-04-10").times) == 50


def test_g50_a_missing_volume_is_named_with_the_features_that_need_it(prices: Prices, tmp_path: Path) -> None:
    """An index without a volume has no such features."""
    files = _write(prices, tmp_path, spy=lambda frame: frame.drop(columns="Volume"))
    with pytest.raises(DataError) as caught:
        panel(file=files["file"], tier=["close", "obv", "vwap_20"], warm_up="own")
    assert str(caught.value) == (
        "SPY.parquet: column Volume is missing, which obv, vwap_20 need; if the file has it under another name, write "
        "read: {columns: {volume: ...}}"
    )


def test_too_few_rows_are_reported(prices: Prices, tmp_path: Path) -> None:
    """120 rows are less than the warm-up of a25."""
    files = _write(prices, tmp_path)
    with pytest.raises(DataError) as caught:
        panel(file=files["file"])
    assert str(caught.value) == (
        "SPY.parquet: no rows are left: the features need 446 rows of warm-up, and there are 120 rows up to 2001-06-18"
    )


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({}, "set either file or store"),
        ({"file": Path("a.csv"), "store": Path("s")}, "set either file or store"),
        ({"file": Path("a.csv"), "version": 2}, "version has no effect on prices from a file"),
        ({"store": Path("s"), "vix_file": Path("v")}, "vix_file has no effect on prices from the store"),
        ({"file": Path("a.csv"), "vix_symbol": "VXN"}, "vix_symbol has no effect on prices from a file"),
        (
            {"store": Path("s"), "read": ReadRules(max_gap=9)},
            "read has no effect on prices from the store",
        ),
        (
            {"store": Path("s"), "vix_read": ReadRules()},
            "vix_read has no effect on prices from the store",
        ),
        ({"file": Path("a.csv"), "start": "20100101"}, "start: '20100101' is not a date such as 1999-03-10"),
        (
            {"file": Path("a.csv"), "start": "2010-01-01", "end": "2009-01-01"},
            "start (2010-01-01) must not be after end (2009-01-01)",
        ),
        ({"file": Path("a.csv"), "tier": []}, "tier: name at least one tier or indicator"),
    ],
)
def test_options_that_contradict_or_have_no_effect_are_refused(options: dict[str, Any], message: str) -> None:
    """An experiment file has no unused options."""
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        MarketOptions(symbol="SPY", **options)


def test_scattered_blocks_and_dates_can_be_requested(files: dict[str, Path]) -> None:
    """The panel passes the split to the core, which applies it."""
    dates = Split(val_from="2015-01-02", test_from="2018-01-02", purge=61)
    description = describe(panel(**files, vix=True, split=dates))
    assert description.parts["val"].samples[0] == "2015-01-02"
    scattered = Split(kind="scattered", purge=60)
    assert describe(panel(**files, vix=True, split=scattered)).split.kind == "scattered"
