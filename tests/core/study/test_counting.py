"""A family says its sizes itself, or they are counted: each shape once, many together, few depths of equal blocks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pytest

from scalecore.config.experiment import Budget
from scalecore.space import ArchitectureSpace, DataShape
from scalecore.study.architectures import feasible_grid
from scalecore.study.counting import CountedFamily

DATA = DataShape(context=4, features=2, outputs=1)
SHAPES = tuple({"width": width, "depth": depth} for width in (2, 4) for depth in (1, 2, 3, 5, 8, 13))


class Silent:
    """Says nothing of its sizes."""

    def hyperparameters(self) -> Sequence[Any]:
        return ()

    def architecture_space(self, data: DataShape) -> ArchitectureSpace:
        dimensions = {"width": (2, 4), "depth": (1, 2, 3, 5, 8, 13)}
        return ArchitectureSpace(dimensions=dimensions, architectures=SHAPES, depth="depth")

    def build(self, architecture: Any, hyperparameters: Any, data: DataShape) -> Any: ...


class Counting:
    """Counts by formula, and remembers what it was asked."""

    def __init__(self, *, curved: bool = False) -> None:
        self.asked: list[tuple[int, bool]] = []
        self.curved = curved

    def __call__(
        self, architectures: Sequence[Mapping[str, int]], data: DataShape, forward: bool
    ) -> Sequence[Mapping[str, int]]:
        self.asked.append((len(architectures), forward))
        return [self.sizes(one, forward=forward) for one in architectures]

    def sizes(self, one: Mapping[str, int], *, forward: bool = True) -> dict[str, int]:
        width, depth = one["width"], one["depth"] ** (2 if self.curved else 1)
        sizes = {"num_parameters": width * depth + 3}
        return sizes | ({"flops": 7 * width * depth + 1, "saved_activations": 5 * depth + width} if forward else {})


@pytest.mark.parametrize("curved", [False, True])
def test_equal_blocks_are_counted_at_three_depths(curved: bool) -> None:
    """All parameters in one question; a forward pass of three depths where they lie on a line, else of all."""
    counting = Counting(curved=curved)
    family = CountedFamily(Silent(), counting)
    grid = feasible_grid(family, DATA, budget=None, tolerance=0.1, exclude=())
    assert counting.asked == [(12, False), (6, True), *([(6, True)] if curved else [])]
    for one in grid.architectures:
        sizes = counting.sizes(one.values)
        assert (one.num_parameters, one.flops) == (sizes["num_parameters"], sizes["flops"])
        assert family.saved_activations(one.values, DATA) == sizes["saved_activations"]
    assert len(counting.asked) == (3 if curved else 2), "and nothing is asked twice"


def test_only_what_fits_the_budget_is_run() -> None:
    """Parameters decide which shapes there are; the others need no forward pass."""
    counting = Counting()
    family = CountedFamily(Silent(), counting)
    budget = Budget(text="13", parameters=13)
    grid = feasible_grid(family, DATA, budget=budget, tolerance=0.2, exclude=())
    assert len(grid.architectures) == 3
    assert counting.asked == [(12, False), (3, True)]


def test_what_a_family_says_itself_is_not_counted() -> None:
    """Each closed form by itself."""

    class Saying(Silent):
        def num_parameters(self, architecture: Mapping[str, int], data: DataShape) -> int:
            return 100 * architecture["width"]

        def flops(self, architecture: Mapping[str, int], data: DataShape) -> int:
            return 9

    counting = Counting()
    family = CountedFamily(Saying(), counting)
    grid = feasible_grid(family, DATA, budget=None, tolerance=0.1, exclude=("depth > 1",))
    assert [(one.num_parameters, one.flops) for one in grid.architectures] == [(200, 9), (400, 9)]
    assert family.saved_activations({"width": 2, "depth": 1}, DATA) == 7
    assert counting.asked == [(2, True)]
