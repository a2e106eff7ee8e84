"""Detects implausible prices: unadjusted splits, changed units, single wrong prices (guard G58).

Indices and large funds have never moved by a quarter in a day, single shares by up to a half. Larger moves, and moves
at the ratio of a split, are flagged. A flag refuses nothing, because a merger or a default may cause the same move.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
from attrs import frozen

from scalecore_market.table import PRICES

if TYPE_CHECKING:
    from scalecore_market.bars import Array
    from scalecore_market.table import PriceTable

__all__ = ["Implausible", "implausible", "implausible_text", "remarks", "split_hint"]

RATIOS = (2, 3, 4, 5, 6, 7, 8, 10, 12, 15, 20, 25, 30, 40, 50, 100, 1000)
"""Ratios of splits and units. 3:2 is missing, because shares do fall by a third in a day."""
NEAR = 0.07
"""Largest distance of a factor from a ratio, as a logarithm: the market also moves on the day of a split."""
LARGEST = math.log(1.5), math.log(2.0)
"""Largest plausible moves up and down: 50 % each."""
LARGEST_LEVEL = math.log(4.5)
"""Largest plausible move of a volatility or yield: the VIX more than doubled on 2018-02-05."""
RETURNS = 20
"""A level that returns within this many rows was temporarily wrong; otherwise it changed permanently."""
SHOWN = 5

_LEVELS = {"VIX", "VIX1D", "VIX9D", "VIX3M", "VIX6M", "VXO", "VXN", "VXD", "RVX", "VVIX", "OVX", "GVZ", "VXEEM"}
_LEVELS |= {"V2TX", "V2X", "VDAX", "V1X", "IRX", "FVX", "TNX", "TYX"}
"""Indices of volatility and yields, which really can double in a day."""


@frozen(kw_only=True)
class Implausible:
    """A row, counted from 0, with the reason."""

    row: int
    text: str


def implausible(table: PriceTable, *, symbol: str, level: bool = False) -> list[Implausible]:
    """Rows with an implausible change from the previous row, or with contradicting prices; ascending, usually none.

    `level` marks a volatility or a yield instead of a price; some symbols are known to be one. Then only moves of the
    close beyond 4.5 times count.
    """
    if len(table) < 2:
        return []
    level = level or symbol.removeprefix("^").upper() in _LEVELS
    if level or not all(name in table.columns for name in PRICES):
        moves = _logs(table.columns["Close"])
        rows = np.flatnonzero(np.abs(moves) > LARGEST_LEVEL) + 1
        return list(_jumps(table, {int(row): float(moves[row - 1]) for row in rows}))
    jumps = _level_changes(table)
    found = {one.row: one for one in _jumps(table, jumps)}
    # The row after a wrong one also differs from it; report each row once.
    for one in _within_a_row(table):
        found.setdefault(one.row, one)
    return [found[row] for row in sorted(found)]


def implausible_text(found: list[Implausible], *, table: PriceTable, name: str) -> str:
    """One sentence with the first rows. `name` is the table's name in messages."""
    rows = "; ".join(f"row {one.row} ({table.dates[one.row]}): {one.text}" for one in found[:SHOWN])
    more = f"; and {len(found) - SHOWN} more" if len(found) > SHOWN else ""
    many = f"{len(found)} rows have" if len(found) > 1 else "a row has"
    return f"{name}: {many} implausible prices: {rows}{more}"


def remarks(table: PriceTable, *, symbol: str, name: str) -> list[str]:
    """The warning of `scalecore data` about a table: one sentence, or none."""
    found = implausible(table, symbol=symbol)
    return [implausible_text(found, table=table, name=name)] if found else []


def split_hint(factor: float) -> str:
    """A hint if the columns of one row differ by the ratio of a split; otherwise an empty text."""
    ratio = _ratio(math.log(factor)) if factor > 0 else None
    if ratio is None:
        return ""
    return f"; they differ by a factor of {ratio}: some columns may be unadjusted for a split, or have another unit"


def _logs(prices: Array) -> npt.NDArray[np.float64]:
    """Log returns: one entry fewer than rows."""
    logs: npt.NDArray[np.float64] = np.diff(np.log(prices))
    return logs


def _ratio(log: float) -> int | None:
    """The ratio near a factor or its inverse; None if there is none."""
    nearest = min(RATIOS, key=lambda ratio: abs(abs(log) - math.log(ratio)))
    return nearest if abs(abs(log) - math.log(nearest)) <= NEAR else None


def _odd(logs: npt.NDArray[np.float64]) -> npt.NDArray[np.bool_]:
    """Moves beyond 50 %, or near the smallest ratio, 2."""
    up, down = LARGEST
    beyond: npt.NDArray[np.bool_] = (logs > up) | (logs < -down) | (np.abs(np.abs(logs) - math.log(RATIOS[0])) <= NEAR)
    return beyond


def _level_changes(table: PriceTable) -> dict[int, float]:
    """Rows in which the level of prices changes, with the logarithm of the factor.

    The open shows the ratio of a split best, if the move within the day was ordinary.
    """
    columns = table.columns
    moves, gaps = _logs(columns["Close"]), np.log(columns["Open"][1:] / columns["Close"][:-1])
    days = np.log(columns["Close"] / columns["Open"])[1:]
    ordinary = ~_odd(days)
    rows = np.flatnonzero(_odd(moves) | (_odd(gaps) & ordinary))
    by_gap = _odd(gaps) & ordinary
    return {int(row) + 1: float(gaps[row] if by_gap[row] else moves[row]) for row in rows}


def _jumps(table: PriceTable, jumps: dict[int, float]) -> Iterator[Implausible]:
    """Changes of the level. Two that cancel each other within `RETURNS` rows are one wrong period."""
    close, rows, undone = table.columns["Close"], sorted(jumps), set()
    for at, row in enumerate(rows):
        if row in undone:
            continue
        log = jumps[row]
        soon = itertools.takewhile(lambda one: one - row <= RETURNS, rows[at + 1 :])  # noqa: B023 - used at once
        back = next((one for one in soon if one not in undone and abs(log + jumps[one]) <= 4 * NEAR), None)
        change = f"close {close[row - 1]:g} -> {close[row]:g}, {_times(log)} the previous row"
        ratio = _ratio(log)
        if back is not None:
            undone.add(back)
            stretch = "in this row" if back == row + 1 else f"until row {back - 1} ({table.dates[back - 1]})"
            where = "high" if log > 0 else "low"
            yield Implausible(row=row, text=f"{change}: too {where} {stretch}, a wrong price or another unit")
        elif ratio is None:
            yield Implausible(row=row, text=f"{change}: not the ratio of a split; a wrong price, or an event")
        else:
            kind = f"{ratio}:1 split" if log < 0 else f"1:{ratio} reverse split"
            unit = f", or another unit (times {ratio}) from here on" if ratio in (100, 1000) else ""
            alone = ", or a wrong price" if row == len(close) - 1 else ", or a wrong price in row 0" if row == 1 else ""
            yield Implausible(row=row, text=f"{change}: probably an unadjusted {kind}{unit}{alone}")


def _within_a_row(table: PriceTable) -> Iterator[Implausible]:
    """Rows in which open, high, low and close differ too much for one day."""
    start, high, low, close = (table.columns[name] for name in PRICES)
    upper, lower = np.maximum(start, close), np.minimum(start, close)
    pairs = (
        ("close", "open", close, start),
        ("high", "higher of open and close", high, upper),
        ("low", "lower of open and close", low, lower),
    )
    for name, other, values, reference in pairs:
        logs = np.log(values / reference)
        for row in np.flatnonzero(_odd(logs)).tolist():
            text = f"{name} {values[row]:g} is {_times(float(logs[row]))} the {other}, {reference[row]:g}"
            yield Implausible(row=row, text=f"{text}: a wrong price, or some columns are not adjusted for a split")


def _times(log: float) -> str:
    """`4.0 times` or `1/4.0 of`."""
    factor = math.exp(abs(log))
    return f"{factor:.3g} times" if log > 0 else f"1/{factor:.3g} of"
