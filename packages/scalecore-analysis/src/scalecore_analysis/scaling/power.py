"""Power of a design: rates of the verdicts under given truths, and the number of seeds for a given power."""

from __future__ import annotations

from attrs import field, frozen

from scalecore_analysis.scaling.isotonic import Null, null_of
from scalecore_analysis.scaling.verdict import Rates, rates

__all__ = ["TRUTHS", "Design", "truth_of"]

MOST_SEEDS = 200
LARGEST_STEP = 64.0
SETS = 4000
NULL_DRAWS = 20_000

TRUTHS: dict[str, str] = {
    "falling": "the loss falls by one step from each budget to the next; detected by the verdict holds",
    "rising at the end": "the loss falls, then rises by one step to the largest budget; detected by violated",
    "flat": "all budgets have the same loss; detected by flat",
}


def truth_of(kind: str, step: float, budgets: int) -> list[float]:
    """True means in units of the spread over seeds."""
    if kind == "falling":
        return [-step * index for index in range(budgets)]
    if kind == "rising at the end":
        return [-step * min(index, 2 * budgets - 4 - index) for index in range(budgets)]
    return [0.0] * budgets


@frozen(kw_only=True)
class Design:
    """A number of budgets and a margin in units of the spread over seeds. Caches its simulated null distributions."""

    budgets: int
    margin: float
    _nulls: dict[int, Null] = field(factory=dict, init=False, repr=False, eq=False)

    def rates(self, kind: str, step: float, *, seeds: int) -> tuple[float, Rates]:
        """The power and the rates of all verdicts; `step` is in units of the spread over seeds."""
        null = self._nulls.get(seeds)
        if null is None:
            null = self._nulls[seeds] = null_of([seeds] * self.budgets, draws=NULL_DRAWS)
        found = rates(truth_of(kind, step, self.budgets), seeds=seeds, margin=self.margin, sets=SETS, null=null)
        return {"falling": found.holds, "rising at the end": found.violated, "flat": found.flat}[kind], found

    def effect_for(self, kind: str, *, seeds: int, power: float = 0.8) -> float | None:
        """The smallest step with this power, in units of the spread, to about 1 %; None if it exceeds 64 spreads."""
        low, high = 0.0, 0.5
        while self.rates(kind, high, seeds=seeds)[0] < power:
            if high >= LARGEST_STEP:
                return None
            low, high = high, 2 * high
        while high - low > 0.01 * high:
            middle = (low + high) / 2
            enough = self.rates(kind, middle, seeds=seeds)[0] >= power
            low, high = (low, middle) if enough else (middle, high)
        return high

    def seeds_for(self, kind: str, step: float, *, power: float = 0.8) -> str:
        """The smallest number of seeds per budget that has this power, or `more than 200`."""
        low, high = 1, 2
        while self.rates(kind, step, seeds=high)[0] < power:
            if high >= MOST_SEEDS:
                return f"more than {MOST_SEEDS}"
            low, high = high, min(2 * high, MOST_SEEDS)
        while high - low > 1:
            middle = (low + high) // 2
            enough = self.rates(kind, step, seeds=middle)[0] >= power
            low, high = (low, middle) if enough else (middle, high)
        return str(high)
