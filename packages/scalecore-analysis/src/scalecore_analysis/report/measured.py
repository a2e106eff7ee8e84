"""Numbers with their intervals, as cells of tables."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

from attrs import frozen

from scalecore.api.record_parts import MetricInterval

if TYPE_CHECKING:
    from scalecore_analysis.report.section import Row

__all__ = ["Measured", "columns_of", "flattened", "significant"]


@frozen(kw_only=True)
class Measured:
    """A number with its 95 % confidence interval, if there is one: one cell on a page, three columns in a file."""

    value: float
    low: float | None = None
    high: float | None = None

    @classmethod
    def of(cls, value: float | None, within: MetricInterval | Sequence[float | None] | None = None) -> Measured | None:
        """None without a value; `within` is an interval as stored in a record, or its two ends."""
        if value is None or not math.isfinite(value):
            return None
        low, high = (within.low, within.high) if isinstance(within, MetricInterval) else within or (None, None)
        return cls(value=value) if low is None or high is None else cls(value=value, low=low, high=high)

    @property
    def texts(self) -> tuple[str, ...]:
        """The value, then the ends of the interval, in the same number of decimals.

        The value has four significant digits. If it is smaller than half of the interval, that half has two.
        """
        if self.low is None or self.high is None:
            return (significant(self.value),)
        half = (self.high - self.low) / 2
        if not math.isfinite(half) or half <= 0 or half < 1e-8 or max(abs(self.low), abs(self.high)) >= 1e9:
            return tuple(significant(one) for one in (self.value, self.low, self.high))
        digits, size = (3, abs(self.value)) if abs(self.value) > half else (1, half)
        decimals = max(0, digits - math.floor(math.log10(size)))
        return tuple(f"{one:.{decimals}f}" for one in (self.value, self.low, self.high))

    def __str__(self) -> str:
        value, *ends = self.texts
        return f"{value} ({ends[0]} to {ends[1]})" if ends else value


def significant(value: float) -> str:
    """Four significant digits, trailing zeros included: `0.4080`, `12.50`, `1234`, `1.200e-05`."""
    if value == 0 or not math.isfinite(value):
        return f"{value:g}"
    place = math.floor(math.log10(abs(float(f"{value:.3e}"))))
    return f"{value:.{max(0, 3 - place)}f}" if -5 < place < 7 else f"{value:.3e}"


def columns_of(rows: Sequence[Row]) -> list[str]:
    """The keys of the rows in the order of their first occurrence."""
    return list(dict.fromkeys(name for row in rows for name in row))


def flattened(rows: Sequence[Row]) -> list[Row]:
    """The rows with plain values: a column of intervals `X` becomes `X`, `X low` and `X high`."""
    spread = {name for row in rows for name, value in row.items() if isinstance(value, Measured)}
    found = []
    for row in rows:
        flat: Row = {}
        for name in columns_of(rows):
            value = row.get(name)
            if name not in spread:
                flat[name] = value
                continue
            ends = (value.value, value.low, value.high) if isinstance(value, Measured) else (value, None, None)
            flat |= dict(zip((name, f"{name} low", f"{name} high"), ends, strict=True))
        found.append(flat)
    return found
