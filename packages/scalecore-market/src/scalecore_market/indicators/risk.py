"""Returns, reward against risk, tails of the distribution, implied against realised variance."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Literal

import numpy as np

from scalecore_market.bars import Array, Bars
from scalecore_market.indicators.base import Indicator
from scalecore_market.indicators.series import change, log_returns, ratio, returns, rolling, root, windows
from scalecore_market.indicators.volatility import YEAR, realised_variance

__all__ = ["indicators"]

_ANNUAL = math.sqrt(YEAR)

SORTINO_LIMIT = 50.0
"""Where no day of the window lost, there is no downside to divide by; the ratio is limited to this, far beyond what
losses give.
"""


def indicators() -> list[Indicator]:
    """Returns over 1 to 252 rows and accelerations, Sharpe, Sortino, VaR, CVaR, moments, drawdown, variance risk
    premium.
    """
    return [*_returns(), *_reward(), *_tails(), *_premium()]


def _of_close(
    name: str,
    formula: str,
    function: Callable[[Array], Array],
    *,
    look_back: int,
    source: Literal["numpy", "pandas"] = "pandas",
) -> Indicator:
    return Indicator(
        name=name,
        formula=formula,
        inputs=("close",),
        look_back=look_back,
        warm_up=look_back,
        source=source,
        function=lambda bars: function(bars.close),
    )


def _returns() -> list[Indicator]:
    def over(rows: int) -> Indicator:
        text = f"close / close[t-{rows}] - 1"
        return _of_close(f"return_{rows}d", text, lambda close: returns(close, rows), look_back=rows, source="numpy")

    def acceleration(rows: int) -> Indicator:
        return _of_close(
            f"return_{rows}d_acceleration",
            f"r - r[t-{rows}], of r = close / close[t-{rows}] - 1",
            lambda close: change(returns(close, rows), rows),
            look_back=2 * rows,
            source="numpy",
        )

    return [
        *map(over, (1, 5, 21, 63, 252)),
        *map(acceleration, (5, 21, 63)),
        Indicator(
            name="overnight_gap",
            formula="open / close[t-1] - 1",
            inputs=("open", "close"),
            look_back=1,
            warm_up=1,
            source="numpy",
            function=lambda bars: bars.open / np.concatenate(([np.nan], bars.close[:-1])) - 1.0,
        ),
        Indicator(
            name="open_to_close",
            formula="close / open - 1",
            inputs=("open", "close"),
            look_back=0,
            warm_up=0,
            source="numpy",
            function=lambda bars: bars.close / bars.open - 1.0,
        ),
    ]


def _reward() -> list[Indicator]:
    def sharpe(rows: int) -> Indicator:
        def function(close: Array) -> Array:
            daily = returns(close, 1)
            return _ANNUAL * ratio(rolling(daily, rows, "mean"), rolling(daily, rows, "std"))

        text = f"sqrt(252) * mean / sample standard deviation, of {rows} daily returns"
        return _of_close(f"sharpe_{rows}", text, function, look_back=rows)

    def sortino(rows: int) -> Indicator:
        def function(close: Array) -> Array:
            mean, downside = rolling(returns(close, 1), rows, "mean"), _downside(close, rows)
            with np.errstate(divide="ignore", invalid="ignore"):
                quotient = np.where(downside > 0.0, _ANNUAL * mean / downside, np.where(mean > 0.0, SORTINO_LIMIT, 0.0))
            return np.where(np.isnan(mean), np.nan, quotient.clip(-SORTINO_LIMIT, SORTINO_LIMIT))

        text = f"sqrt(252) * mean / root mean square of the losses, of {rows} daily returns; within +-{SORTINO_LIMIT:g}"
        return _of_close(f"sortino_{rows}", text, function, look_back=rows)

    return [sharpe(20), sharpe(60), sortino(20), sortino(60)]


def _downside(close: Array, rows: int) -> Array:
    """Root mean square of the last `rows` daily returns below zero, gains counting as 0."""
    losses = np.minimum(returns(close, 1), 0.0) ** 2
    # Summed window by window: a running sum would leave traces of old losses in a window without any.
    return windows(losses, rows, lambda window: np.sqrt(window.mean(axis=1)))


def _tails() -> list[Indicator]:
    def worst(rows: int) -> int:
        return int(np.ceil(0.05 * rows))

    def value_at_risk(rows: int) -> Indicator:
        count = worst(rows)
        return _of_close(
            f"var_95_{rows}",
            f"daily return number {count} from below, of {rows}",
            lambda close: windows(
                returns(close, 1), rows, lambda window: np.partition(window, count - 1, axis=1)[:, count - 1]
            ),
            look_back=rows,
            source="numpy",
        )

    def shortfall(rows: int) -> Indicator:
        count = worst(rows)
        return _of_close(
            f"cvar_95_{rows}",
            f"mean of the {count} lowest daily returns of {rows}",
            lambda close: windows(
                returns(close, 1), rows, lambda window: np.partition(window, count - 1, axis=1)[:, :count].mean(axis=1)
            ),
            look_back=rows,
            source="numpy",
        )

    return [
        *map(value_at_risk, (60, 252)),
        *map(shortfall, (60, 252)),
        _of_close(
            "downside_deviation_60",
            "sqrt(252) * root mean square of the losses, of 60 daily returns",
            lambda close: _ANNUAL * _downside(close, 60),
            look_back=60,
            source="numpy",
        ),
        _of_close(
            "skewness_60",
            "bias-free skewness of 60 log returns",
            lambda close: rolling(log_returns(close), 60, "skew"),
            look_back=60,
        ),
        _of_close(
            "kurtosis_60",
            "bias-free excess kurtosis of 60 log returns",
            lambda close: rolling(log_returns(close), 60, "kurt"),
            look_back=60,
        ),
        _of_close(
            "drawdown_252",
            "close / highest of 252 closes - 1",
            lambda close: close / rolling(close, 252, "max") - 1.0,
            look_back=251,
        ),
    ]


def _premium() -> list[Indicator]:
    def of_vix(name: str, formula: str, function: Callable[[Bars], Array], *, look_back: int) -> Indicator:
        return Indicator(
            name=name,
            formula=formula,
            inputs=("close", "vix"),
            look_back=look_back,
            warm_up=look_back,
            source="pandas",
            function=function,
        )

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
