"""Prices that cannot be: splits that nobody adjusted for, changed units, single wrong prices (guard G58).

Indices and large funds have not moved by a quarter in a day, single shares by up to a half: what is flagged is
beyond that, or at the ratio of a split. A flag refuses nothing, since a merger or a default may move a price as far.
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
"""Of splits, and of units; 3:2 is missing, since shares do fall by a third in a day."""
NEAR = 0.07
"""How far from a ratio a factor may be, as a logarithm: the market moves on the day of a split too."""
LARGEST = math.log(1.5), math.log(2.0)
"""Moves up and down that are plausible: 50 % either way."""
LARGEST_LEVEL = math.log(4.5)
"""Of what is no price: the VIX more than doubled within 2018-02-05."""
RETURNS = 20
"""Rows within which a level that comes back was wrong for a while, and changed for good otherwise."""
SHOWN = 5

_LEVELS = {"VIX", "VIX1D", "VIX9D", "VIX3M", "VIX6M", "VXO", "VXN", "VXD", "RVX", "VVIX", "OVX", "GVZ", "VXEEM"}
_LEVELS |= {"V2TX", "V2X", "VDAX", "V1X", "IRX", "FVX", "TNX", "TYX"}
"""Indices of volatility and yields, which double for real."""


@frozen(kw_only=True)
class Implausible:
    """A row, counted from 0, and in words what is wrong with it."""

    row: int
    text: str


def implausible(table: PriceTable, *, symbol: str, level: bool = False) -> list[Implausible]:
    """Rows whose prices cannot follow from the row before, or contradict each other; ascending, usually none.

    `level` says that the table is no price but a volatility or a yield, as the symbols of some are known to be: then
    only its close is looked at, and only moves beyond 4.5 times count.
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
    # A row after a wrong one is held against it too; each row is named once.
    for one in _within_a_row(table):
        found.setdefault(one.row, one)
    return [found[row] for row in sorted(found)]


def implausible_text(found: list[Implausible], *, table: PriceTable, name: str) -> str:
    """One sentence that names the first rows; `name` is what messages call the table."""
    rows = "; ".join(f"row {one.row} ({table.dates[one.row]}): {one.text}" for one in found[:SHOWN])
    more = f"; and {len(found) - SHOWN} more" if len(found) > SHOWN else ""
    many = f"{len(found)} rows have" if len(found) > 1 else "a row has"
    return f"{name}: {many} implausible prices: {rows}{more}"


def remarks(table: PriceTable, *, symbol: str, name: str) -> list[str]:
    """What `scalecore data` says of a table: one sentence where anything is implausible."""
    found = implausible(table, symbol=symbol)
    return [f"{implausible_text(found, table=table, name=name)} [G58]"] if found else []


def split_hint(factor: float) -> str:
    """`; 4.0 is the ratio of a split: ...` where the columns of one row are that far apart; else an empty text."""
    ratio = _ratio(math.log(factor)) if factor > 0 else None
    if ratio is None:
        return ""
    return f"; they are {ratio} times apart, as where only some columns are adjusted for a split or have another unit"


def _logs(prices: Array) -> npt.NDArray[np.float64]:
    """Logarithms of each price by the one before: one entry fewer than rows."""
    logs: npt.NDArray[np.float64] = np.diff(np.log(prices))
    return logs


def _ratio(log: float) -> int | None:
    """The ratio that a factor or its inverse is near to."""
    nearest = min(RATIOS, key=lambda ratio: abs(abs(log) - math.log(ratio)))
    return nearest if abs(abs(log) - math.log(nearest)) <= NEAR else None


def _odd(logs: npt.NDArray[np.float64]) -> npt.NDArray[np.bool_]:
    """Beyond 50 %, or near to the smallest ratio, which is near to that."""
    up, down = LARGEST
    beyond: npt.NDArray[np.bool_] = (logs > up) | (logs < -down) | (np.abs(np.abs(logs) - math.log(RATIOS[0])) <= NEAR)
    return beyond


def _level_changes(table: PriceTable) -> dict[int, float]:
    """Rows where the level of prices changes, with the logarithm of the factor.

    The open shows the ratio of a split best, where the day itself was an ordinary one.
    """
    columns = table.columns
    moves, gaps = _logs(columns["Close"]), np.log(columns["Open"][1:] / columns["Close"][:-1])
    days = np.log(columns["Close"] / columns["Open"])[1:]
    ordinary = ~_odd(days)
    rows = np.flatnonzero(_odd(moves) | (_odd(gaps) & ordinary))
    by_gap = _odd(gaps) & ordinary
    return {int(row) + 1: float(gaps[row] if by_gap[row] else moves[row]) for row in rows}


def _jumps(table: PriceTable, jumps: dict[int, float]) -> Iterator[Implausible]:
    """Changes of the level, in words; two that undo each other within `RETURNS` rows are one wrong stretch."""
    close, rows, undone = table.columns["Close"], sorted(jumps), set()
    for at, row in enumerate(rows):
        if row in undone:
            continue
        log = jumps[row]
        soon = itertools.takewhile(lambda one: one - row <= RETURNS, rows[at + 1 :])  # noqa: B023 - used at once
        back = next((one for one in soon if one not in undone and abs(log + jumps[one]) <= 4 * NEAR), None)
        change = f"close {close[row - 1]:g} -> {close[row]:g}, {_times(log)} the row before"
        ratio = _ratio(log)
        if back is not None:
            undone.add(back)
            stretch = "in this row" if back == row + 1 else f"until row {back - 1} ({table.dates[back - 1]})"
            where = "high" if log > 0 else "low"
            yield Implausible(row=row, text=f"{change}: too {where} {stretch}, a wrong price or another unit")
        elif ratio is None:
            yield Implausible(row=row, text=f"{change}: near no ratio of a split; a wrong price, or an event")
        else:
            kind = f"a {ratio}:1 split" if log < 0 else f"a reverse split of 1:{ratio}"
            unit = f", or another unit (times {ratio}) from here on" if ratio in (100, 1000) else ""
            alone = ", or a wrong price" if row == len(close) - 1 else ", or a wrong price in row 0" if row == 1 else ""
            yield Implausible(row=row, text=f"{change}: probably {kind}, not adjusted for{unit}{alone}")


def _within_a_row(table: PriceTable) -> Iterator[Implausible]:
    """Open, high, low and close that are too far from each other for one day."""
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
            yield Implausible(row=row, text=f"{text}: a wrong price, or columns that are not all adjusted for a split")


def _times(log: float) -> str:
    """`4.0 times` or `1/4.0 of`."""
    factor = math.exp(abs(log))
    return f"{factor:.3g} times" if log > 0 else f"1/{factor:.3g} of"
