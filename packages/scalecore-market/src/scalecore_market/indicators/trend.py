"""Strength and direction of a trend, and the position of the close in its range."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import talib

from scalecore_market.bars import Array, Bars
from scalecore_market.indicators.base import Indicator, recursive, window
from scalecore_market.indicators.series import change, memory_rows, ratio, rolling, ta, wilder_response

__all__ = ["indicators"]

_HLC = ("high", "low", "close")


def indicators() -> list[Indicator]:
    """ADX and directional indicators 14, Aroon 25, SuperTrend 10/3, position in the range of 20 and 252 rows."""
    return [*_directional(), *_aroon(), *_supertrend(), *_position()]


def _directional() -> list[Indicator]:
    def adx(bars: Bars) -> Array:
        return ta(talib.ADX, bars.high, bars.low, bars.close, timeperiod=14)

    def spread(bars: Bars) -> Array:
        plus = ta(talib.PLUS_DI, bars.high, bars.low, bars.close, timeperiod=14)
        return plus - ta(talib.MINUS_DI, bars.high, bars.low, bars.close, timeperiod=14)

    once, twice = memory_rows(wilder_response(14)) + 1, memory_rows(wilder_response(14), wilder_response(14)) + 1
    return [
        recursive(
            "adx_14",
            "Wilder's average over 14 of 100 * |+DI - -DI| / (+DI + -DI)",
            adx,
            inputs=_HLC,
            look_back=twice,
            start=27,
        ),
        recursive(
            "adx_slope_5",
            "ADX14 - ADX14[t-5]",
            lambda bars: change(adx(bars), 5),
            inputs=_HLC,
            look_back=twice + 5,
            start=32,
        ),
        recursive(
            "directional_spread_14",
            "+DI14 - -DI14; 100 * Wilder's averages over 14 of directional movement / of true range",
            spread,
            inputs=_HLC,
            look_back=once,
            start=14,
        ),
    ]


def _aroon() -> list[Indicator]:
    def of(name: str, formula: str, function: Callable[[Bars], Array]) -> Indicator:
        return window(name, formula, function, inputs=("high", "low"), look_back=25, source="TA-Lib")

    def aroon(bars: Bars, output: int) -> Array:
        return ta(talib.AROON, bars.high, bars.low, output=output, timeperiod=25)

    return [
        of("aroon_up_25", "100 * (25 - rows since the highest high of 26) / 25", lambda bars: aroon(bars, 1)),
        of("aroon_down_25", "100 * (25 - rows since the lowest low of 26) / 25", lambda bars: aroon(bars, 0)),
        of("aroon_oscillator_25", "Aroon up - Aroon down", lambda bars: aroon(bars, 1) - aroon(bars, 0)),
    ]


def _supertrend() -> list[Indicator]:
    # A band continues until the close crosses it. From any start on SPY, QQQ, DIA, ^DJI and ^IXIC until 2024, the line
    # is the same after at most 87 rows.
    memory = 90
    return [
        recursive(
            "supertrend_up",
            "1 while the SuperTrend (10, 3) lies below the close, else 0",
            lambda bars: supertrend(bars)[1],
            inputs=_HLC,
            look_back=memory,
            start=10,
            source="numpy",
            kind="boolean",
        ),
        recursive(
            "supertrend_distance",
            "close / SuperTrend - 1; SuperTrend trails (high + low) / 2 at 3 * ATR10",
            lambda bars: ratio(bars.close, supertrend(bars)[0]) - 1.0,
            inputs=_HLC,
            look_back=memory,
            start=10,
            source="numpy",
        ),
    ]


def supertrend(bars: Bars) -> tuple[Array, Array]:
    """The line of the SuperTrend (10, 3), and 1 where it lies below the close (trend up), else 0.

    The lower band never falls while the close stays above it; the upper band never rises while the close stays below
    it. The trend starts as up and turns when the close crosses the opposite band.
    """
    width = 3.0 * ta(talib.ATR, bars.high, bars.low, bars.close, timeperiod=10)
    middle = (bars.high + bars.low) / 2.0
    line, up = np.full(len(bars), np.nan), np.full(len(bars), np.nan)
    lower = upper = before = np.nan
    rising = True
    for row, (centre, band, close) in enumerate(zip(middle.tolist(), width.tolist(), bars.close.tolist(), strict=True)):
        if band == band:  # not NaN
            crossed_up, crossed_down = close > upper, close < lower
            lower = max(lower, centre - band) if before >= lower else centre - band
            upper = min(upper, centre + band) if before <= upper else centre + band
            rising = crossed_up or (rising and not crossed_down)
            line[row], up[row] = (lower, 1.0) if rising else (upper, 0.0)
        before = close
    return line, up


def _position() -> list[Indicator]:
    def position(rows: int) -> Indicator:
        def function(bars: Bars) -> Array:
            low = rolling(bars.low, rows, "min")
            return ratio(bars.close - low, rolling(bars.high, rows, "max") - low)

        text = f"(close - L) / (H - L); H, L: highest high and lowest low of {rows} rows"
        return window(f"position_in_range_{rows}", text, function, inputs=_HLC, look_back=rows - 1, source="pandas")

    return [position(20), position(252)]
