"""Volume: running totals, money flow, Klinger's oscillator, rolling volume-weighted price."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import talib

from scalecore_market.bars import Array, Bars
from scalecore_market.indicators.base import Indicator, Source, recursive, window
from scalecore_market.indicators.series import (
    change,
    cumulative_sum,
    ema,
    ema_response,
    memory_rows,
    ratio,
    returns,
    rolling,
    ta,
)

__all__ = ["indicators"]

_HLCV = ("high", "low", "close", "volume")


def indicators() -> list[Indicator]:
    """OBV, A/D line, VPT, ADOSC 3/10, KVO 34/55/13, VWAP 20, volume ratio 20, and slopes."""
    return [*_totals(), *_oscillators(), *_rolling()]


def on_balance_volume(bars: Bars) -> Array:
    """Running total of the volume, added if the close rises, subtracted if it falls. The first row counts as a rise."""
    return ta(talib.OBV, bars.close, bars.column("volume"))


def accumulation(bars: Bars) -> Array:
    """Running total of volume * (2 * close - high - low) / (high - low); rows with high = low add nothing."""
    return ta(talib.AD, bars.high, bars.low, bars.close, bars.column("volume"))


def _totals() -> list[Indicator]:
    def total(
        name: str,
        formula: str,
        inputs: tuple[str, ...],
        function: Callable[[Bars], Array],
        *,
        source: Source,
    ) -> Indicator:
        return Indicator(
            name=name,
            formula=formula,
            inputs=inputs,
            look_back=1,
            warm_up=1,
            memory="cumulative",
            source=source,
            function=function,
        )

    def flow(name: str, formula: str, inputs: tuple[str, ...], line: Callable[[Bars], Array]) -> Indicator:
        def function(bars: Bars) -> Array:
            return ratio(change(line(bars), 20), rolling(bars.column("volume"), 20, "sum"))

        return window(name, formula, function, inputs=inputs, look_back=20, source="TA-Lib")

    return [
        total(
            "obv",
            "running total of sign(close - close[t-1]) * volume",
            ("close", "volume"),
            on_balance_volume,
            source="TA-Lib",
        ),
        total(
            "ad_line",
            "running total of volume * (2 close - high - low) / (high - low); 0 where high = low",
            _HLCV,
            accumulation,
            source="TA-Lib",
        ),
        total(
            "vpt",
            "running total of volume * (close / close[t-1] - 1)",
            ("close", "volume"),
            lambda bars: cumulative_sum(bars.column("volume") * returns(bars.close, 1)),
            source="numpy",
        ),
        flow("obv_slope_20", "(OBV - OBV[t-20]) / volume of 20 rows, -1 to 1", ("close", "volume"), on_balance_volume),
        flow("ad_slope_20", "(A/D line - A/D line[t-20]) / volume of 20 rows, -1 to 1", _HLCV, accumulation),
    ]


def _oscillators() -> list[Indicator]:
    return [
        recursive(
            "adosc",
            "EMA3(A/D line) - EMA10(A/D line), both started at the first value",
            lambda bars: ta(
                talib.ADOSC, bars.high, bars.low, bars.close, bars.column("volume"), fastperiod=3, slowperiod=10
            ),
            inputs=_HLCV,
            look_back=memory_rows(ema_response(3) - ema_response(10)),
            start=0,
        ),
        recursive(
            "kvo_signal",
            "EMA13(EMA34(F) - EMA55(F)); F = 100 T * volume * |2 range / range since T turned - 1|, T = +-1",
            kvo_signal,
            inputs=_HLCV,
            # Two more rows: the trend compares with the previous day, where the range of a new trend starts.
            look_back=memory_rows(ema_response(34) - ema_response(55), ema_response(13)) + 2,
            start=1 + 54 + 12,
            source="numpy",
        ),
    ]


def kvo_signal(bars: Bars) -> Array:
    """Signal line of Klinger's volume oscillator (34, 55, 13)."""
    force = volume_force(bars)
    return ema(ema(force, 34) - ema(force, 55), 13)


def volume_force(bars: Bars) -> Array:
    """Klinger's volume force: 100 * trend * volume * |2 * dm / cm - 1|.

    The trend is 1 if high + low + close rises, else -1. dm is high - low; cm sums dm since the day before the trend
    turned. The force is 0 where cm is 0, and NaN in the first row, which has no trend.
    """
    total, span = bars.high + bars.low + bars.close, bars.high - bars.low
    trend = np.where(np.diff(total) > 0.0, 1, -1).tolist()
    measured = [0.0] * len(bars)
    days = span.tolist()
    for row in range(1, len(bars)):
        same = row > 1 and trend[row - 1] == trend[row - 2]
        measured[row] = days[row] + (measured[row - 1] if same else days[row - 1])
    cumulative = np.asarray(measured)
    with np.errstate(divide="ignore", invalid="ignore"):
        share = np.where(cumulative > 0.0, np.abs(2.0 * span / cumulative - 1.0), 0.0)
    return 100.0 * np.concatenate(([np.nan], trend)) * bars.column("volume") * share


def _rolling() -> list[Indicator]:
    def volume_ratio(bars: Bars) -> Array:
        return ratio(bars.column("volume"), rolling(bars.column("volume"), 20, "mean"))

    def vwap(bars: Bars) -> Array:
        typical, volume = (bars.high + bars.low + bars.close) / 3.0, bars.column("volume")
        return ratio(rolling(typical * volume, 20, "sum"), rolling(volume, 20, "sum"))

    return [
        window(
            "vwap_20",
            "sum of 20 of volume * (high + low + close) / 3, by the sum of 20 volumes",
            vwap,
            inputs=_HLCV,
            look_back=19,
            source="pandas",
        ),
        window(
            "volume_ratio_20",
            "volume / mean of 20 volumes",
            volume_ratio,
            inputs=("volume",),
            look_back=19,
            source="pandas",
        ),
        window(
            "volume_ratio_slope_5",
            "r - r[t-5], of r = volume / mean of 20 volumes",
            lambda bars: change(volume_ratio(bars), 5),
            inputs=("volume",),
            look_back=24,
            source="pandas",
        ),
    ]
