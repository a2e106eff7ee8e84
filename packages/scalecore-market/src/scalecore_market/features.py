"""Computes indicators from bars, finds the first usable row, and checks the columns."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from scalecore.api.errors import DataError, RefusedError
from scalecore.api.files import canonical_json
from scalecore_market.bars import Array, Bars
from scalecore_market.indicators.base import Indicator
from scalecore_market.indicators.registry import IndicatorRegistry
from scalecore_market.table import PriceTable

__all__ = [
    "align_vix",
    "check_features",
    "check_truncation",
    "common_warm_up",
    "compute",
    "definition",
    "first_row",
    "needs_vix",
    "vix_notes",
]

FORMULAS = "0.1.0"
"""The version of this package that last changed the values of an indicator; update it with the next such change. It is
part of a built set's definition, so that a release without such a change finds earlier sets.
"""

_OLDEST = 7
"""Calendar days after which a value of the VIX no longer fills a missing day."""


def needs_vix(indicators: Sequence[Indicator]) -> bool:
    """Whether one of the indicators reads the VIX."""
    return any("vix" in indicator.inputs for indicator in indicators)


def definition(indicators: Sequence[Indicator], *, registry: IndicatorRegistry, vix_missing: str) -> str:
    """`sha256:` of the definition of the features: names, order, formulas, look-backs, providers."""
    content: dict[str, Any] = {
        "version": FORMULAS,
        "indicators": [{**one.to_json(), "provider": registry.providers[one.name]} for one in indicators],
    }
    if needs_vix(indicators):
        content["vix_missing"] = vix_missing
    return f"sha256:{hashlib.sha256(canonical_json(content).encode()).hexdigest()}"


def compute(indicators: Sequence[Indicator], bars: Bars, *, name: str) -> PriceTable:
    """One column per indicator, in order, NaN where it is not yet defined. `name` names the data in errors."""
    if bars.volume is None:
        without = [indicator.name for indicator in indicators if "volume" in indicator.inputs]
        if without:
            raise DataError(
                f"{name}: column Volume is missing, which {', '.join(without)} need; if the file has it under another "
                "name, write read: {columns: {volume: ...}}"
            )
    return PriceTable(dates=bars.dates, columns={indicator.name: indicator.function(bars) for indicator in indicators})


def common_warm_up(registry: IndicatorRegistry) -> int:
    """The longest warm-up of any built-in tier, in rows, so that all tiers can start on the same date (guard G53)."""
    return max(indicator.warm_up for tier in ("a100", "vix") for indicator in registry.select(tier))


def first_row(indicators: Sequence[Indicator], *, bars: Bars, at_least: int = 0) -> int:
    """The first row with trustworthy features: the warm-up after the first row with all inputs."""
    begin = 0
    if bars.vix is not None and needs_vix(indicators):
        known = np.flatnonzero(~np.isnan(bars.vix))
        begin = int(known[0]) if len(known) else len(bars)
    return begin + max([at_least, *(indicator.warm_up for indicator in indicators)])


def check_features(table: PriceTable, indicators: Sequence[Indicator], *, start: int, name: str) -> None:
    """Check from row `start` that features are finite (guard G50), categories whole numbers, and booleans 0 or 1.

    Raises DataError with the column and the first bad row.
    """
    for indicator in indicators:
        values = table.columns[indicator.name][start:]
        bad = np.flatnonzero(~np.isfinite(values))
        reason = f"is not defined there ({indicator.formula}); start later, or remove {indicator.name}"
        if not len(bad) and indicator.kind == "integer":
            bad, reason = np.flatnonzero(values != np.rint(values)), "is not a whole number, as a category must be"
        elif not len(bad) and indicator.kind == "boolean":
            bad, reason = np.flatnonzero((values != 0.0) & (values != 1.0)), "is neither 0 nor 1, as a boolean must be"
        if len(bad):
            row = int(bad[0]) + start
            more = f"; {len(bad)} such rows" if len(bad) > 1 else ""
            raise DataError(f"{name}: column {indicator.name}: row {row} ({table.dates[row]}): {reason}{more} [G50]")


def check_truncation(
    indicators: Sequence[Indicator], bars: Bars, *, name: str, cuts: Sequence[int] | None = None
) -> None:
    """Check that features computed from the first `cut` rows equal those of all rows, to 1e-9 (guard G51).

    The default `cuts` are 1/3 and 2/3 of the rows and each of the last five rows, so that a week is cut on each day.
    Raises RefusedError with the indicator and the first row that looked ahead.
    """
    rows = len(bars)
    if cuts is None:
        cuts = sorted({rows // 3, 2 * rows // 3, *range(max(rows - 5, 1), rows)} - {0})
    whole = compute(indicators, bars, name=name)
    for cut in cuts:
        part = compute(indicators, bars.cut(cut), name=name)
        for indicator in indicators:
            row = _first_difference(whole.columns[indicator.name][:cut], part.columns[indicator.name])
            if row is not None:
                raise RefusedError(
                    f"{name}: {indicator.name} looks ahead: its value of {bars.dates[row]} changes when the rows after "
                    f"{bars.dates[cut - 1]} are removed",
                    guard="G51",
                )


def _first_difference(left: Array, right: Array) -> int | None:
    equal = np.isclose(left, right, rtol=1e-9, atol=1e-9, equal_nan=True)
    return None if equal.all() else int(np.argmin(equal))


def align_vix(dates: npt.NDArray[np.datetime64], vix: PriceTable, *, missing: str, names: tuple[str, str]) -> Array:
    """Closes of the VIX on `dates` [rows]; NaN before its first date. Its other dates are ignored.

    With `missing="refuse"`, a date without a VIX is an error. With `"previous"`, the previous close is used, if it is
    at most a week old. `names` are the names of the symbol and the VIX in messages.
    """
    index = np.searchsorted(vix.dates, dates, side="right") - 1
    aligned = np.where(index >= 0, vix.columns["Close"][np.maximum(index, 0)], np.nan)
    age = (dates - vix.dates[np.maximum(index, 0)]).astype(np.int64)
    absent = np.flatnonzero((index >= 0) & (age > (0 if missing == "refuse" else _OLDEST)))
    if not len(absent):
        return aligned
    symbol, name = names
    row = absent[0]
    more = f"; {len(absent)} such days" if len(absent) > 1 else ""
    if missing == "refuse":
        text = f"{dates[row]} is missing, a trading day of {symbol}{more}"
        remedy = "Complete the file, set `end`, or use the previous value with `vix_missing: previous`"
    else:
        text = f"{dates[row]}, a trading day of {symbol}, is {age[row]} days after the previous value{more}"
        remedy = "Complete the file, or set `end`"
    raise DataError(f"{name}: column Date: {text}. {remedy}")


def vix_notes(dates: npt.NDArray[np.datetime64], vix: PriceTable, *, names: tuple[str, str]) -> list[str]:
    """Differences between the dates of a symbol and of the VIX in their common period, and how they were handled."""
    symbol, name = names
    inside = dates[(dates >= vix.dates[0]) & (dates <= vix.dates[-1])]
    shared = vix.dates[(vix.dates >= dates[0]) & (vix.dates <= dates[-1])]
    filled, left = np.setdiff1d(inside, vix.dates), np.setdiff1d(shared, dates)
    notes = []
    if len(filled):
        notes.append(f"{name}: {len(filled)} days of {symbol} use the previous value, first {filled[0]}")
    if len(left):
        notes.append(f"{name}: {len(left)} days without a row of {symbol} are ignored, first {left[0]}")
    return notes
