"""Confidence intervals of means and metrics over windows in time, by circular block bootstrap (guard G02).

Neighbouring windows resemble each other, and their labels look at the same future rows, so single windows must not be
drawn as if they were independent: blocks of neighbours are. The circular form of Politis and Romano (1992, A circular
block-resampling procedure for stationary data) lets blocks run over the end to the beginning, so that every window is
drawn equally often. Windows of a part that has several stretches are taken as one sequence.
"""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np
import numpy.typing as npt

from scalecore.api.record_parts import MetricInterval

BOOTSTRAP_SEED = 0
"""The same blocks for everything that is measured on one data set, so that the intervals can be compared."""

LEVEL = 0.95
MIN_BLOCKS = 5
"""With fewer blocks than these in a sample an interval says nothing, and there is none."""
MAX_UNDEFINED = 0.05
"""A metric that is not defined in a larger share of the resamples has no interval."""

Floats = npt.NDArray[np.float64]


def block_length(samples: int, *, overlap: int) -> int:
    """Windows of a block, for `samples` windows whose labels overlap `overlap` times (the label span; 0 counts as 1).

    The largest of three, rounded up: `overlap`; samples^(1/3), the order of the best length for the variance of a mean
    (Künsch 1989; Hall, Horowitz and Jing 1995); and ((overlap - 1/overlap)^2 * samples / 6)^(1/3). The last is the
    length (2 G^2 / D * samples)^(1/3) of Politis and White (2004, with the correction of 2009) for the circular
    bootstrap, with the autocovariances 1 - k / overlap that a sum of `overlap` independent rows has. It is computed
    from the overlap and not estimated from the losses, so that all models share one length and can be paired.
    """
    span = max(1, overlap)
    return math.ceil(max(span, _cube_root(samples), _cube_root((span - 1 / span) ** 2 * samples / 6)))


def resampled_indices(samples: int, *, block: int, resamples: int, seed: int) -> npt.NDArray[np.int64]:
    """Which samples each resample takes: [resamples, samples], blocks of `block` neighbours, the last one cut off."""
    starts = _starts(samples, block=block, resamples=resamples, seed=seed)
    indices = (starts[:, :, None] + np.arange(block)) % samples
    return indices.reshape(resamples, -1)[:, :samples]


def resampled_counts(
    samples: int, *, block: int, resamples: int, seed: int, at_once: int
) -> Iterator[npt.NDArray[np.float64]]:
    """How often each resample takes each sample: pieces [at most at_once, samples], in the order of the resamples.

    The resamples are those of `resampled_indices`, of which this is another form that never holds all of them.
    """
    starts = _starts(samples, block=block, resamples=resamples, seed=seed)
    lengths = np.full(starts.shape[1], block)
    lengths[-1] = samples - block * (starts.shape[1] - 1)
    for first in range(0, resamples, at_once):
        piece = starts[first : first + at_once]
        rows = np.arange(len(piece))[:, None] * (2 * samples)
        # One more from each start on, one less from each end on; what runs over the end counts at the beginning.
        size = len(piece) * 2 * samples
        begins = np.bincount((rows + piece).ravel(), minlength=size)
        ends = np.bincount((rows + piece + lengths).ravel(), minlength=size)
        running = np.cumsum((begins - ends[:size]).reshape(len(piece), 2, samples).reshape(len(piece), -1), axis=1)
        yield (running[:, :samples] + running[:, samples:]).astype(np.float64)


def mean_interval(values: npt.ArrayLike, *, overlap: int, seed: int, resamples: int = 1000) -> MetricInterval | None:
    """The 95 % interval of the mean of `values` [samples]; None where they make fewer than 5 blocks.

    It tells how far the mean depends on which windows were drawn, for predictions that are given: not how far it
    depends on the training of what predicted. Such intervals are a little too narrow: of means over 500 windows that
    overlap 1, 5 or 20 times, 95 % intervals held the truth in 94, 93 and 89 % of simulated samples.

    Equal numbers of samples, overlap and seed draw equal resamples, so the interval of a paired difference is that of
    `first - second`, two vectors of losses over the same windows.
    """
    sample = np.asarray(values, dtype=np.float64)
    count, block = len(sample), block_length(len(sample), overlap=overlap)
    if count < MIN_BLOCKS * block:
        return None
    starts = _starts(count, block=block, resamples=resamples, seed=seed)
    # Sums of whole blocks and of the last, shorter one, by start: no resample needs to be written out.
    whole, rest = divmod(count, block)
    total = _block_sums(sample, block)[starts[:, :whole]].sum(axis=1)
    if rest:
        total += _block_sums(sample, rest)[starts[:, whole]]
    low, high = np.quantile(total / count, ((1 - LEVEL) / 2, (1 + LEVEL) / 2)).tolist()
    return MetricInterval(low=low, high=high, level=LEVEL, block=block, resamples=resamples)


def _cube_root(value: float) -> float:
    # In floating point 64 ** (1 / 3) is just under 4, and another cube may come out just over its root.
    return float(round(value ** (1 / 3), 9))


def _starts(samples: int, *, block: int, resamples: int, seed: int) -> npt.NDArray[np.int64]:
    blocks = -(-samples // block)
    return np.random.default_rng(seed).integers(0, samples, size=(resamples, blocks))


def _block_sums(sample: Floats, length: int) -> Floats:
    """[samples] sums of `length` neighbours from each start on, around the end."""
    # Around the mean, since differences of running sums lose what is small beside the level.
    mean = sample.mean()
    running = np.concatenate([[0.0], np.cumsum(np.concatenate([sample, sample[: length - 1]]) - mean)])
    sums: Floats = running[length:] - running[:-length] + length * mean
    return sums
