"""Confidence intervals of means and metrics over windows in time, by circular block bootstrap (guard G02).

Neighbouring windows are similar and their labels depend on the same future rows. The bootstrap therefore draws blocks
of neighbours instead of single windows. In the circular form of Politis and Romano (1992, A circular block-resampling
procedure for stationary data) blocks wrap around the end, so that every window is drawn equally often. The windows of a
part with several stretches count as one sequence.
"""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np
import numpy.typing as npt

from scalecore.api.record_parts import MetricInterval

BOOTSTRAP_SEED = 0
"""One seed, and therefore the same blocks, for all measurements on a data set, so that intervals are comparable."""

LEVEL = 0.95
MIN_BLOCKS = 5
"""A sample of fewer blocks has no interval, because it would be meaningless."""
MAX_UNDEFINED = 0.05
"""A metric that is undefined in a larger share of the resamples has no interval."""

Floats = npt.NDArray[np.float64]


def block_length(samples: int, *, overlap: int) -> int:
    """Return the windows per block for `samples` windows; `overlap` is the label span (0 counts as 1).

    The largest of three lengths, rounded up: `overlap`; samples^(1/3), the order of the best length for the variance of
    a mean (Künsch 1989; Hall, Horowitz and Jing 1995); and ((overlap - 1/overlap)^2 * samples / 6)^(1/3). The last is
    the length (2 G^2 / D * samples)^(1/3) of Politis and White (2004, with the correction of 2009) for the circular
    bootstrap, with the autocovariances 1 - k / overlap of a sum of `overlap` independent rows. It is computed from the
    overlap, not estimated from the losses, so that all models have the same length and can be paired.
    """
    span = max(1, overlap)
    return math.ceil(max(span, _cube_root(samples), _cube_root((span - 1 / span) ** 2 * samples / 6)))


def resampled_indices(samples: int, *, block: int, resamples: int, seed: int) -> npt.NDArray[np.int64]:
    """Return the sample indices of each resample [resamples, samples]: blocks of `block` neighbours, the last cut."""
    starts = _starts(samples, block=block, resamples=resamples, seed=seed)
    indices = (starts[:, :, None] + np.arange(block)) % samples
    return indices.reshape(resamples, -1)[:, :samples]


def resampled_counts(
    samples: int, *, block: int, resamples: int, seed: int, at_once: int
) -> Iterator[npt.NDArray[np.float64]]:
    """Yield how often each resample contains each sample: arrays [at most at_once, samples], in order.

    The resamples are those of `resampled_indices`, but never all in memory at the same time.
    """
    starts = _starts(samples, block=block, resamples=resamples, seed=seed)
    lengths = np.full(starts.shape[1], block)
    lengths[-1] = samples - block * (starts.shape[1] - 1)
    for first in range(0, resamples, at_once):
        piece = starts[first : first + at_once]
        rows = np.arange(len(piece))[:, None] * (2 * samples)
        # Add 1 from each start and subtract 1 from each end; the part beyond the last sample wraps around.
        size = len(piece) * 2 * samples
        begins = np.bincount((rows + piece).ravel(), minlength=size)
        ends = np.bincount((rows + piece + lengths).ravel(), minlength=size)
        running = np.cumsum((begins - ends[:size]).reshape(len(piece), 2, samples).reshape(len(piece), -1), axis=1)
        yield (running[:, :samples] + running[:, samples:]).astype(np.float64)


def mean_interval(values: npt.ArrayLike, *, overlap: int, seed: int, resamples: int = 1000) -> MetricInterval | None:
    """Return the 95 % interval of the mean of `values` [samples]; None for fewer than 5 blocks.

    The interval describes the sampling of windows for fixed predictions, not the variation between training runs. It is
    slightly too narrow: for means over 500 windows with an overlap of 1, 5 or 20, it covered the true mean in 94, 93
    and 89 % of simulated samples.

    Equal samples, overlap and seed draw equal resamples. The interval of a paired difference is therefore that of
    `first - second`, the difference of two loss vectors over the same windows.
    """
    sample = np.asarray(values, dtype=np.float64)
    count, block = len(sample), block_length(len(sample), overlap=overlap)
    if count < MIN_BLOCKS * block:
        return None
    starts = _starts(count, block=block, resamples=resamples, seed=seed)
    # Sums of whole blocks and of the shorter last one, by start: no resample is materialised.
    whole, rest = divmod(count, block)
    total = _block_sums(sample, block)[starts[:, :whole]].sum(axis=1)
    if rest:
        total += _block_sums(sample, rest)[starts[:, whole]]
    low, high = np.quantile(total / count, ((1 - LEVEL) / 2, (1 + LEVEL) / 2)).tolist()
    return MetricInterval(low=low, high=high, level=LEVEL, block=block, resamples=resamples)


def _cube_root(value: float) -> float:
    # In floating point 64 ** (1 / 3) is just below 4, and the root of another cube may be just above.
    return float(round(value ** (1 / 3), 9))


def _starts(samples: int, *, block: int, resamples: int, seed: int) -> npt.NDArray[np.int64]:
    blocks = -(-samples // block)
    return np.random.default_rng(seed).integers(0, samples, size=(resamples, blocks))


def _block_sums(sample: Floats, length: int) -> Floats:
    """Return the sums [samples] of `length` neighbours from each start, wrapping around the end."""
    # Subtract the mean: differences of running sums lose precision if the level is large.
    mean = sample.mean()
    running = np.concatenate([[0.0], np.cumsum(np.concatenate([sample, sample[: length - 1]]) - mean)])
    sums: Floats = running[length:] - running[:-length] + length * mean
    return sums
