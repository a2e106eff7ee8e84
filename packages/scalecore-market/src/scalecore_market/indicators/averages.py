"""Prices and volume, moving averages, their slopes, spreads and crosses."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import talib

from scalecore_market.bars import Array, Bars
from scalecore_market.indicators.base import Indicator, recursive, window
from scalecore_market.indicators.series import ema_response, greater, memory_rows, ratio, returns, ta

__all__ = ["indicators", "sma"]


def indicators() -> list[Indicator]:
    """Open, high, low, close, volume, DEMA, SMA, and indicators derived from them."""
    return [
        *_raw(),
        *map(_dema, (9, 10, 20, 25, 90)),
        *map(_sma, (12, 50, 100, 200)),
        *_prices_to_averages(),
        *_slopes(),
        *_crosses(),
    ]


def sma(values: Array, period: int) -> Array:
    """Mean of the last `period` values."""
    return ta(talib.SMA, values, timeperiod=period)


def dema(values: Array, period: int) -> Array:
    """Twice the exponential average, minus the exponential average of that average."""
    return ta(talib.DEMA, values, timeperiod=period)


def _dema_response(period: int) -> Array:
    once = ema_response(period)
    return 2.0 * once - np.convolve(once, once)[: len(once)]


def _raw() -> list[Indicator]:
    def raw(name: str) -> Indicator:
        return window(
            name, f"{name} as quoted", lambda bars: bars.column(name), inputs=(name,), look_back=0, source="raw"
        )

    return [raw(name) for name in ("open", "high", "low", "close", "volume")]


def _dema(period: int) -> Indicator:
    return recursive(
        f"dema_{period}",
        f"2 * EMA{period}(close) - EMA{period}(EMA{period}(close))",
        lambda bars: dema(bars.close, period),
        look_back=memory_rows(_dema_response(period)),
        start=2 * (period - 1),
    )


def _of_sma(name: str, formula: str, function: Callable[[Bars], Array], *, look_back: int) -> Indicator:
    return window(name, formula, function, look_back=look_back, source="TA-Lib")


def _sma(period: int) -> Indicator:
    text = f"mean of {period} closes"
    return _of_sma(f"sma_{period}", text, lambda bars: sma(bars.close, period), look_back=period - 1)


def _prices_to_averages() -> list[Indicator]:
    def price_to_sma(period: int) -> Indicator:
        return _of_sma(
            f"price_to_sma_{period}",
            f"100 * (close / SMA{period} - 1), in percent",
            lambda bars: 100.0 * (ratio(bars.close, sma(bars.close, period)) - 1.0),
            look_back=period - 1,
        )

    return [
        price_to_sma(50),
        price_to_sma(200),
        _of_sma(
            "sma_50_200_proximity",
            "100 * (SMA50 / SMA200 - 1), in percent",
            lambda bars: 100.0 * (ratio(sma(bars.close, 50), sma(bars.close, 200)) - 1.0),
            look_back=199,
        ),
    ]


def _slopes() -> list[Indicator]:
    def sma_slope(period: int, rows: int) -> Indicator:
        return _of_sma(
            f"sma_{period}_slope_{rows}",
            f"SMA{period} / SMA{period}[t-{rows}] - 1",
            lambda bars: returns(sma(bars.close, period), rows),
            look_back=period - 1 + rows,
        )

    def trend_slope(rows: int) -> Indicator:
        return _of_sma(
            f"trend_slope_{rows}",
            f"slope of the least-squares line through {rows} values of ln(close), per day",
            lambda bars: ta(talib.LINEARREG_SLOPE, np.log(bars.close), timeperiod=rows),
            look_back=rows - 1,
        )

    return [
        sma_slope(50, 10),
        sma_slope(200, 20),
        recursive(
            "dema_20_slope_5",
            "DEMA20 / DEMA20[t-5] - 1",
            lambda bars: returns(dema(bars.close, 20), 5),
            look_back=memory_rows(_dema_response(20)) + 5,
            start=38,
        ),
        trend_slope(20),
        trend_slope(60),
    ]


def _crosses() -> list[Indicator]:
    def above(name: str, formula: str, *, fast: int, slow: int) -> Indicator:
        def function(bars: Bars) -> Array:
            quick = bars.close if fast == 1 else sma(bars.close, fast)
            return greater(quick, sma(bars.close, slow))

        text = f"1 if {formula}, else 0"
        return window(name, text, function, look_back=slow - 1, source="TA-Lib", kind="boolean")

    def dema_spread(fast: int, slow: int) -> Indicator:
        return recursive(
            f"dema_{fast}_{slow}_spread",
            f"DEMA{fast} / DEMA{slow} - 1",
            lambda bars: ratio(dema(bars.close, fast), dema(bars.close, slow)) - 1.0,
            look_back=memory_rows(_dema_response(fast) - _dema_response(slow)),
            start=2 * (slow - 1),
        )

    return [
        _of_sma(
            "sma_12_50_spread",
            "SMA12 / SMA50 - 1",
            lambda bars: ratio(sma(bars.close, 12), sma(bars.close, 50)) - 1.0,
            look_back=49,
        ),
        above("sma_12_above_50", "SMA12 > SMA50", fast=12, slow=50),
        above("sma_50_above_200", "SMA50 > SMA200", fast=50, slow=200),
        above("close_above_sma_200", "close > SMA200", fast=1, slow=200),
        dema_spread(10, 25),
        dema_spread(20, 90),
    ]
