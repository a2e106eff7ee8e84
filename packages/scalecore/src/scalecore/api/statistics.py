"""Intervals of means over overlapping windows and of rates; means and differences of replicates."""

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
from scalecore.data.replicates import (
    MIN_SEEDS,
    Estimate,
    Verdict,
    difference,
    margin_of,
    mean,
    one_training,
    verdict,
)

__all__ = [
    "BOOTSTRAP_SEED",
    "LEVEL",
    "MAX_UNDEFINED",
    "MIN_BLOCKS",
    "MIN_SEEDS",
    "OWN_DENOMINATOR",
    "Estimate",
    "Verdict",
    "block_length",
    "denominator",
    "difference",
    "margin_of",
    "mean",
    "mean_interval",
    "one_training",
    "resampled_counts",
    "resampled_indices",
    "verdict",
    "wilson",
]
