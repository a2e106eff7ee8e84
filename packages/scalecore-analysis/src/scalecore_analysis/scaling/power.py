"""What a design can find: rates of the verdicts under given truths, and how many seeds a finding needs."""

from __future__ import annotations

from attrs import field, frozen

from scalecore_analysis.scaling.isotonic import Null, null_of
from scalecore_analysis.scaling.verdict import Rates, rates

__all__ = ["TRUTHS", "Design", "truth_of"]

MOST_SEEDS = 200
SETS = 4000
NULL_DRAWS = 20_000

TRUTHS: dict[str, str] = {
    "falling": "the loss falls by the same amount to each next budget; found when the claim holds",
    "rising at the end": "it falls, and rises by the same amount to the largest; found when the claim is violated",
    "flat": "no budget differs; found when it is flat",
}


def truth_of(kind: str, step: float, budgets: int) -> list[float]:
    """True means in units of the spread of seeds."""
    if kind == "falling":
        return [-step * index for index in range(budgets)]
    if kind == "rising at the end":
        return [-step * min(index, 2 * budgets - 4 - index) for index in range(budgets)]
    return [0.0] * budgets


@frozen(kw_only=True)
class Design:
    """So many budgets, judged with a margin in units of the spread of seeds. Remembers the nulls it has simulated."""

    budgets: int
    margin: float
    _nulls: dict[int, Null] = field(factory=dict, init=False, repr=False, eq=False)

    def rates(self, kind: str, step: float, *, seeds: int) -> tuple[float, Rates]:
        """How often the truth is found, and all rates; `step` is in units of the spread of seeds."""
        null = self._nulls.get(seeds)
        if null is None:
            null = self._nulls[seeds] = null_of([seeds] * self.budgets, draws=NULL_DRAWS)
        found = rates(truth_of(kind, step, self.budgets), seeds=seeds, margin=self.margin, sets=SETS, null=null)
        return {"falling": found.holds, "rising at the end": found.violated, "flat": found.flat}[kind], found

    def seeds_for(self, kind: str, step: float, *, power: float = 0.8) -> str:
        """The fewest seeds of each budget with which the truth is found with this power, or `more than 200`."""
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
