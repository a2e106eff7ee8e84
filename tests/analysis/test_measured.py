"""Numbers with intervals: their digits, and their columns in files."""

from __future__ import annotations

import math

import pytest

from scalecore.api.record_parts import MetricInterval
from scalecore_analysis.report.measured import Measured, flattened, significant


@pytest.mark.parametrize(
    ("value", "low", "high", "text"),
    [
        (0.40812345, 0.3654, 0.4533, "0.4081 (0.3654 to 0.4533)"),
        (0.4, 0.35, 0.45, "0.4000 (0.3500 to 0.4500)"),
        (6.161, 4.362, 7.962, "6.161 (4.362 to 7.962)"),
        (39012.4, 38000.0, 40000.0, "39012 (38000 to 40000)"),
        (-0.0023, -0.00901, 0.00412, "-0.0023 (-0.0090 to 0.0041)"),
        (0.0, -0.5, 0.5, "0.00 (-0.50 to 0.50)"),
        (0.5, None, None, "0.5000"),
        (0.5, 0.5, 0.5, "0.5000 (0.5000 to 0.5000)"),
        (1e-7, 9e-8, 2e-7, "0.0000001000 (0.0000000900 to 0.0000002000)"),
        (2e9, 1e9, 3e9, "2.000e+09 (1.000e+09 to 3.000e+09)"),
    ],
)
def test_an_interval_has_the_decimals_of_its_value(value: float, low: float, high: float, text: str) -> None:
    """Four significant digits; a value smaller than half of its interval has the digits of the interval."""
    assert str(Measured.of(value, (low, high))) == text


@pytest.mark.parametrize("value", [None, math.nan, math.inf])
def test_a_missing_value_has_no_interval(value: float | None) -> None:
    """A missing, infinite or undefined value is None, never a number [G25]."""
    assert Measured.of(value, (0.1, 0.2)) is None


def test_an_interval_of_a_record_may_be_missing() -> None:
    """A value without an interval, or with an unknown end, has none."""
    assert Measured.of(0.5, MetricInterval(low=0.4, high=0.6)) == Measured(value=0.5, low=0.4, high=0.6)
    assert Measured.of(0.5, (0.4, None)) == Measured.of(0.5) == Measured(value=0.5)


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0.408, "0.4080"),
        (12.5, "12.50"),
        (1234.4, "1234"),
        (0.00173205, "0.001732"),
        (1.2e-5, "1.200e-05"),
        (9.99996, "10.00"),
        (0.0, "0"),
        (-3.0, "-3.000"),
        (2.077e8, "2.077e+08"),
        (math.nan, "nan"),
    ],
)
def test_four_significant_digits(value: float, text: str) -> None:
    """Trailing zeros are digits too."""
    assert significant(value) == text


def test_a_column_of_intervals_becomes_three() -> None:
    """Every row has the same columns, in the order of the table, with unrounded numbers."""
    rows = [{"budget": "1k", "loss": None}, {"budget": "3k", "loss": Measured(value=1 / 3, low=0.1, high=0.5), "n": 4}]
    assert flattened(rows) == [
        {"budget": "1k", "loss": None, "loss low": None, "loss high": None, "n": None},
        {"budget": "3k", "loss": 1 / 3, "loss low": 0.1, "loss high": 0.5, "n": 4},
    ]
    assert flattened([]) == []
