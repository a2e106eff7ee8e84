"""Returns, ratios of return to risk, tails of the distribution, implied and realised variance."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np

from scalecore_market.bars import Array, Bars
from scalecore_market.indicators.base import Indicator, window
from scalecore_market.indicators.series import change, log_returns, ratio, returns, rolling, root, windows
from scalecore_market.indicators.volatility import YEAR, realised_variance

__all__ = ["indicators"]

_ANNUAL = math.sqrt(YEAR)

SORTINO_LIMIT = 50.0
"""Limit of the ratio, for windows without a loss, in which the downside is zero. It is far beyond the ratios of windows
with losses.
"""


def indicators() -> list[Indicator]:
    """Returns over 1 to 252 rows and accelerations, Sharpe, Sortino, VaR, CVaR, moments, drawdown, variance risk
    premium.
    """
    return [*_returns(), *_reward(), *_tails(), *_premium()]


def _returns() -> list[Indicator]:
    def over(rows: int) -> Indicator:
        text = f"close / close[t-{rows}] - 1"
        return window(f"return_{rows}d", text, lambda bars: returns(bars.close, rows), look_back=rows, source="numpy")

    def acceleration(rows: int) -> Indicator:
        return window(
            f"return_{rows}d_acceleration",
            f"r - r[t-{rows}], of r = close / close[t-{rows}] - 1",
            lambda bars: change(returns(bars.close, rows), rows),
            look_back=2 * rows,
            source="numpy",
        )

    return [
        *map(over, (1, 5, 21, 63, 252)),
        *map(acceleration, (5, 21, 63)),
        window(
            "overnight_gap",
            "open / close[t-1] - 1",
            lambda bars: bars.open / np.concatenate(([np.nan], bars.close[:-1])) - 1.0,
            inputs=("open", "close"),
            look_back=1,
            source="numpy",
        ),
        window(
            "open_to_close",
            "close / open - 1",
            lambda bars: bars.close / bars.open - 1.0,
            inputs=("open", "close"),
            look_back=0,
            source="numpy",
        ),
    ]


def _reward() -> list[Indicator]:
    def sharpe(rows: int) -> Indicator:
        def function(bars: Bars) -> Array:
            daily = returns(bars.close, 1)
            return _ANNUAL * ratio(rolling(daily, rows, "mean"), rolling(daily, rows, "std"))

        text = f"sqrt(252) * mean / sample standard deviation, of {rows} daily returns"
        return window(f"sharpe_{rows}", text, function, look_back=rows, source="pandas")

    def sortino(rows: int) -> Indicator:
        def function(bars: Bars) -> Array:
            mean, downside = rolling(returns(bars.close, 1), rows, "mean"), _downside(bars.close, rows)
            with np.errstate(divide="ignore", invalid="ignore"):
                quotient = np.where(downside > 0.0, _ANNUAL * mean / downside, np.where(mean > 0.0, SORTINO_LIMIT, 0.0))
            return np.where(np.isnan(mean), np.nan, quotient.clip(-SORTINO_LIMIT, SORTINO_LIMIT))

        text = f"sqrt(252) * mean / root mean square of the losses, of {rows} daily returns; within +-{SORTINO_LIMIT:g}"
        return window(f"sortino_{rows}", text, function, look_back=rows, source="pandas")

    return [sharpe(20), sharpe(60), sortino(20), sortino(60)]


def _downside(close: Array, rows: int) -> Array:
    """Root mean square of the last `rows` daily returns below zero, gains counting as 0."""
    losses = np.minimum(returns(close, 1), 0.0) ** 2
    # Sum each window separately: a running sum would leave rounding errors of old losses in a window without losses.
    return windows(losses, rows, lambda last: np.sqrt(last.mean(axis=1)))


def _tails() -> list[Indicator]:
    def worst(rows: int) -> int:
        return int(np.ceil(0.05 * rows))

    def value_at_risk(rows: int) -> Indicator:
        count = worst(rows)
        return window(
            f"var_95_{rows}",
            f"daily return number {count} from below, of {rows}",
            lambda bars: windows(
                returns(bars.close, 1), rows, lambda last: np.partition(last, count - 1, axis=1)[:, count - 1]
            ),
            look_back=rows,
            source="numpy",
        )

    def shortfall(rows: int) -> Indicator:
        count = worst(rows)
        return window(
            f"cvar_95_{rows}",
            f"mean of the {count} lowest daily returns of {rows}",
            lambda bars: windows(
                returns(bars.close, 1), rows, lambda last: np.partition(last, count - 1, axis=1)[:, :count].mean(axis=1)
            ),
            look_back=rows,
            source="numpy",
        )

    return [
        *map(value_at_risk, (60, 252)),
        *map(shortfall, (60, 252)),
        window(
            "downside_deviation_60",
            "sqrt(252) * root mean square of the losses, of 60 daily returns",
            lambda bars: _ANNUAL * _downside(bars.close, 60),
            look_back=60,
            source="numpy",
        ),
        window(
            "skewness_60",
            "bias-free skewness of 60 log returns",
            lambda bars: rolling(log_returns(bars.close), 60, "skew"),
            look_back=60,
            source="pandas",
        ),
        window(
            "kurtosis_60",
            "bias-free excess kurtosis of 60 log returns",
            lambda bars: rolling(log_returns(bars.close), 60, "kurt"),
            look_back=60,
            source="pandas",
        ),
        window(
            "drawdown_252",
            "close / highest of 252 closes - 1",
            lambda bars: bars.close / rolling(bars.close, 252, "max") - 1.0,
            look_back=251,
            source="pandas",
        ),
    ]


def _premium() -> list[Indicator]:
    def of_vix(name: str, formula: str, function: Callable[[Bars], Array], *, look_back: int) -> Indicator:
        return window(name, formula, function, inputs=("close", "vix"), look_back=look_back, source="pandas")

    def premium(rows: int) -> Indicator:
        return of_vix(
            f"variance_risk_premium_{rows}",
            f"(VIX / 100)^2 - 252 * mean of {rows} squared log returns",
            lambda bars: (bars.column("vix") / 100.0) ** 2 - realised_variance(bars.close, rows),
            look_back=rows,
        )

    return [
        premium(10),
        premium(21),
        of_vix(
            "implied_realised_ratio_21",
            "(VIX / 100) / sqrt(252 * mean of 21 squared log returns)",
            lambda bars: ratio(bars.column("vix") / 100.0, root(realised_variance(bars.close, 21))),
            look_back=21,
        ),
    ]
