"""Eight features of the close of the VIX, on the dates of the symbol."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from scalecore_market.bars import Array
from scalecore_market.indicators.averages import sma
from scalecore_market.indicators.base import Indicator, Kind, Source, window
from scalecore_market.indicators.series import returns, rolling

__all__ = ["indicators"]


def indicators() -> list[Indicator]:
    """Close, SMA 10 and 20, percentile over 60 rows, z-score over 20, regime, change over 1 and 5 rows."""

    def of(
        name: str,
        formula: str,
        function: Callable[[Array], Array],
        *,
        look_back: int,
        source: Source = "pandas",
        kind: Kind = "number",
    ) -> Indicator:
        return window(
            name,
            formula,
            lambda bars: function(bars.column("vix")),
            inputs=("vix",),
            look_back=look_back,
            source=source,
            kind=kind,
        )

    return [
        of("vix_close", "close of the VIX", lambda vix: vix, look_back=0, source="raw"),
        of("vix_sma_10", "mean of 10 closes", lambda vix: sma(vix, 10), look_back=9, source="TA-Lib"),
        of("vix_sma_20", "mean of 20 closes", lambda vix: sma(vix, 20), look_back=19, source="TA-Lib"),
        of(
            "vix_percentile_60",
            "share of 60 closes that are at or below the last one",
            lambda vix: rolling(vix, 60, "rank", method="max", pct=True),
            look_back=59,
        ),
        of(
            "vix_zscore_20",
            "(close - mean) / population standard deviation, of 20 closes; 0 where flat",
            _zscore,
            look_back=19,
        ),
        of(
            "vix_regime",
            "0 below 15, 1 from 15 to below 25, 2 from 25",
            _regime,
            look_back=0,
            source="numpy",
            kind="integer",
        ),
        of("vix_change_1", "close / close[t-1] - 1", lambda vix: returns(vix, 1), look_back=1, source="numpy"),
        of("vix_change_5", "close / close[t-5] - 1", lambda vix: returns(vix, 5), look_back=5, source="numpy"),
    ]


def _zscore(vix: Array) -> Array:
    mean, deviation = rolling(vix, 20, "mean"), rolling(vix, 20, "std", ddof=0)
    result = np.where(np.isnan(mean), np.nan, 0.0)
    np.divide(vix - mean, deviation, out=result, where=deviation > 0.0)
    return result


def _regime(vix: Array) -> Array:
    return np.where(np.isnan(vix), np.nan, np.searchsorted([15.0, 25.0], vix, side="right").astype(np.float64))
