"""Confidence intervals of means over windows in time, by equal-weighted cosines (guard G18).

Neighbouring windows are similar and their labels depend on the same future rows, so the variance of a mean is not that
of independent windows. It is estimated from the B slowest cosines over the windows: scaled as here, the projection of
the losses on each of them has the variance of the mean, as long as dependence is short against the windows. The mean of
their squares has B degrees of freedom (Lazarus, Lewis, Stock and Watson 2018, HAR inference: recommendations for
practice). Intervals use the t distribution; they are wide when few cosines fit, where a bootstrap is too narrow.

The windows of a part with several stretches count as one sequence.
"""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

from scalecore.api.record_parts import MetricInterval

METHOD = "equal-weighted cosines"
LEVEL = 0.95
MIN_COSINES = 3
"""With fewer there is no interval: the t distribution with 2 degrees of freedom would make it meaninglessly wide."""
NO_BOUNDS = (-math.inf, math.inf)
NOT_NEGATIVE = (0.0, math.inf)

Floats = npt.NDArray[np.float64]


def cosines(samples: int, *, overlap: int) -> int:
    """Return B, the number of cosines for `samples` windows; `overlap` is the label span (0 counts as 1).

    The smaller of samples^(1/3) and samples / (2 * overlap), rounded; 0 if that is less than 3. A cosine then changes
    little within a label's span. Few cosines make an interval wider but right for slower dependence: 0.4 samples^(2/3),
    the best number for a test if dependence is short, covers too little on the long dependence of real losses. The
    number does not depend on the losses, so that all models of a study have the same one.
    """
    number = math.floor(min(samples ** (1 / 3), samples / (2 * max(1, overlap))) + 0.5)
    return number if number >= MIN_COSINES else 0


def too_few(samples: int, *, overlap: int) -> str | None:
    """Return why `samples` windows have no interval; None if they have one."""
    if cosines(samples, overlap=overlap):
        return None
    span, enough = max(1, overlap), MIN_COSINES - 0.5
    least = max(math.ceil(enough**3), math.ceil(2 * enough * span))
    return f"{samples} windows are too few for an interval: labels that span {span} rows need {least}"


def mean_errors(values: npt.ArrayLike, *, overlap: int) -> Floats:
    """Return projections [..., cosines] of `values` [..., samples], whose mean square is the variance of the mean.

    They are linear in the values, so that those of a difference are the difference of the projections. Without enough
    samples there are none.
    """
    from scipy.fft import dct

    sample = np.asarray(values, dtype=np.float64)
    count = sample.shape[-1]
    number = cosines(count, overlap=overlap)
    if not number:
        return np.empty((*sample.shape[:-1], 0))
    # Subtract the mean, of which the cosines are independent: a high level would cost precision.
    centred = sample - sample.mean(axis=-1, keepdims=True)
    found: Floats = dct(centred, type=2, norm="ortho", axis=-1)[..., 1 : number + 1] / math.sqrt(count)
    return found


def half_width(errors: Floats, *, level: float = LEVEL) -> Floats:
    """Return half the width [...] of the interval of a mean with `mean_errors` [..., cosines]."""
    from scipy.special import stdtrit

    number = errors.shape[-1]
    result: Floats = stdtrit(number, (1 + level) / 2) * np.sqrt((errors**2).mean(axis=-1))
    return result


def interval_around(
    value: float, half: float, *, bounds: tuple[float, float] = NO_BOUNDS, cosines: int | None = None
) -> MetricInterval | None:
    """Return the 95 % interval of an estimate with the `half_width` `half`, inside `bounds`, the limits of the metric.

    With one bound it is symmetric for the logarithm of the distance from it, with two for the logarithm of the ratio of
    both distances (the delta method): the side of a skewed estimate is longer, and no end is beyond a bound. None if
    the value is on a bound: no symmetric interval exists there.
    """
    low, high = bounds
    if half == 0.0:
        ends = (value, value)
    elif not low < value < high:
        return None
    else:
        ends = (_moved(value, -half, low, high), _moved(value, half, low, high))
    return MetricInterval(low=ends[0], high=ends[1], level=LEVEL, method=METHOD, cosines=cosines)


def mean_interval(
    values: npt.ArrayLike, *, overlap: int, bounds: tuple[float, float] = NO_BOUNDS
) -> MetricInterval | None:
    """Return the 95 % interval of the mean of `values` [samples]; None for too few samples (see `too_few`).

    `bounds` are those of the mean, such as (0, infinity) for losses that are never negative. The interval describes the
    sampling of windows for fixed predictions, not the variation between training runs. The interval of a paired
    difference is that of `first - second`, the difference of two loss vectors over the same windows.
    """
    sample = np.asarray(values, dtype=np.float64)
    errors = mean_errors(sample, overlap=overlap)
    if not len(errors):
        return None
    return interval_around(float(sample.mean()), float(half_width(errors)), bounds=bounds, cosines=len(errors))


def _moved(value: float, by: float, low: float, high: float) -> float:
    """`value + by` to first order, on the scale without bounds."""
    if math.isinf(low) and math.isinf(high):
        return value + by
    if math.isinf(high):
        return low + (value - low) * _exp(by / (value - low))
    if math.isinf(low):
        return high - (high - value) * _exp(-by / (high - value))
    whole, below, above = high - low, value - low, high - value
    odds = below / above * _exp(by * whole / (below * above))
    return low + whole * (odds / (1 + odds) if math.isfinite(odds) else 1.0)


def _exp(power: float) -> float:
    return math.exp(min(power, 700.0))
