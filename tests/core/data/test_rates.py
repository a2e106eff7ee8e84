"""Denominators of rates, and intervals for small ones."""

from __future__ import annotations

import pytest

from scalecore.data.rates import denominator, wilson

BINARY = {"tn": 70, "fp": 3, "fn": 20, "tp": 7}
CLASSES = [[50, 10, 0, 0], [20, 9, 1, 0], [5, 4, 0, 0], [0, 0, 0, 0]]
"""Of four classes the last one does not occur, and class 2 is predicted once, wrongly."""


@pytest.mark.parametrize(
    ("metric", "binary", "classes"),
    [("accuracy", 100, 99), ("precision", 10, 1), ("recall", 27, 9), ("auc", None, None), ("val_loss", None, None)],
)
def test_g19_each_rate_has_its_own_denominator(metric: str, binary: int | None, classes: int | None) -> None:
    """For several classes, that of the class with the fewest windows."""
    assert denominator(metric, BINARY) == binary
    assert denominator(metric, CLASSES) == classes
    assert denominator(metric, None) is None


def test_g19_a_class_that_is_never_predicted_does_not_count() -> None:
    """Its precision is 0 by definition; if no class that occurs is predicted, the denominator is 0."""
    assert denominator("precision", [[50, 10, 0], [20, 9, 0], [5, 4, 0]]) == 23
    assert denominator("precision", [[0, 0, 9], [0, 0, 9], [0, 0, 0]]) == 0
    assert denominator("precision", {"tn": 9, "fp": 0, "fn": 1, "tp": 0}) == 0


@pytest.mark.parametrize(
    ("share", "count", "low", "high"), [(1.0, 1, 0.2065, 1.0), (0.0, 10, 0.0, 0.2775), (0.8, 50, 0.6696, 0.8876)]
)
def test_g19_wilsons_interval_has_a_width_at_the_ends_too(share: float, count: int, low: float, high: float) -> None:
    """The values of Brown, Cai and DasGupta (2001), Interval estimation for a binomial proportion."""
    assert wilson(share, count, level=0.95) == pytest.approx((low, high), abs=5e-5)
