"""Every indicator of a25 and the VIX, and others, compared with loops written from their formulas, on two symbols."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from itertools import pairwise

import numpy as np
import pytest

from scalecore_market.bars import Bars
from scalecore_market.indicators.registry import builtin_registry
from scalecore_market.indicators.tiers import TIERS

Values = list[float]
NAN = math.nan


@pytest.fixture(scope="module", params=["sp500", "nasdaq"])
def bars(request: pytest.FixtureRequest) -> Bars:
    whole: Bars = request.getfixturevalue(request.param)
    return whole.cut(1200)


# --- the formulas, as plain loops -----------------------------------------------------------------------------------


def rows_of(bars: Bars) -> dict[str, Values]:
    return {name: bars.column(name).tolist() for name in ("open", "high", "low", "close", "volume", "vix")}


def last(values: Values, count: int, function: Callable[[Values], float]) -> Values:
    out = []
    for t in range(len(values)):
        window = values[max(0, t - count + 1) : t + 1]
        out.append(function(window) if len(window) == count and not any(map(math.isnan, window)) else NAN)
    return out


def mean(values: Sequence[float]) -> float:
    return math.fsum(values) / len(values)


def sd(values: Sequence[float], *, sample: bool = False) -> float:
    centre = mean(values)
    return math.sqrt(math.fsum((v - centre) ** 2 for v in values) / (len(values) - sample))


def ema(values: Values, n: int, *, seed_at: int | None = None) -> Values:
    """Starts with the mean of the first n known values, or of the n values that end at row `seed_at`."""
    out = [NAN] * len(values)
    first = next(t for t, v in enumerate(values) if not math.isnan(v)) + n - 1 if seed_at is None else seed_at
    average = mean(values[first - n + 1 : first + 1])
    out[first] = average
    for t in range(first + 1, len(values)):
        average += (values[t] - average) * 2.0 / (n + 1)
        out[t] = average
    return out


def wilder(values: Values, n: int) -> Values:
    out = [NAN] * len(values)
    first = next(t for t, v in enumerate(values) if not math.isnan(v)) + n - 1
    average = mean(values[first - n + 1 : first + 1])
    out[first] = average
    for t in range(first + 1, len(values)):
        average = (average * (n - 1) + values[t]) / n
        out[t] = average
    return out


def minus(left: Values, right: Values) -> Values:
    return [a - b for a, b in zip(left, right, strict=True)]


def dema(close: Values, n: int) -> Values:
    once = ema(close, n)
    return [2.0 * a - b for a, b in zip(once, ema(once, n), strict=True)]


def moves(values: Values) -> Values:
    return [NAN, *(b - a for a, b in pairwise(values))]


def rsi(close: Values) -> Values:
    up = wilder([NAN if math.isnan(d) else max(d, 0.0) for d in moves(close)], 14)
    down = wilder([NAN if math.isnan(d) else max(-d, 0.0) for d in moves(close)], 14)
    return [100.0 * u / (u + d) if not math.isnan(u) else NAN for u, d in zip(up, down, strict=True)]


def stochrsi(close: Values) -> Values:
    def place(window: Values) -> float:
        span = max(window) - min(window)
        return 100.0 * (window[-1] - min(window)) / span if span > 0.0 else 0.0

    out = last(rsi(close), 5, place)
    first = next(t for t, v in enumerate(out) if not math.isnan(v))
    # TA-Lib begins with the first %D, the mean of three %K.
    return [NAN if t < first + 2 else v for t, v in enumerate(out)]


def weekly(bars: Bars, function: Callable[[Values], Values]) -> Values:
    """By the calendar: closes of the weeks that ended before each day's week."""
    days = [day.isocalendar()[:2] for day in bars.dates.astype(object)]
    closes: list[float] = []
    weeks: list[tuple[int, int]] = []
    for week, close in zip(days, bars.close.tolist(), strict=True):
        if weeks and weeks[-1] == week:
            closes[-1] = close
        else:
            weeks.append(week)
            closes.append(close)
    values = function(closes)
    return [values[weeks.index(week) - 1] if weeks.index(week) > 0 else NAN for week in days]


def true_range(r: dict[str, Values]) -> Values:
    return [NAN] + [
        max(r["high"][t] - r["low"][t], abs(r["high"][t] - r["close"][t - 1]), abs(r["low"][t] - r["close"][t - 1]))
        for t in range(1, len(r["close"]))
    ]


def directional(r: dict[str, Values]) -> tuple[Values, Values]:
    """+DI and -DI with Wilder's sums, which start with 13 values and drop a 14th of themselves at each step."""
    plus, minus_, ranges = [0.0], [0.0], true_range(r)
    for t in range(1, len(r["close"])):
        rise, fall = r["high"][t] - r["high"][t - 1], r["low"][t - 1] - r["low"][t]
        plus.append(rise if rise > fall and rise > 0.0 else 0.0)
        minus_.append(fall if fall > rise and fall > 0.0 else 0.0)
    sums = [math.fsum(v[1:14]) for v in (plus, minus_, ranges)]
    up, down = [NAN] * 14, [NAN] * 14
    for t in range(14, len(ranges)):
        sums = [s - s / 14.0 + v[t] for s, v in zip(sums, (plus, minus_, ranges), strict=True)]
        up.append(100.0 * sums[0] / sums[2])
        down.append(100.0 * sums[1] / sums[2])
    return up, down


def adx(r: dict[str, Values]) -> Values:
    up, down = directional(r)
    return wilder([NAN if math.isnan(u) else 100.0 * abs(u - d) / (u + d) for u, d in zip(up, down, strict=True)], 14)


def accumulation(r: dict[str, Values]) -> Values:
    out, total = [], 0.0
    for h, low, c, v in zip(r["high"], r["low"], r["close"], r["volume"], strict=True):
        total += ((c - low) - (h - c)) / (h - low) * v if h > low else 0.0
        out.append(total)
    return out


def adosc(r: dict[str, Values]) -> Values:
    line = accumulation(r)
    fast = slow = line[0]
    out = [0.0]
    for value in line[1:]:
        fast, slow = fast + (value - fast) * 2.0 / 4.0, slow + (value - slow) * 2.0 / 11.0
        out.append(fast - slow)
    return out


def obv(r: dict[str, Values]) -> Values:
    out = [r["volume"][0]]
    for before, now, volume in zip(r["close"], r["close"][1:], r["volume"][1:], strict=False):
        out.append(out[-1] + (volume if now > before else -volume if now < before else 0.0))
    return out


def percent_b(close: Values) -> Values:
    def place(window: Values) -> float:
        lower, upper = mean(window) - 2.0 * sd(window), mean(window) + 2.0 * sd(window)
        return (window[-1] - lower) / (upper - lower)

    return last(close, 20, place)


def vwap(r: dict[str, Values]) -> Values:
    out = [NAN] * 19
    for t in range(19, len(r["close"])):
        span = range(t - 19, t + 1)
        paid = math.fsum(r["volume"][k] * (r["high"][k] + r["low"][k] + r["close"][k]) / 3.0 for k in span)
        out.append(paid / math.fsum(r["volume"][k] for k in span))
    return out


def macd(close: Values) -> Values:
    """TA-Lib starts both averages on row 25 and shows the line from the first row of its signal, 33."""
    line = minus(ema(close, 12, seed_at=25), ema(close, 26))
    return [NAN if t < 33 else v for t, v in enumerate(line)]


def returns(close: Values, n: int) -> Values:
    return [NAN if t < n else close[t] / close[t - n] - 1.0 for t in range(len(close))]


def log_returns(close: Values) -> Values:
    return [NAN, *(math.log(b / a) for a, b in pairwise(close))]


def qqe(close: Values) -> tuple[Values, Values]:
    fast = ema(rsi(close), 5)
    width = [4.236 * w for w in ema(ema([abs(d) for d in moves(fast)], 27), 27)]
    first = next(t for t, w in enumerate(width) if not math.isnan(w))
    slow = [NAN] * first
    lower, upper, rising = fast[first] - width[first], fast[first] + width[first], True
    slow.append(lower)
    for t in range(first + 1, len(fast)):
        if fast[t] > upper:
            rising = True
        elif fast[t] < lower:
            rising = False
        new_lower, new_upper = fast[t] - width[t], fast[t] + width[t]
        if fast[t - 1] > lower and fast[t] > lower:
            new_lower = max(new_lower, lower)
        if fast[t - 1] < upper and fast[t] < upper:
            new_upper = min(new_upper, upper)
        lower, upper = new_lower, new_upper
        slow.append(lower if rising else upper)
    return fast, slow


def stc(close: Values) -> Values:
    values = minus(ema(close, 23), ema(close, 50))
    for _ in range(2):
        out: Values = []
        raw = smooth = NAN
        for t, value in enumerate(values):
            window = values[t - 9 : t + 1] if t >= 9 else []
            if not window or any(map(math.isnan, window)):
                out.append(NAN)
                continue
            low, high = min(window), max(window)
            if high > low:
                raw = 100.0 * (value - low) / (high - low)
            elif math.isnan(raw):
                raw = 0.0
            smooth = raw if math.isnan(smooth) else (smooth + raw) / 2.0
            out.append(smooth)
        values = out
    return values


def kvo_signal(r: dict[str, Values]) -> Values:
    force, cumulative, trend_before = [NAN], 0.0, 0
    for t in range(1, len(r["close"])):
        now = r["high"][t] + r["low"][t] + r["close"][t]
        before = r["high"][t - 1] + r["low"][t - 1] + r["close"][t - 1]
        trend = 1 if now > before else -1
        span, span_before = r["high"][t] - r["low"][t], r["high"][t - 1] - r["low"][t - 1]
        cumulative = cumulative + span if trend == trend_before else span_before + span
        share = abs(2.0 * span / cumulative - 1.0) if cumulative > 0.0 else 0.0
        force.append(100.0 * trend * r["volume"][t] * share)
        trend_before = trend
    return ema(minus(ema(force, 34), ema(force, 55)), 13)


def supertrend(r: dict[str, Values]) -> tuple[Values, Values]:
    ranges = wilder(true_range(r), 10)
    line, up = [NAN] * 10, [NAN] * 10
    lower = (r["high"][10] + r["low"][10]) / 2.0 - 3.0 * ranges[10]
    upper = lower + 6.0 * ranges[10]
    rising = True
    line.append(lower)
    up.append(1.0)
    for t in range(11, len(ranges)):
        if r["close"][t] > upper:
            rising = True
        elif r["close"][t] < lower:
            rising = False
        middle, width = (r["high"][t] + r["low"][t]) / 2.0, 3.0 * ranges[t]
        lower = max(lower, middle - width) if r["close"][t - 1] >= lower else middle - width
        upper = min(upper, middle + width) if r["close"][t - 1] <= upper else middle + width
        line.append(lower if rising else upper)
        up.append(float(rising))
    return line, up


def sortino(window: Values) -> float:
    downside = math.sqrt(math.fsum(min(v, 0.0) ** 2 for v in window) / len(window))
    if downside == 0.0:
        return 50.0 if mean(window) > 0.0 else 0.0
    return max(-50.0, min(50.0, math.sqrt(252.0) * mean(window) / downside))


def garman_klass(r: dict[str, Values], n: int) -> Values:
    days = [
        0.5 * math.log(h / low) ** 2 - (2.0 * math.log(2.0) - 1.0) * math.log(c / o) ** 2
        for o, h, low, c in zip(r["open"], r["high"], r["low"], r["close"], strict=True)
    ]
    return last(days, n, lambda window: math.sqrt(252.0 * mean(window)))


def position(r: dict[str, Values], n: int) -> Values:
    high, low = last(r["high"], n, max), last(r["low"], n, min)
    return [(c - bottom) / (top - bottom) for c, top, bottom in zip(r["close"], high, low, strict=True)]


def premium(r: dict[str, Values], n: int) -> Values:
    realised = last([v * v for v in log_returns(r["close"])], n, lambda window: 252.0 * mean(window))
    return [(v / 100.0) ** 2 - x for v, x in zip(r["vix"], realised, strict=True)]


def skewness(window: Values) -> float:
    n, centre = len(window), mean(window)
    second = math.fsum((v - centre) ** 2 for v in window) / n
    third = math.fsum((v - centre) ** 3 for v in window) / n
    return math.sqrt(n * (n - 1.0)) / (n - 2.0) * third / (second * math.sqrt(second))


def slope(window: Values) -> float:
    n = len(window)
    centre = (n - 1) / 2.0
    top = math.fsum((k - centre) * v for k, v in enumerate(window))
    return top / math.fsum((k - centre) ** 2 for k in range(n))


def aroon_up(high: Values) -> Values:
    def rows_since(window: Values) -> float:
        newest = max(k for k, v in enumerate(window) if v == max(window))
        return 100.0 * newest / 25.0

    return last(high, 26, rows_since)


REFERENCES: dict[str, Callable[[dict[str, Values], Bars], Values]] = {
    "open": lambda r, b: r["open"],
    "high": lambda r, b: r["high"],
    "low": lambda r, b: r["low"],
    "close": lambda r, b: r["close"],
    "volume": lambda r, b: r["volume"],
    "dema_9": lambda r, b: dema(r["close"], 9),
    "dema_10": lambda r, b: dema(r["close"], 10),
    "dema_20": lambda r, b: dema(r["close"], 20),
    "dema_25": lambda r, b: dema(r["close"], 25),
    "dema_90": lambda r, b: dema(r["close"], 90),
    "sma_12": lambda r, b: last(r["close"], 12, mean),
    "sma_50": lambda r, b: last(r["close"], 50, mean),
    "sma_100": lambda r, b: last(r["close"], 100, mean),
    "sma_200": lambda r, b: last(r["close"], 200, mean),
    "rsi_14": lambda r, b: rsi(r["close"]),
    "rsi_14_weekly": lambda r, b: weekly(b, rsi),
    "stochrsi_k": lambda r, b: stochrsi(r["close"]),
    "stochrsi_k_weekly": lambda r, b: weekly(b, stochrsi),
    "macd": lambda r, b: macd(r["close"]),
    "obv": lambda r, b: obv(r),
    "adosc": lambda r, b: [NAN if t < 9 else v for t, v in enumerate(adosc(r))],
    "atr_14": lambda r, b: wilder(true_range(r), 14),
    "adx_14": lambda r, b: adx(r),
    "percent_b_20": lambda r, b: percent_b(r["close"]),
    "vwap_20": lambda r, b: vwap(r),
    # the VIX
    "vix_close": lambda r, b: r["vix"],
    "vix_sma_10": lambda r, b: last(r["vix"], 10, mean),
    "vix_sma_20": lambda r, b: last(r["vix"], 20, mean),
    "vix_percentile_60": lambda r, b: last(r["vix"], 60, lambda w: sum(v <= w[-1] for v in w) / 60.0),
    "vix_zscore_20": lambda r, b: last(r["vix"], 20, lambda w: (w[-1] - mean(w)) / sd(w)),
    "vix_regime": lambda r, b: [0.0 if v < 15.0 else 1.0 if v < 25.0 else 2.0 for v in r["vix"]],
    "vix_change_1": lambda r, b: returns(r["vix"], 1),
    "vix_change_5": lambda r, b: returns(r["vix"], 5),
    # a50
    "return_252d": lambda r, b: returns(r["close"], 252),
    "qqe_fast": lambda r, b: qqe(r["close"])[0],
    "qqe_slow": lambda r, b: qqe(r["close"])[1],
    "stc": lambda r, b: stc(r["close"]),
    "variance_risk_premium_21": lambda r, b: premium(r, 21),
    "sharpe_20": lambda r, b: last(
        returns(r["close"], 1), 20, lambda w: math.sqrt(252.0) * mean(w) / sd(w, sample=True)
    ),
    "sortino_60": lambda r, b: last(returns(r["close"], 1), 60, sortino),
    "price_to_sma_50": lambda r, b: last(r["close"], 50, lambda w: 100.0 * (w[-1] / mean(w) - 1.0)),
    "bollinger_width_20": lambda r, b: last(r["close"], 20, lambda w: 4.0 * sd(w) / mean(w)),
    "overnight_gap": lambda r, b: [NAN, *(o / c - 1.0 for o, c in zip(r["open"][1:], r["close"], strict=False))],
    "volume_ratio_20": lambda r, b: last(r["volume"], 20, lambda w: w[-1] / mean(w)),
    "kvo_signal": lambda r, b: kvo_signal(r),
    "macd_histogram": lambda r, b: minus(
        macd(r["close"]), ema(minus(ema(r["close"], 12, seed_at=25), ema(r["close"], 26)), 9)
    ),
    # a100
    "return_21d_acceleration": lambda r, b: minus(returns(r["close"], 21), [NAN] * 21 + returns(r["close"], 21)[:-21]),
    "trend_slope_20": lambda r, b: last([math.log(c) for c in r["close"]], 20, slope),
    "var_95_60": lambda r, b: last(returns(r["close"], 1), 60, lambda w: sorted(w)[2]),
    "cvar_95_252": lambda r, b: last(returns(r["close"], 1), 252, lambda w: mean(sorted(w)[:13])),
    "skewness_60": lambda r, b: last(log_returns(r["close"]), 60, skewness),
    "drawdown_252": lambda r, b: last(r["close"], 252, lambda w: w[-1] / max(w) - 1.0),
    "parkinson_20": lambda r, b: last(
        [math.log(h / low) ** 2 for h, low in zip(r["high"], r["low"], strict=True)],
        20,
        lambda w: math.sqrt(252.0 * mean(w) / (4.0 * math.log(2.0))),
    ),
    "garman_klass_20": lambda r, b: garman_klass(r, 20),
    "directional_spread_14": lambda r, b: minus(*directional(r)),
    "aroon_up_25": lambda r, b: aroon_up(r["high"]),
    "supertrend_up": lambda r, b: supertrend(r)[1],
    "supertrend_distance": lambda r, b: [c / s - 1.0 for c, s in zip(r["close"], supertrend(r)[0], strict=True)],
    "ad_line": lambda r, b: accumulation(r),
    "position_in_range_20": lambda r, b: position(r, 20),
}


def test_every_indicator_of_a25_and_of_the_vix_has_a_reference() -> None:
    """Independent code checks every feature of the smallest tier and of the VIX."""
    assert set(TIERS["a25"]) | set(TIERS["vix"]) <= set(REFERENCES)


@pytest.mark.parametrize("name", REFERENCES)
def test_indicator_equals_an_independent_loop(name: str, bars: Bars) -> None:
    """The values and the rows without a value equal those of a loop written from the formula."""
    expected = np.asarray(REFERENCES[name](rows_of(bars), bars))
    found = builtin_registry().indicators[name].function(bars)
    assert np.isfinite(expected).sum() > 500
    np.testing.assert_array_equal(np.isnan(found), np.isnan(expected))
    np.testing.assert_allclose(found, expected, rtol=1e-8, atol=1e-9)
