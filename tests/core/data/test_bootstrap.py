"""Intervals by block bootstrap, compared with explicit resamples."""

from __future__ import annotations

import numpy as np
import pytest

from scalecore.data.bootstrap import (
    block_length,
    mean_interval,
    resampled_counts,
    resampled_indices,
)


def interval_by_loops(values: list[float], *, overlap: int, seed: int, resamples: int) -> tuple[float, float]:
    """The definition: draw block starts, wrap around the end, cut the last block, average; then percentiles."""
    count, block = len(values), block_length(len(values), overlap=overlap)
    starts = np.random.default_rng(seed).integers(0, count, size=(resamples, -(-count // block)))
    means = []
    for row in starts.tolist():
        drawn = [values[(start + step) % count] for start in row for step in range(block)][:count]
        means.append(sum(drawn) / count)
    return float(np.quantile(means, 0.025)), float(np.quantile(means, 0.975))


@pytest.mark.parametrize(
    ("samples", "overlap", "length"),
    [(1000, 1, 10), (1000, 0, 10), (1000, 2, 10), (1000, 5, 16), (1000, 20, 41), (27, 1, 3), (28, 1, 4), (64, 1, 4)],
)
def test_the_block_length_follows_from_samples_and_overlap(samples: int, overlap: int, length: int) -> None:
    """The cube root of the samples, or the length for the autocovariances of overlapping labels."""
    assert block_length(samples, overlap=overlap) == length


def test_a_block_is_never_shorter_than_the_overlap() -> None:
    """Labels that share rows stay together, even with few samples."""
    for overlap in range(1, 60):
        for samples in (1, 10, 100, 1000):
            assert block_length(samples, overlap=overlap) >= overlap


def test_resamples_are_blocks_of_neighbours_around_the_end() -> None:
    """Indices in a block increase by one and wrap around; the last block is cut to the sample's size."""
    indices = resampled_indices(10, block=4, resamples=50, seed=1)
    assert indices.shape == (50, 10)
    assert set(indices.ravel().tolist()) == set(range(10))
    steps = (np.diff(indices, axis=1) % 10 == 1).all(axis=0)
    assert steps.tolist() == [True, True, True, False, True, True, True, False, True]


@pytest.mark.parametrize(("count", "overlap"), [(60, 1), (61, 3), (64, 7)])
def test_the_interval_of_a_mean_equals_explicit_resamples(count: int, overlap: int) -> None:
    """Block sums equal loops, also far away from zero."""
    values = np.random.default_rng(4).normal(1e6, 1.0, count)
    found = mean_interval(values, overlap=overlap, seed=9, resamples=200)
    assert found is not None
    expected = interval_by_loops(values.tolist(), overlap=overlap, seed=9, resamples=200)
    assert (found.low, found.high) == pytest.approx(expected, abs=1e-8, rel=0)
    assert (found.block, found.resamples, found.level) == (block_length(count, overlap=overlap), 200, 0.95)


def test_two_vectors_are_paired_by_their_difference() -> None:
    """The common part of two models cancels: a constant difference has no uncertainty, though each loss has."""
    first = np.random.default_rng(4).normal(size=200)
    first -= first.mean()
    second = first + 0.05
    alone, paired = (mean_interval(values, overlap=5, seed=2) for values in (second, second - first))
    assert alone is not None
    assert paired is not None
    assert alone.low < 0 < alone.high
    assert (paired.low, paired.high) == pytest.approx((0.05, 0.05))


def test_the_seed_decides_the_interval() -> None:
    """Equal seeds draw equal resamples, another seed draws others."""
    values = np.random.default_rng(4).normal(size=100)
    first, again, other = (mean_interval(values, overlap=1, seed=seed) for seed in (1, 1, 2))
    assert first == again != other


def test_too_few_blocks_give_no_interval() -> None:
    """With fewer than five blocks there is no interval; rotations of one block would look certain."""
    values = np.arange(50.0)
    assert mean_interval(values, overlap=10, seed=1) is not None
    assert mean_interval(values[:49], overlap=10, seed=1) is None
    assert mean_interval(values[:0], overlap=1, seed=1) is None


@pytest.mark.parametrize("process", ["overlap", "autoregression"])
def test_g02_headline_intervals_cover_the_truth_about_95_times_of_100(process: str) -> None:
    """For dependent neighbours, the interval for independent samples misses often, this one rarely."""
    runs, count, overlap, held, naive = 300, 500, 5, 0, 0
    for seed in range(runs):
        noise = np.random.default_rng(seed).normal(size=count + overlap)
        if process == "overlap":
            values = np.convolve(noise, np.ones(overlap), "valid")[:count]
        else:
            values = noise[overlap:].copy()
            for row in range(1, count):
                values[row] += 0.5 * values[row - 1]
        found = mean_interval(values, overlap=overlap, seed=seed)
        assert found is not None
        held += found.low <= 0 <= found.high
        naive += abs(values.mean()) <= 1.96 * values.std() / count**0.5
    assert 0.89 <= held / runs <= 0.98
    assert naive / runs < 0.8


@pytest.mark.parametrize(("samples", "block", "at_once"), [(50, 7, 3), (64, 8, 100), (30, 30, 1), (9, 1, 4)])
def test_counts_are_those_of_the_resampled_indices(samples: int, block: int, at_once: int) -> None:
    """The counts of each sample, in pieces, also for blocks that wrap around the end."""
    indices = resampled_indices(samples, block=block, resamples=20, seed=5)
    expected = np.stack([np.bincount(one, minlength=samples) for one in indices])
    pieces = list(resampled_counts(samples, block=block, resamples=20, seed=5, at_once=at_once))
    assert all(len(piece) <= at_once for piece in pieces)
    np.testing.assert_array_equal(np.concatenate(pieces), expected)
