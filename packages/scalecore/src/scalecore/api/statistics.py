"""Intervals: the circular block bootstrap for means over overlapping windows, Wilson's interval for rates."""

from scalecore.data.bootstrap import (
    BOOTSTRAP_SEED,
    LEVEL,
    MAX_UNDEFINED,
    MIN_BLOCKS,
    block_length,
    mean_interval,
    resampled_counts,
    resampled_indices,
)
from scalecore.data.rates import OWN_DENOMINATOR, denominator, wilson

__all__ = [
    "BOOTSTRAP_SEED",
    "LEVEL",
    "MAX_UNDEFINED",
    "MIN_BLOCKS",
    "OWN_DENOMINATOR",
    "block_length",
    "denominator",
    "mean_interval",
    "resampled_counts",
    "resampled_indices",
    "wilson",
]
