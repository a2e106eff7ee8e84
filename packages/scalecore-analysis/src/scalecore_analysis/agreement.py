"""Whether studies agree on the optimum, by their best trials and the trials tied with these."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

__all__ = ["agreement"]


def agreement(optima: Mapping[str, Mapping[str, Any]]) -> list[dict[str, Any]]:
    """One row per coordinate that all studies with a best trial share and that varies: the best trials' values, and
    whether the ranges of the tied trials overlap.

    Disjoint ranges are evidence of different optima; overlapping ranges do not exclude them.
    """
    known = {name: one for name, one in optima.items() if one["best"] is not None}
    if len(known) < 2:
        return []
    names = list(dict.fromkeys(key for one in known.values() for key in one["best"]))
    rows = []
    for name in names:
        best = [one["best"][name] for one in known.values() if name in one["best"]]
        if len(best) < len(known):
            continue
        ranges = [[tied[name] for tied in one["tied"] if name in tied] or [one["best"][name]] for one in known.values()]
        if len({value for values in (*ranges, best) for value in values}) == 1:
            continue
        highest_low, lowest_high = max(min(values) for values in ranges), min(max(values) for values in ranges)
        row: dict[str, Any] = {"coordinate": name, "lowest best": min(best), "highest best": max(best)}
        row["largest over smallest"] = max(best) / min(best) if min(best) > 0 else None
        row |= {"agree": highest_low <= lowest_high, "common from": None, "common to": None}
        if row["agree"]:
            row |= {"common from": highest_low, "common to": lowest_high}
        rows.append(row)
    return rows
