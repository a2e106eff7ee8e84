"""Intervals by equal-weighted cosines: their definition, their bounds, and their coverage on dependent series."""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt
import pytest
from scipy.signal import lfilter
from scipy.stats import t

from scalecore.data.intervals import (
    METHOD,
    NOT_NEGATIVE,
    cosines,
    half_width,
    interval_around,
    mean_errors,
    mean_interval,
    too_few,
)

Floats = npt.NDArray[np.float64]


def by_hand(values: Floats, number: int) -> tuple[float, float]:
    """The definition: projections on cosines, their mean square, the t distribution."""
    count = len(values)
    squares = []
    for index in range(1, number + 1):
        wave = np.cos(np.pi * index * (np.arange(count) + 0.5) / count)
        squares.append(2 / count * float(wave @ (values - values.mean())) ** 2)
    half = float(t.ppf(0.975, number)) * math.sqrt(np.mean(squares) / count)
    return values.mean() - half, values.mean() + half


def overlapping(noise: Floats, span: int) -> Floats:
    """Sums of `span` neighbours [samples, windows], with variance 1."""
    total = np.cumsum(np.pad(noise, ((0, 0), (1, 0))), axis=1)
    sums: Floats = (total[:, span:] - total[:, :-span]) / math.sqrt(span)
    return sums


def persistent(noise: Floats, weight: float) -> Floats:
    """An autoregression [samples, windows] with variance 1; the first 300 values are dropped."""
    values: Floats = lfilter([1.0], [1.0, -weight], noise, axis=1)[:, 300:] * math.sqrt(1 - weight**2)
    return values


def covered(series: Floats, truth: float, *, overlap: int = 1) -> float:
    """The share of the series whose interval contains the true mean."""
    return float((np.abs(series.mean(axis=1) - truth) <= half_width(mean_errors(series, overlap=overlap))).mean())


@pytest.mark.parametrize(
    ("samples", "overlap", "number"),
    [(1000, 1, 10), (1000, 0, 10), (1000, 5, 10), (1000, 60, 8), (500, 20, 8), (150, 20, 4), (16, 1, 3), (15, 1, 0)],
)
def test_the_number_of_cosines_follows_from_samples_and_overlap(samples: int, overlap: int, number: int) -> None:
    """The cube root of the samples, and at most one per two label spans; fewer than three are none."""
    assert cosines(samples, overlap=overlap) == number


@pytest.mark.parametrize(("overlap", "least"), [(0, 16), (1, 16), (3, 16), (4, 20), (20, 100), (200, 1000)])
def test_too_few_samples_have_a_reason_and_no_interval(overlap: int, least: int) -> None:
    """The reason names the smallest sufficient number of windows."""
    values = np.random.default_rng(1).normal(size=least)
    assert too_few(least, overlap=overlap) is None
    assert mean_interval(values, overlap=overlap) is not None
    span = max(1, overlap)
    assert too_few(least - 1, overlap=overlap) == (
        f"{least - 1} windows are too few for an interval: labels that span {span} rows need {least}"
    )
    for few in (least - 1, 1, 0):
        assert mean_interval(values[:few], overlap=overlap) is None


@pytest.mark.parametrize(("count", "overlap"), [(60, 1), (61, 3), (640, 7)])
def test_the_interval_of_a_mean_equals_its_definition(count: int, overlap: int) -> None:
    """Explicit projections have the same interval, also far away from zero."""
    values = np.random.default_rng(4).normal(1e6, 1.0, count)
    found = mean_interval(values, overlap=overlap)
    assert found is not None
    number = cosines(count, overlap=overlap)
    assert (found.low, found.high) == pytest.approx(by_hand(values, number), abs=1e-8, rel=0)
    assert (found.level, found.method, found.cosines) == (0.95, METHOD, number)
    assert found.plain().keys() == {"low", "high", "level", "method", "cosines"}


def test_two_vectors_are_paired_by_their_difference() -> None:
    """The common part of two models cancels: a constant difference has no uncertainty, though each loss has."""
    first = np.random.default_rng(4).normal(size=200)
    first -= first.mean()
    second = first + 0.05
    alone, paired = (mean_interval(values, overlap=5) for values in (second, second - first))
    assert alone is not None
    assert paired is not None
    assert alone.low < 0 < alone.high
    assert (paired.low, paired.high) == pytest.approx((0.05, 0.05))
    both = mean_errors(np.stack([first, second]), overlap=5)
    np.testing.assert_allclose(both[1] - both[0], mean_errors(second - first, overlap=5), atol=1e-15)


@pytest.mark.parametrize("bounds", [(0.0, math.inf), (0.0, 1.0), (-math.inf, 1.0), (-1.0, 2.0)])
@pytest.mark.parametrize("value", [0.001, 0.3, 0.9999])
@pytest.mark.parametrize("half", [1e-9, 0.2, 50.0, 1e6])
def test_no_end_is_beyond_a_bound(bounds: tuple[float, float], value: float, half: float) -> None:
    """However large the error is; a small one has the symmetric interval."""
    found = interval_around(value, half, bounds=bounds)
    assert found is not None
    assert bounds[0] <= found.low < value < found.high <= bounds[1]
    if half == 1e-9:
        assert (found.low, found.high) == pytest.approx((value - half, value + half), abs=1e-12)


def test_on_a_bound_there_is_no_interval_unless_nothing_varies() -> None:
    """An estimate on a bound has no symmetric interval inside; losses that are all 0 have that of one point."""
    assert interval_around(1.0, 0.1, bounds=(0.0, 1.0)) is None
    found = mean_interval(np.zeros(100), overlap=1, bounds=NOT_NEGATIVE)
    assert found is not None
    assert (found.low, found.high) == (0.0, 0.0)


@pytest.mark.parametrize("count", [150, 500])
@pytest.mark.parametrize("span", [1, 5, 20])
def test_g18_intervals_of_overlapping_labels_have_their_coverage(count: int, span: int) -> None:
    """At least 92 % of the samples, at most 1.4 times as wide as if the variance was known."""
    series = overlapping(np.random.default_rng(count + span).normal(size=(2000, count + span - 1)), span)
    assert covered(series, 0.0, overlap=span) >= 0.92
    lags = np.arange(1, span)
    known = math.sqrt((1 + 2 * ((1 - lags / span) * (1 - lags / count)).sum()) / count)
    assert half_width(mean_errors(series, overlap=span)).mean() <= 1.4 * 1.96 * known


@pytest.mark.parametrize("count", [150, 500])
def test_g18_intervals_of_persistent_and_skewed_losses_have_their_coverage(count: int) -> None:
    """Autoregressive losses with weight 0.9 at least 85 %, squared errors of labels that overlap 5 times 92 %."""
    generator = np.random.default_rng(count)
    assert covered(persistent(generator.normal(size=(2000, count + 300)), 0.9), 0.0) >= 0.85
    squares = overlapping(generator.normal(size=(2000, count + 4)), 5) ** 2
    found = [mean_interval(one, overlap=5, bounds=NOT_NEGATIVE) for one in squares]
    assert np.mean([one is not None and one.low <= 1.0 <= one.high for one in found]) >= 0.92


def test_g18_adjacent_stretches_of_one_series_rarely_differ() -> None:
    """With long, small autocorrelation, as in real losses: their correlations sum to 5.5.

    Version 0.1 called 14 of 32 such pairs different; independent windows would be called different more often still.
    """
    generator, count = np.random.default_rng(3), 614
    noise = generator.normal(size=(1000, 2 * count))
    losses = math.sqrt(0.75) * noise + math.sqrt(0.25) * persistent(generator.normal(size=(1000, 2 * count + 300)), 0.9)
    less = losses[:, :count] - losses[:, count:]
    assert 1 - covered(less, 0.0) <= 0.1
    independent = 1.96 * less.std(axis=1) / math.sqrt(count)
    assert np.mean(np.abs(less.mean(axis=1)) > independent) > 0.3
