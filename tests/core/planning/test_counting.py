"""A family declares its sizes, or they are counted: each shape once, many together, few depths of equal blocks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pytest

from scalecore.api.errors import PluginError
from scalecore.api.space import ArchitectureSpace, DataShape
from scalecore.config.experiment import Budget
from scalecore.planning.counting import CountedFamily
from scalecore.planning.feasible import feasible_grid

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
    """All parameters in one call; a forward pass for three depths if they lie on a line, otherwise for all."""
    counting = Counting(curved=curved)
    family = CountedFamily(Silent(), counting)
    grid = feasible_grid(family, DATA, budget=None, tolerance=0.1, exclude=())
    assert counting.asked == [(12, False), (6, True), *([(6, True)] if curved else [])]
    for one in grid.architectures:
        sizes = counting.sizes(one.values)
        assert (one.num_parameters, one.flops) == (sizes["num_parameters"], sizes["flops"])
        assert family.saved_activations(one.values, DATA) == sizes["saved_activations"]
    assert len(counting.asked) == (3 if curved else 2), "and nothing is asked twice"


def test_only_shapes_within_the_budget_are_run() -> None:
    """Parameters select the shapes; the others need no forward pass."""
    counting = Counting()
    family = CountedFamily(Silent(), counting)
    budget = Budget(text="13", parameters=13)
    grid = feasible_grid(family, DATA, budget=budget, tolerance=0.2, exclude=())
    assert len(grid.architectures) == 3
    assert counting.asked == [(12, False), (3, True)]


def test_sizes_declared_by_a_family_are_not_counted() -> None:
    """Each closed form separately."""

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


@pytest.mark.parametrize(
    ("name", "value"),
    [("num_parameters", value) for value in ("425", None, True, 425.5, -3, float("nan"))]
    + [("flops", "many"), ("saved_activations", float("inf"))],
)
def test_a_closed_form_must_return_a_count(name: str, value: Any) -> None:
    """Text or None instead of a size is reported as a bug of the family before it is used."""
    family = Silent()
    setattr(family, name, lambda architecture, data: value)
    with pytest.raises(PluginError) as caught:
        getattr(CountedFamily(family, Counting()), name)({"width": 2, "depth": 1}, DATA)
    assert str(caught.value) == f"Silent.{name} returned {value!r} for {{'width': 2, 'depth': 1}}, not a count"


def test_a_closed_form_may_return_numbers_of_another_library() -> None:
    """numpy's integers, and fractions of operations."""
    family = Silent()
    setattr(family, "num_parameters", lambda architecture, data: np.int64(425))  # noqa: B010
    setattr(family, "flops", lambda architecture, data: 1.5)  # noqa: B010
    counted = CountedFamily(family, Counting())
    assert (counted.num_parameters(SHAPES[0], DATA), counted.flops(SHAPES[0], DATA)) == (425, 1.5)
