"""Formatting of numbers."""

from __future__ import annotations

import math

import pytest

from scalecore.api import formatting


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (0.40812, "0.4081"),
        (0.1, "0.1000"),
        (1234.56789, "1234.5679"),
        (0.04123456, "0.04123"),
        (0.00021344, "0.0002134"),
        (-0.00021344, "-0.0002134"),
        (2.13e-9, "2.130e-09"),
        (0.0, "0.0000"),
        (math.nan, "nan"),
        (math.inf, "inf"),
        (None, "unknown"),
    ],
)
def test_a_metric_has_four_significant_digits(value: float | None, shown: str) -> None:
    """Four decimals, and more for small losses."""
    assert formatting.number(value) == shown


def test_related_numbers_have_equal_decimals() -> None:
    """A difference those of its operands, an interval those of its number."""
    assert formatting.number(0.0031, like=0.4081, sign=True) == "+0.0031"
    assert formatting.number(0.0000031, like=0.0002134) == "0.0000031"
    assert formatting.measured(0.0512, {"low": 0.0498, "high": 0.1021}) == "0.05120 (0.04980 to 0.10210)"
    assert formatting.measured(0.3933, {"low": 0.0916, "high": 0.4599}) == "0.3933 (0.0916 to 0.4599)"
    assert formatting.measured(0.3933, None) == "0.3933"
