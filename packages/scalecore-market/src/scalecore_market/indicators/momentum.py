"""Oscillators of the close: RSI, stochastic RSI, MACD, QQE, Schaff trend cycle, and their changes."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import talib

from scalecore_market.bars import Array, Bars
from scalecore_market.indicators.base import Indicator, recursive
from scalecore_market.indicators.series import (
    SESSIONS_A_WEEK,
    change,
    completed_weeks,
    ema,
    ema_response,
    greater,
    memory_rows,
    rolling,
    ta,
    wilder_response,
)

__all__ = ["indicators", "rsi"]


def indicators() -> list[Indicator]:
    """Daily and weekly RSI 14 and stochastic RSI, MACD 12/26/9, QQE 14/5/4.236, STC 23/50/10, and their slopes."""
    return [*_rsi(), *_weekly(), *_macd(), *_qqe(), *_stc()]


def rsi(close: Array) -> Array:
    """Wilder's relative strength index over 14 rows, 0 to 100."""
    return ta(talib.RSI, close, timeperiod=14)


def stochrsi(close: Array) -> Array:
    """%K (14, 5, 3): position of RSI 14 between its minimum and maximum of 5 rows, 0 to 100; 0 if these are equal."""
    return ta(talib.STOCHRSI, close, output=0, timeperiod=14, fastk_period=5, fastd_period=3)


def _rsi_memory() -> int:
    """One row more than the average, because it averages changes."""
    return memory_rows(wilder_response(14)) + 1


def _rsi() -> list[Indicator]:
    memory = _rsi_memory()
    text = "100 * U / (U + D); U, D: Wilder's averages over 14 of the rises and falls of the close"
    return [
        recursive("rsi_14", text, lambda bars: rsi(bars.close), look_back=memory, start=14),
        recursive(
            "stochrsi_k",
            "100 * (RSI14 - lowest of 5) / (highest of 5 - lowest of 5); 0 where these are equal",
            lambda bars: stochrsi(bars.close),
            look_back=memory + 4,
            start=20,
        ),
        recursive(
            "rsi_14_slope_5",
            "RSI14 - RSI14[t-5]",
            lambda bars: change(rsi(bars.close), 5),
            look_back=memory + 5,
            start=19,
        ),
        recursive(
            "rsi_14_extreme_distance",
            "min(RSI14 - 30, 70 - RSI14); negative beyond the extremes",
            lambda bars: np.minimum(rsi(bars.close) - 30.0, 70.0 - rsi(bars.close)),
            look_back=memory,
            start=14,
        ),
        recursive(
            "rsi_14_acceleration_5",
            "slope - slope[t-5], of slope = RSI14 - RSI14[t-5]",
            lambda bars: change(change(rsi(bars.close), 5), 5),
            look_back=memory + 10,
            start=24,
        ),
    ]


def _weekly() -> list[Indicator]:
    def weekly(name: str, formula: str, function: Callable[[Array], Array], *, weeks: int, start: int) -> Indicator:
        # `weeks` and `start` count weekly closes. A week's value is available from the first session of the next week.
        return recursive(
            name,
            f"{formula}, of weekly closes up to the last completed week",
            lambda bars: completed_weeks(bars.dates, bars.close, function),
            look_back=SESSIONS_A_WEEK * (weeks + 1),
            start=SESSIONS_A_WEEK * start,
        )

    memory = _rsi_memory()
    return [
        weekly("rsi_14_weekly", "RSI14", rsi, weeks=memory, start=14),
        weekly("stochrsi_k_weekly", "stochastic RSI %K (14, 5, 3)", stochrsi, weeks=memory + 4, start=20),
    ]


def _macd() -> list[Indicator]:
    line = ema_response(12) - ema_response(26)
    signal = np.convolve(line, ema_response(9))[: len(line)]

    def macd(bars: Bars, output: int) -> Array:
        return ta(talib.MACD, bars.close, output=output, fastperiod=12, slowperiod=26, signalperiod=9)

    return [
        recursive(
            "macd", "EMA12(close) - EMA26(close)", lambda bars: macd(bars, 0), look_back=memory_rows(line), start=33
        ),
        recursive("macd_signal", "EMA9(MACD)", lambda bars: macd(bars, 1), look_back=memory_rows(signal), start=33),
        recursive(
            "macd_histogram",
            "MACD - EMA9(MACD)",
            lambda bars: macd(bars, 2),
            look_back=memory_rows(line - signal),
            start=33,
        ),
        recursive(
            "macd_histogram_slope_5",
            "histogram - histogram[t-5], of the MACD",
            lambda bars: change(macd(bars, 2), 5),
            look_back=memory_rows(line - signal) + 5,
            start=38,
        ),
        recursive(
            "macd_above_signal",
            "1 if MACD > EMA9(MACD), else 0",
            lambda bars: greater(macd(bars, 0), macd(bars, 1)),
            look_back=memory_rows(line - signal),
            start=33,
            kind="boolean",
        ),
    ]


def _qqe() -> list[Indicator]:
    # The stop keeps a level until it is crossed: at most 30 rows longer than the memory of the averages, measured on
    # SPY, QQQ, DIA, ^DJI and ^IXIC until 2024.
    memory = memory_rows(wilder_response(14), ema_response(5), ema_response(27), ema_response(27)) + 1 + 30
    fast_memory = memory_rows(wilder_response(14), ema_response(5)) + 1
    start = 14 + 4 + 1 + 26 + 26
    return [
        recursive("qqe_fast", "EMA5(RSI14)", lambda bars: qqe(bars.close)[0], look_back=fast_memory, start=18),
        recursive(
            "qqe_slow",
            "trailing stop of EMA5(RSI14) at 4.236 * EMA27(EMA27(|change of EMA5(RSI14)|))",
            lambda bars: qqe(bars.close)[1],
            look_back=memory,
            start=start,
            source="numpy",
        ),
        recursive(
            "qqe_spread",
            "QQE fast - QQE slow",
            lambda bars: qqe(bars.close)[0] - qqe(bars.close)[1],
            look_back=memory,
            start=start,
            source="numpy",
        ),
        recursive(
            "qqe_spread_slope_5",
            "spread - spread[t-5], of the QQE",
            lambda bars: change(qqe(bars.close)[0] - qqe(bars.close)[1], 5),
            look_back=memory + 5,
            start=start + 5,
            source="numpy",
        ),
    ]


def qqe(close: Array) -> tuple[Array, Array]:
    """Fast and slow line of the QQE (14, 5, 4.236).

    The slow line trails the fast one. It is below a rising fast line and never falls, or above a falling one and never
    rises. It changes sides when the fast line crosses it. The first row with a band counts as rising.
    """
    fast = ema(rsi(close), 5)
    width = 4.236 * ema(ema(np.abs(change(fast, 1)), 27), 27)
    slow = np.full(len(close), np.nan)
    lower = upper = before = np.nan
    rising = True
    for row, (now, band) in enumerate(zip(fast.tolist(), width.tolist(), strict=True)):
        if band == band:  # not NaN
            crossed_up, crossed_down = now > upper, now < lower
            lower = max(lower, now - band) if before > lower and now > lower else now - band
            upper = min(upper, now + band) if before < upper and now < upper else now + band
            rising = crossed_up or (rising and not crossed_down)
            slow[row] = lower if rising else upper
        before = now
    return fast, slow


def _stc() -> list[Indicator]:
    def halving(rows: int) -> Array:
        return np.concatenate((np.full(rows, 1.0 / rows), np.zeros(rows)))

    smoothing = 0.5 ** np.arange(1, 65, dtype=np.float64)
    memory = memory_rows(ema_response(23) - ema_response(50), halving(10), smoothing, halving(10), smoothing)
    text = "stochastic of 10 rows, halfway smoothed, twice over, of EMA23 - EMA50; 0 to 100"
    return [
        recursive("stc", text, lambda bars: stc(bars.close), look_back=memory, start=67, source="numpy"),
        recursive(
            "stc_distance_50",
            "STC - 50",
            lambda bars: stc(bars.close) - 50.0,
            look_back=memory,
            start=67,
            source="numpy",
        ),
        recursive(
            "stc_slope_5",
            "STC - STC[t-5]",
            lambda bars: change(stc(bars.close), 5),
            look_back=memory + 5,
            start=72,
            source="numpy",
        ),
    ]


def stc(close: Array) -> Array:
    """Schaff trend cycle (23, 50, 10), smoothing factor 0.5, 0 to 100."""
    return _smoothed_stochastic(_smoothed_stochastic(ema(close, 23) - ema(close, 50)))


def _smoothed_stochastic(values: Array) -> Array:
    """100 * position between minimum and maximum of 10 rows, smoothed with factor 0.5; unchanged if these are equal."""
    low, high = rolling(values, 10, "min").tolist(), rolling(values, 10, "max").tolist()
    result = np.full(len(values), np.nan)
    smooth = raw = np.nan
    for row, value in enumerate(values.tolist()):
        if low[row] != low[row]:  # NaN
            continue
        span = high[row] - low[row]
        raw = 100.0 * (value - low[row]) / span if span > 0.0 else (0.0 if raw != raw else raw)
        smooth = raw if smooth != smooth else smooth + 0.5 * (raw - smooth)
        result[row] = smooth
    return result
