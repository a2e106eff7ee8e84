"""What a design can find: rates of the verdicts under given truths, and how many seeds a finding needs."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from attrs import frozen

from scalecore_analysis.scaling.isotonic import null_of
from scalecore_analysis.scaling.verdict import Rates, rates

__all__ = ["TRUTHS", "Needed", "seeds_for", "truth_of"]

MOST_SEEDS = 200
SETS = 4000
NULL_DRAWS = 20_000

TRUTHS: dict[str, str] = {
    "falling": "the loss falls by the same amount to each next budget; found when the claim holds",
    "rising at the end": "it falls, and rises by the same amount to the largest; found when the claim is violated",
    "flat": "no budget differs; found when it is flat",
}


@frozen(kw_only=True)
class Needed:
    """How many seeds of each budget; None where more than 200 would be."""

    seeds: int | None

    @property
    def text(self) -> str:
        return f"more than {MOST_SEEDS}" if self.seeds is None else str(self.seeds)


def truth_of(kind: str, step: float, budgets: int) -> list[float]:
    """True means in units of the spread of seeds."""
    if kind == "falling":
        return [-step * index for index in range(budgets)]
    if kind == "rising at the end":
        return [-step * min(index, 2 * budgets - 4 - index) for index in range(budgets)]
    return [0.0] * budgets


def power_of(kind: str, step: float, *, budgets: int, seeds: int, margin: float) -> tuple[float, Rates]:
    """How often the truth is found, and all rates. `step` and `margin` are in units of the spread of seeds."""
    null = null_of([seeds] * budgets, draws=NULL_DRAWS)
    found = rates(truth_of(kind, step, budgets), seeds=seeds, margin=margin, sets=SETS, null=null)
    return {"falling": found.holds, "rising at the end": found.violated, "flat": found.flat}[kind], found


def seeds_for(kind: str, step: float, *, budgets: int, margin: float, power: float = 0.8) -> Needed:
    """The fewest seeds of each budget with which the truth is found with this power."""
    found: Callable[[int], bool] = partial(_enough, kind, step, budgets=budgets, margin=margin, power=power)
    low, high = 1, 2
    while not found(high):
        if high >= MOST_SEEDS:
            return Needed(seeds=None)
        low, high = high, min(2 * high, MOST_SEEDS)
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if found(middle) else (middle, high)
    return Needed(seeds=high)


def _enough(kind: str, step: float, seeds: int, *, budgets: int, margin: float, power: float) -> bool:
    return power_of(kind, step, budgets=budgets, seeds=seeds, margin=margin)[0] >= power
