"""Means of windows that overlap, with intervals by the moving block bootstrap."""

from scalecore.data.bootstrap import BOOTSTRAP_SEED, block_length, mean_interval, resampled_counts

__all__ = ["BOOTSTRAP_SEED", "block_length", "mean_interval", "resampled_counts"]
