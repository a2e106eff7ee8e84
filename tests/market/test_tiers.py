"""Tiers and indicators: their numbers, causality, and the correctness of their declarations."""

from __future__ import annotations

import attrs
import numpy as np
import pytest

from scalecore.api.errors import ExperimentError, RefusedError
from scalecore_market.bars import Bars
from scalecore_market.features import check_features, check_truncation, common_warm_up, compute, first_row
from scalecore_market.indicators.base import Indicator
from scalecore_market.indicators.registry import IndicatorRegistry, builtin_registry

ALL = tuple(builtin_registry().indicators.values())


@pytest.fixture(scope="module")
def registry() -> IndicatorRegistry:
    return builtin_registry()


@pytest.mark.parametrize(("tier", "columns"), [("a25", 25), ("a50", 55), ("a100", 105)])
def test_tiers_have_exactly_their_columns(tier: str, columns: int, registry: IndicatorRegistry) -> None:
    """25, 55 and 105 columns, 8 more with the VIX.

    Each tier starts with the previous one, and all indicators are registered.
    """
    names = [indicator.name for indicator in registry.select(tier)]
    assert len(names) == len(set(names)) == columns
    with_vix = [indicator.name for indicator in registry.select(tier, vix=True)]
    assert len(with_vix) == columns + 8
    assert with_vix[:columns] == names
    assert names[:25] == list(registry.tiers["a25"])


def test_the_features_of_a25(registry: IndicatorRegistry) -> None:
    """Five prices and twenty indicators in their fixed order."""
    assert registry.tiers["a25"] == (
        *("open", "high", "low", "close", "volume", "dema_9", "dema_10", "dema_20", "dema_25", "dema_90"),
        *("sma_12", "sma_50", "sma_100", "sma_200", "rsi_14", "rsi_14_weekly", "stochrsi_k", "stochrsi_k_weekly"),
        *("macd", "obv", "adosc", "atr_14", "adx_14", "percent_b_20", "vwap_20"),
    )


def test_no_registered_indicator_is_outside_of_the_tiers(registry: IndicatorRegistry) -> None:
    """All 113 are in a100 or in those of the VIX, so that the tests below cover all."""
    assert {one.name for one in registry.select("a100", vix=True)} == set(registry.indicators)
    assert len(ALL) == 113


@pytest.mark.parametrize("indicator", ALL, ids=lambda one: one.name)
def test_g51_no_indicator_looks_ahead(indicator: Indicator, spy: Bars) -> None:
    """Computed from data cut at t, each indicator equals the full series up to t, on each weekday, early and late."""
    bars = _tail(spy, 2500)
    check_truncation([indicator], bars, name="SPY", cuts=[1, 2, 60, 447, 900, 1803, *range(2480, 2490), 2499])


@pytest.mark.parametrize("shift", [1, 5])
def test_g51_an_indicator_that_looks_ahead_is_refused(shift: int, spy: Bars) -> None:
    """A future close as a feature."""
    ahead = Indicator(
        name="ahead",
        formula=f"close[t+{shift}]",
        inputs=("close",),
        look_back=0,
        warm_up=0,
        source="numpy",
        function=lambda bars: np.append(bars.close[shift:], np.full(shift, bars.close[-1])),
    )
    bars = _tail(spy, 300)
    row = bars.dates[100 - shift]
    with pytest.raises(RefusedError) as caught:
        check_truncation([ahead], bars, name="SPY")
    assert caught.value.guard == "G51"
    assert str(caught.value) == (
        f"SPY: ahead looks ahead: its value of {row} changes when the rows after {bars.dates[99]} are removed [G51]"
    )


@pytest.mark.parametrize("name", ["rsi_14_weekly", "stochrsi_k_weekly"])
def test_g51_weekly_indicators_do_not_see_their_own_week(name: str, spy: Bars, registry: IndicatorRegistry) -> None:
    """A week has one value, which changes on its first session and does not depend on prices of that week."""
    bars = _tail(spy, 1000)
    values = registry.indicators[name].function(bars)
    week = [day.isocalendar()[:2] for day in bars.dates.astype(object)]
    first_days = [row for row in range(1, 1000) if week[row] != week[row - 1]]
    within = np.array([row for row in range(500, 1000) if row not in first_days])
    np.testing.assert_array_equal(values[within], values[within - 1])
    monday = np.array([row for row in first_days if row > 500])
    assert (values[monday] != values[monday - 1]).mean() > 0.5
    start = first_days[-3]
    changed = bars.close.copy()
    changed[start:] *= 0.7
    moved = registry.indicators[name].function(attrs.evolve(bars, close=changed))
    end = first_days[-2]
    np.testing.assert_array_equal(moved[:end], values[:end])
    assert moved[end] != values[end]


@pytest.mark.parametrize("indicator", ALL, ids=lambda one: one.name)
def test_the_declared_look_back_is_true(indicator: Indicator, spy: Bars) -> None:
    """A changed past before the look-back does not change a value, or within 1 % of the weight for a recursive one.

    The other past has the real days in another order, scaled so that the close does not jump.
    """
    if indicator.memory == "cumulative":
        assert indicator.name in {"obv", "ad_line", "vpt"}
        return
    random = np.random.default_rng(7)
    values = indicator.function(spy)
    off = []
    for row in (1500, 2400, 3000, 4500, 5700, 6999):
        other = _other_past(spy.cut(row + 1), row - indicator.look_back, random)
        found = indicator.function(other)[row]
        if indicator.memory == "window":
            assert found == pytest.approx(values[row], rel=1e-6, abs=1e-9)
        off.append(abs(found - values[row]) / np.nanstd(values))
    if indicator.kind == "number":
        assert np.median(off) < 0.05
        assert max(off) < 0.25


@pytest.mark.parametrize("indicator", ALL, ids=lambda one: one.name)
def test_the_declared_warm_up_is_enough(indicator: Indicator, spy: Bars) -> None:
    """After its warm-up, a series that starts later equals the longer one, within its memory's tolerance."""
    values = indicator.function(spy)
    for start in (1234, 3571):
        later = indicator.function(_rows(spy, start, start + indicator.warm_up + 40))[indicator.warm_up :]
        expected = values[start + indicator.warm_up : start + indicator.warm_up + 40]
        assert np.isfinite(later).all()
        if indicator.memory == "window":
            np.testing.assert_allclose(later, expected, rtol=1e-6, atol=1e-9)
        elif indicator.memory == "recursive" and indicator.kind == "number":
            assert np.abs(later - expected).max() < 0.1 * np.nanstd(values)


def test_categories_are_whole_numbers_and_booleans_0_or_1(spy: Bars, registry: IndicatorRegistry) -> None:
    """All features of a100 and the VIX are finite after their warm-up and of their declared kind."""
    indicators = registry.select("a100", vix=True)
    table = compute(indicators, spy, name="SPY")
    check_features(table, indicators, start=first_row(indicators, bars=spy), name="SPY")
    kinds = {kind: [one.name for one in indicators if one.kind == kind] for kind in ("integer", "boolean")}
    assert kinds["integer"] == ["vix_regime"]
    assert kinds["boolean"] == [
        *("sma_12_above_50", "sma_50_above_200", "close_above_sma_200", "macd_above_signal", "supertrend_up")
    ]
    start = common_warm_up(registry)
    for name in kinds["boolean"]:
        assert set(table.columns[name][start:]) == {0.0, 1.0}
    assert set(table.columns["vix_regime"]) == {0.0, 1.0, 2.0}


def test_every_indicator_describes_itself(registry: IndicatorRegistry) -> None:
    """A one-line formula, inputs, a source, and a memory that matches the look-back."""
    for one in ALL:
        content = one.to_json()
        assert content["formula"]
        assert content["inputs"]
        assert content["source"] in {"raw", "TA-Lib", "pandas", "numpy"}
        assert one.warm_up >= one.look_back, one.name


@pytest.mark.parametrize(
    ("tier", "message"),
    [
        ("a-25", "dataset.tier: there is no tier or indicator 'a-25'; did you mean 'a25'?"),
        (["a25", "rsi_15"], "dataset.tier: there is no tier or indicator 'rsi_15'; did you mean 'rsi_14'?"),
        (["a25", "rsi_14"], "dataset.tier: rsi_14 appears twice; remove it from the list"),
    ],
)
def test_g55_a_feature_that_does_not_exist_is_refused(
    tier: str | list[str], message: str, registry: IndicatorRegistry
) -> None:
    """Only registered features are accepted."""
    with pytest.raises(ExperimentError) as caught:
        registry.select(tier)
    assert str(caught.value) == message


def test_a_tier_can_be_extended_in_the_list(registry: IndicatorRegistry) -> None:
    """Tiers and indicators are in one list, in the model's order."""
    names = [one.name for one in registry.select(["a25", "return_5d", "vix"])]
    assert names == [*registry.tiers["a25"], "return_5d", *registry.tiers["vix"]]


def _rows(bars: Bars, start: int, stop: int) -> Bars:
    return Bars(**{field.name: getattr(bars, field.name)[start:stop] for field in attrs.fields(Bars)})


def _tail(bars: Bars, rows: int) -> Bars:
    return _rows(bars, len(bars) - rows, len(bars))


def _other_past(bars: Bars, keep: int, random: np.random.Generator) -> Bars:
    """The rows before `keep` in another order, with prices scaled to match the close of row `keep`."""
    order = random.permutation(keep)
    steps = np.diff(np.log(bars.close[: keep + 1]))[order]
    past = np.exp(np.log(bars.close[keep]) - np.cumsum(steps[::-1])[::-1])
    scale = past / bars.close[order]

    def price(values: np.ndarray) -> np.ndarray:
        return np.concatenate((values[order] * scale, values[keep:]))

    def mixed(values: np.ndarray | None) -> np.ndarray:
        assert values is not None
        return np.concatenate((values[order], values[keep:]))

    return Bars(
        dates=bars.dates,
        open=price(bars.open),
        high=price(bars.high),
        low=price(bars.low),
        close=price(bars.close),
        volume=mixed(bars.volume),
        vix=mixed(bars.vix),
    )
