"""Volatility: true range, Bollinger bands, range-based and close-to-close volatility."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import talib

from scalecore_market.bars import Array, Bars
from scalecore_market.indicators.base import Indicator, recursive, window
from scalecore_market.indicators.series import (
    log_returns,
    memory_rows,
    ratio,
    returns,
    rolling,
    root,
    ta,
    wilder_response,
)

__all__ = ["YEAR", "atr", "indicators", "realised_variance"]

YEAR = 252
"""Sessions a year, to annualise variances."""

_OHLC = ("open", "high", "low", "close")


def indicators() -> list[Indicator]:
    """ATR 14, Bollinger 20/2, Parkinson, Garman-Klass and realised volatility over 20 and 60 rows."""
    return [*_atr(), *_bollinger(), *_range_volatility(), *_realised()]


def atr(bars: Bars) -> Array:
    """Wilder's average true range over 14 rows."""
    return ta(talib.ATR, bars.high, bars.low, bars.close, timeperiod=14)


def realised_variance(close: Array, rows: int) -> Array:
    """`252 / rows` times the sum of the last `rows` squared log returns: a yearly variance, mean not removed."""
    return YEAR * rolling(log_returns(close) ** 2, rows, "mean")


def _atr() -> list[Indicator]:
    # The true range uses the previous row.
    memory = memory_rows(wilder_response(14)) + 1

    def of(name: str, formula: str, function: Callable[[Bars], Array], *, further: int = 0) -> Indicator:
        return recursive(name, formula, function, inputs=_OHLC[1:], look_back=memory + further, start=14)

    def percent(bars: Bars) -> Array:
        return 100.0 * ratio(atr(bars), bars.close)

    return [
        of("atr_14", "Wilder's average over 14 of max(high, close[t-1]) - min(low, close[t-1])", atr),
        of("atr_percent_14", "100 * ATR14 / close", percent),
        of(
            "atr_percent_slope_5",
            "a / a[t-5] - 1, of a = ATR14 / close",
            lambda bars: returns(percent(bars), 5),
            further=5,
        ),
    ]


def _bollinger() -> list[Indicator]:
    def band(bars: Bars, output: int) -> Array:
        return ta(talib.BBANDS, bars.close, output=output, timeperiod=20, nbdevup=2.0, nbdevdn=2.0, matype=0)

    def of(name: str, formula: str, function: Callable[[Bars], Array]) -> Indicator:
        return window(name, formula, function, look_back=19, source="TA-Lib")

    return [
        of(
            "percent_b_20",
            "(close - L) / (U - L); U, L = SMA20 +- 2 * population standard deviation of 20 closes",
            lambda bars: ratio(bars.close - band(bars, 2), band(bars, 0) - band(bars, 2)),
        ),
        of(
            "bollinger_width_20",
            "(U - L) / SMA20; U, L = SMA20 +- 2 * population standard deviation of 20 closes",
            lambda bars: ratio(band(bars, 0) - band(bars, 2), band(bars, 1)),
        ),
    ]


def _range_volatility() -> list[Indicator]:
    def parkinson(rows: int) -> Indicator:
        def function(bars: Bars) -> Array:
            return root(YEAR / (4.0 * np.log(2.0)) * rolling(np.log(bars.high / bars.low) ** 2, rows, "mean"))

        text = f"sqrt(252 * mean of {rows} of ln(high / low)^2 / (4 ln 2))"
        return window(f"parkinson_{rows}", text, function, inputs=("high", "low"), look_back=rows - 1, source="pandas")

    def garman_klass(rows: int) -> Indicator:
        def function(bars: Bars) -> Array:
            spread, drift = np.log(bars.high / bars.low) ** 2, np.log(bars.close / bars.open) ** 2
            mean = rolling(0.5 * spread - (2.0 * np.log(2.0) - 1.0) * drift, rows, "mean")
            # A single day may be negative, a mean hardly ever; `root` treats negative values as 0.
            return root(YEAR * mean)

        text = f"sqrt(252 * max(0, mean of {rows} of ln(high/low)^2 / 2 - (2 ln 2 - 1) * ln(close/open)^2))"
        return window(f"garman_klass_{rows}", text, function, inputs=_OHLC, look_back=rows - 1, source="pandas")

    return [parkinson(20), parkinson(60), garman_klass(20), garman_klass(60)]


def _realised() -> list[Indicator]:
    def of(name: str, formula: str, function: Callable[[Array], Array], *, look_back: int) -> Indicator:
        return window(name, formula, lambda bars: function(bars.close), look_back=look_back, source="pandas")

    def volatility(close: Array, rows: int) -> Array:
        return root(realised_variance(close, rows))

    text = "sqrt(252 * mean of {} of ln(close / close[t-1])^2)"
    return [
        of("realised_volatility_20", text.format(20), lambda close: volatility(close, 20), look_back=20),
        of("realised_volatility_60", text.format(60), lambda close: volatility(close, 60), look_back=60),
        of(
            "volatility_ratio_20_60",
            "realised volatility over 20 / over 60",
            lambda close: ratio(volatility(close, 20), volatility(close, 60)),
            look_back=60,
        ),
        of(
            "volatility_slope_10",
            "v / v[t-10] - 1, of v = realised volatility over 20",
            lambda close: returns(volatility(close, 20), 10),
            look_back=30,
        ),
    ]
