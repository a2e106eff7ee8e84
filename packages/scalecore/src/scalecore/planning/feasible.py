"""The feasible architectures of a study: the family's legal shapes with an exact size within the budget's tolerance."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import pairwise
from typing import TYPE_CHECKING

from attrs import field, frozen

from scalecore.api.errors import ScalecoreError
from scalecore.api.space import Architecture, ArchitectureSpace, DataShape, shape_id
from scalecore.config.experiment import Budget
from scalecore.planning.conditions import Predicate
from scalecore.planning.counting import CountedFamily

if TYPE_CHECKING:
    from scalecore.api.model import SizedFamily

GAP_SHARE = 0.10
"""Gaps between sizes are reported if they are at least this share of the budget."""


class Infeasible(ScalecoreError):
    """No architecture is left, or a condition is invalid; `path` is the offending key of the experiment file."""

    def __init__(self, path: tuple[str | int, ...], message: str) -> None:
        super().__init__(message)
        self.path = path


@frozen(kw_only=True)
class FeasibleGrid:
    """The feasible architectures in a fixed order (by size, then by content), with counts and limits."""

    architectures: tuple[Architecture, ...]
    dimensions: dict[str, tuple[int, ...]]
    depth: str | None
    """The dimension that counts equal blocks, if the family names one."""
    legal: int
    excluded: int
    budget: int | None
    low: int | None
    high: int | None
    roles: Mapping[str, str] = field(factory=dict)
    shapes: ArchitectureSpace
    """All legal shapes."""
    infeasible: Mapping[str, str] = field(factory=dict)
    """The reason why a legal shape is not feasible, by its id."""

    def gaps(self) -> list[tuple[float, float]]:
        """Return the gaps between neighbouring sizes, as shares of the budget."""
        if self.budget is None or self.low is None or self.high is None:
            return []
        sizes = sorted({self.low, self.high, *(a.num_parameters for a in self.architectures)})
        shares = [size / self.budget for size in sizes]
        return [(a, b) for a, b in pairwise(shares) if b - a >= GAP_SHARE]


def feasible_grid(
    family: SizedFamily, data: DataShape, *, budget: Budget | None, tolerance: float, exclude: Sequence[str]
) -> FeasibleGrid:
    """Enumerate, count and filter the shapes. Raises `Infeasible`, with the nearest sizes, if none is left."""
    space = family.architecture_space(data)
    if problem := next(predicate_problems(space, exclude), None):
        raise problem
    predicates = [Predicate(text, names=space.dimensions) for text in exclude]
    low = high = None
    if budget is not None:
        low, high = round(budget.parameters * (1 - tolerance)), round(budget.parameters * (1 + tolerance))

    counted = family if isinstance(family, CountedFamily) else None
    if counted is not None:
        counted.count(space.architectures, data)
    sizes: list[int] = []
    fitting: list[tuple[Mapping[str, int], int]] = []
    infeasible: dict[str, str] = {}
    excluded = 0
    for values in space.architectures:
        count = family.num_parameters(values, data)
        sizes.append(count)
        if low is not None and high is not None and not low <= count <= high:
            infeasible[shape_id(values)] = f"it has {count:,} parameters, the budget allows {low:,} to {high:,}"
            continue
        if any(predicate(values) for predicate in predicates):
            excluded += 1
            infeasible[shape_id(values)] = "search.exclude excludes it"
            continue
        fitting.append((values, count))
    if not fitting:
        raise _nothing_left(budget, tolerance, low, high, sizes, excluded)
    if counted is not None:
        counted.count_forward([values for values, _ in fitting], data, depth=space.depth)
    kept = [
        Architecture(values=values, num_parameters=count, flops=family.flops(values, data)) for values, count in fitting
    ]
    kept.sort(key=lambda a: (a.num_parameters, a.id))
    dimensions = {name: tuple(sorted({a.values[name] for a in kept})) for name in space.dimensions}
    return FeasibleGrid(
        architectures=tuple(kept),
        dimensions=dimensions,
        depth=space.depth,
        legal=len(space.architectures),
        excluded=excluded,
        budget=budget.parameters if budget else None,
        low=low,
        high=high,
        roles={**({"depth": space.depth} if space.depth is not None else {}), **space.roles},
        shapes=space,
        infeasible=infeasible,
    )


def predicate_problems(space: ArchitectureSpace, exclude: Sequence[str]) -> Iterator[Infeasible]:
    """Yield invalid conditions, conditions that exclude every shape, and a family without shapes."""
    if not space.architectures:
        yield Infeasible(("model",), "these options leave no legal architecture; change the values of its dimensions")
        return
    predicates = []
    for index, text in enumerate(exclude):
        try:
            predicates.append(Predicate(text, names=space.dimensions))
        except ValueError as error:
            yield Infeasible(("search", "exclude", index), str(error))
    try:
        nothing = all(any(predicate(values) for predicate in predicates) for values in space.architectures)
    except ValueError as error:
        yield Infeasible(("search", "exclude"), str(error))
        return
    if nothing:
        message = f"leaves none of the {len(space.architectures)} architectures of the model; remove a condition"
        yield Infeasible(("search", "exclude"), message)


def _nothing_left(
    budget: Budget | None, tolerance: float, low: int | None, high: int | None, sizes: list[int], excluded: int
) -> Infeasible:
    if budget is None or low is None or high is None:  # conditions exclude every shape
        return Infeasible(("search", "exclude"), f"leaves none of the {len(sizes)} architectures of the model")
    if excluded:
        within = f"within {tolerance:.0%} of the budget {budget.text}"
        message = f"leaves none of the {excluded} architectures {within}; remove a condition"
        return Infeasible(("search", "exclude"), message)
    below = max((size for size in sizes if size < low), default=None)
    above = min((size for size in sizes if size > high), default=None)
    nearest = " and ".join(f"{size:,}" for size in (below, above) if size is not None)
    return Infeasible(
        ("search", "budget"),
        f"no architecture of the model has {low:,} to {high:,} parameters (budget {budget.text}, tolerance "
        f"{tolerance:.0%}); the nearest have {nearest}; change the budget, the tolerance or the model's dimensions",
    )
