"""Indicators over bars: the columns, where they begin, and what they must fulfil."""

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
"""The version of this package that last changed the values of an indicator; the next such change sets it. It is part of
the definition of a built set, so that a release that changes none finds the sets of earlier ones.
"""

_OLDEST = 7
"""Calendar days after which a value of the VIX is no longer taken for a day that has none."""


def needs_vix(indicators: Sequence[Indicator]) -> bool:
    """Whether one of them reads the VIX."""
    return any("vix" in indicator.inputs for indicator in indicators)


def definition(indicators: Sequence[Indicator], *, registry: IndicatorRegistry, vix_missing: str) -> str:
    """`sha256:` of what the features are: names, order, formulas, look-backs, who provides them."""
    content: dict[str, Any] = {
        "version": FORMULAS,
        "indicators": [{**one.to_json(), "provider": registry.providers[one.name]} for one in indicators],
    }
    if needs_vix(indicators):
        content["vix_missing"] = vix_missing
    return f"sha256:{hashlib.sha256(canonical_json(content).encode()).hexdigest()}"


def compute(indicators: Sequence[Indicator], bars: Bars, *, name: str) -> PriceTable:
    """One column per indicator, in their order, NaN where it is not defined yet. Errors call the data `name`."""
    if bars.volume is None:
        without = [indicator.name for indicator in indicators if "volume" in indicator.inputs]
        if without:
            raise DataError(
                f"{name}: column Volume is missing, which {', '.join(without)} are computed from; where the file has "
                "it under another name, write read: {columns: {volume: ...}}"
            )
    return PriceTable(dates=bars.dates, columns={indicator.name: indicator.function(bars) for indicator in indicators})


def common_warm_up(registry: IndicatorRegistry) -> int:
    """Rows that the slowest indicator of any built-in tier needs, so that all of them can start on the same date (guard
    G53).
    """
    return max(indicator.warm_up for tier in ("a100", "vix") for indicator in registry.select(tier))


def first_row(indicators: Sequence[Indicator], *, bars: Bars, at_least: int = 0) -> int:
    """The first row on which all features are trustworthy: the warm-up after the first row on which all inputs are
    there.
    """
    begin = 0
    if bars.vix is not None and needs_vix(indicators):
        known = np.flatnonzero(~np.isnan(bars.vix))
        begin = int(known[0]) if len(known) else len(bars)
    return begin + max([at_least, *(indicator.warm_up for indicator in indicators)])


def check_features(table: PriceTable, indicators: Sequence[Indicator], *, start: int, name: str) -> None:
    """From row `start` on, all features are finite (guard G50), categories are whole numbers and booleans 0 or 1.

    Raises DataError naming the column and the first bad row.
    """
    for indicator in indicators:
        values = table.columns[indicator.name][start:]
        bad = np.flatnonzero(~np.isfinite(values))
        reason = f"is not defined there ({indicator.formula}); start later, or leave {indicator.name} out"
        if not len(bad) and indicator.kind == "integer":
            bad, reason = np.flatnonzero(values != np.rint(values)), "is not a whole number, as categories are"
        elif not len(bad) and indicator.kind == "boolean":
            bad, reason = np.flatnonzero((values != 0.0) & (values != 1.0)), "is neither 0 nor 1, as booleans are"
        if len(bad):
            row = int(bad[0]) + start
            more = f"; {len(bad)} such rows" if len(bad) > 1 else ""
            raise DataError(f"{name}: column {indicator.name}: row {row} ({table.dates[row]}): {reason}{more} [G50]")


def check_truncation(
    indicators: Sequence[Indicator], bars: Bars, *, name: str, cuts: Sequence[int] | None = None
) -> None:
    """Recomputed on the first `cut` rows, every feature equals that of all rows up to there, to 1e-9 (guard G51).

    `cuts` are 1/3 and 2/3 of the rows and the last five but one by default, so that a week is cut on each of its days.
    Raises RefusedError naming the indicator and the first row that looked ahead.
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
                    f"{bars.dates[cut - 1]} are taken away",
                    guard="G51",
                )


def _first_difference(left: Array, right: Array) -> int | None:
    equal = np.isclose(left, right, rtol=1e-9, atol=1e-9, equal_nan=True)
    return None if equal.all() else int(np.argmin(equal))


def align_vix(dates: npt.NDArray[np.datetime64], vix: PriceTable, *, missing: str, names: tuple[str, str]) -> Array:
    """Closes of the VIX on `dates` [rows]; NaN before its first date. Its further dates are left out.

    A date that the VIX does not have is an error for `missing="refuse"`; for `"previous"` the last close before it is
    taken, never a later one, and none that is older than a week. `names` are what messages call the symbol and the VIX.
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
        remedy = "Complete the file, set `end`, or let `vix_missing: previous` take the last value before"
    else:
        text = f"{dates[row]}, a trading day of {symbol}, is {age[row]} days after the last value before it{more}"
        remedy = "Complete the file, or set `end`"
    raise DataError(f"{name}: column Date: {text}. {remedy}")


def vix_notes(dates: npt.NDArray[np.datetime64], vix: PriceTable, *, names: tuple[str, str]) -> list[str]:
    """How the dates of a symbol and of the VIX differ in the time that they share, and what was done about it."""
    symbol, name = names
    inside = dates[(dates >= vix.dates[0]) & (dates <= vix.dates[-1])]
    shared = vix.dates[(vix.dates >= dates[0]) & (vix.dates <= dates[-1])]
    filled, left = np.setdiff1d(inside, vix.dates), np.setdiff1d(shared, dates)
    notes = []
    if len(filled):
        notes.append(f"{name}: {len(filled)} days of {symbol} take the last value before, first {filled[0]}")
    if len(left):
        notes.append(f"{name}: {len(left)} days without a row of {symbol} are left out, first {left[0]}")
    return notes
