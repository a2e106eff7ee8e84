"""Intervals of means over overlapping windows and of rates; means and differences of replicates."""

from scalecore.data.intervals import (
    LEVEL,
    METHOD,
    NOT_NEGATIVE,
    cosines,
    half_width,
    interval_around,
    mean_errors,
    mean_interval,
    too_few,
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
    "LEVEL",
    "METHOD",
    "MIN_SEEDS",
    "NOT_NEGATIVE",
    "OWN_DENOMINATOR",
    "Estimate",
    "Verdict",
    "cosines",
    "denominator",
    "difference",
    "half_width",
    "interval_around",
    "margin_of",
    "mean",
    "mean_errors",
    "mean_interval",
    "one_training",
    "too_few",
    "verdict",
    "wilson",
]
