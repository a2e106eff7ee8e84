"""Shared arithmetic of indicators. All functions are causal; NaN means "not yet defined"."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import talib

from scalecore_market.bars import Array

__all__ = [
    "change",
    "completed_weeks",
    "cumulative_sum",
    "ema",
    "ema_response",
    "greater",
    "log_returns",
    "memory_rows",
    "ratio",
    "returns",
    "rolling",
    "root",
    "shift",
    "ta",
    "wilder_response",
    "windows",
]

_KERNEL = 4096
"""Rows for which the memory of a recursive average is computed."""

SESSIONS_A_WEEK = 5
"""Maximum; weeks with a holiday have fewer, so look-backs computed from it are upper bounds."""


def ta(function: Callable[..., Any], *columns: Array, output: int = 0, **parameters: float) -> Array:
    """Call a function of TA-Lib on `columns` [rows]; all NaN for too few rows. `output` selects one of its results."""
    arrays = [np.ascontiguousarray(column, dtype=np.float64) for column in columns]
    # TA-Lib raises on columns without a number, the result of a history shorter than the inner average.
    if any(np.isnan(array).all() for array in arrays):
        return np.full(len(arrays[0]), np.nan)
    result = function(*arrays, **parameters)
    return np.asarray(result[output] if isinstance(result, tuple) else result, dtype=np.float64)


def ema(values: Array, period: int) -> Array:
    """Exponential average with weight 2 / (period + 1), starting with the mean of the first `period` values."""
    return ta(talib.EMA, values, timeperiod=period)


def shift(values: Array, rows: int) -> Array:
    """`values[t - rows]`; NaN in the first `rows` rows."""
    result = np.full(len(values), np.nan)
    result[rows:] = values[: max(len(values) - rows, 0)]
    return result


def change(values: Array, rows: int) -> Array:
    """`values[t] - values[t - rows]`."""
    return values - shift(values, rows)


def returns(values: Array, rows: int) -> Array:
    """`values[t] / values[t - rows] - 1`."""
    return ratio(values, shift(values, rows)) - 1.0


def log_returns(close: Array) -> Array:
    """`ln(close[t] / close[t-1])`."""
    return np.log(ratio(close, shift(close, 1)))


def ratio(numerator: Array, denominator: Array) -> Array:
    """Element-wise ratio; NaN where the denominator is zero, so that an undefined feature is refused later."""
    result = np.full(len(numerator), np.nan)
    np.divide(numerator, denominator, out=result, where=denominator != 0.0)
    return result


def greater(left: Array, right: Array) -> Array:
    """1 where `left > right`, else 0; NaN where either is NaN."""
    return np.where(np.isnan(left) | np.isnan(right), np.nan, (left > right).astype(np.float64))


def root(values: Array) -> Array:
    """Square roots; 0 for negative values, which rounding can produce in running means of squares."""
    result: Array = np.sqrt(np.maximum(values, 0.0))
    return result


def rolling(values: Array, rows: int, statistic: str, **parameters: Any) -> Array:
    """A rolling statistic of pandas, such as `mean`, over the last `rows` values; NaN until there are enough values."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # pandas 2 warns about series without values
        return np.asarray(getattr(pd.Series(values).rolling(rows), statistic)(**parameters), dtype=np.float64)


def windows(values: Array, rows: int, function: Callable[[Array], Array]) -> Array:
    """`function` of the last `rows` values, from [count, rows] to [count]. NaN where one of the values is NaN."""
    result = np.full(len(values), np.nan)
    if len(values) >= rows:
        view = np.lib.stride_tricks.sliding_window_view(values, rows)
        result[rows - 1 :] = np.where(np.isnan(view).any(axis=1), np.nan, function(view))
    return result


def cumulative_sum(steps: Array) -> Array:
    """Running total. The first row has no step and counts as 0."""
    return np.cumsum(np.concatenate(([0.0], steps[1:])))


def completed_weeks(dates: npt.NDArray[np.datetime64], close: Array, function: Callable[[Array], Array]) -> Array:
    """`function` of weekly closes [weeks], mapped to days [rows]: each day has the value of the last completed week.

    A week, Monday to Sunday, is completed on the first session of a later week. A Friday does not include its own week,
    because data up to Friday do not show that it is the week's last session (guard G51).
    """
    # Day 0 of the epoch is a Thursday.
    week = (dates.astype("datetime64[D]").astype(np.int64) + 3) // 7
    last = np.flatnonzero(np.append(week[1:] != week[:-1], True))
    index = np.searchsorted(week[last], week)
    weekly = function(close[last])
    return np.where(index > 0, weekly[index - 1], np.nan)


def ema_response(period: int) -> Array:
    """Weights of an exponential average for values 0, 1, 2, ... rows back."""
    return _geometric(2.0 / (period + 1.0))


def wilder_response(period: int) -> Array:
    """Weights of Wilder's average: 1 / period for the newest value."""
    return _geometric(1.0 / period)


def memory_rows(*stages: Array, share: float = 0.01) -> int:
    """Number of rows that contain all but `share` of the weight of a chain of averages, applied one after another."""
    response = stages[0]
    for stage in stages[1:]:
        response = np.convolve(response, stage)[:_KERNEL]
    weight = np.abs(response)
    seen = np.cumsum(weight)
    return int(np.argmax(seen >= (1.0 - share) * weight.sum()))


def _geometric(alpha: float) -> Array:
    weights: Array = alpha * (1.0 - alpha) ** np.arange(_KERNEL, dtype=np.float64)
    return weights
