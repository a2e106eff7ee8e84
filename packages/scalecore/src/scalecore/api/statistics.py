"""Means of windows that overlap, with intervals by the moving block bootstrap."""

from scalecore.data.bootstrap import (
    BOOTSTRAP_SEED,
    MIN_BLOCKS,
    block_length,
    mean_interval,
    resampled_counts,
    resampled_indices,
)

__all__ = ["BOOTSTRAP_SEED", "MIN_BLOCKS", "block_length", "mean_interval", "resampled_counts", "resampled_indices"]
