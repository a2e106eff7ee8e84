from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np
import pytest

from scalecore.api.space import Architecture, Choice, Distribution, IntRange, LogUniform, Uniform
from scalecore_optuna.coordinates import ArchitectureCoordinates, Axis, roles_of
from scalecore_optuna.grid import Grid

if TYPE_CHECKING:
    from collections.abc import Callable


def test_a_transformer_has_aspect_head_size_ratio_and_size(
    grid_of: Callable[[float], list[Architecture]],
) -> None:
    """The coordinates come from width, depth, heads and feed-forward width."""
    grid = Grid(grid_of(2e6))
    coordinates = ArchitectureCoordinates(grid)
    assert coordinates.names == ("aspect", "head_size", "feed_forward_ratio", "size")
    shape = next(s for s in grid.architectures if s.values["d_model"] == 192 and s.values["n_heads"] == 8)
    raw = {name: column[grid.architectures.index(shape)] for name, column in coordinates.raw.items()}
    assert raw["aspect"] == pytest.approx(math.log2(192 / shape.values["n_layers"]))
    assert raw["head_size"] == pytest.approx(math.log2(192 / 8))
    assert raw["feed_forward_ratio"] == pytest.approx(math.log2(shape.values["d_ff"] / 192))
    assert raw["size"] == pytest.approx(math.log2(shape.num_parameters))
    assert coordinates.scaled.shape == (80, 4)
    assert (coordinates.scaled.min(axis=0) == 0).all()
    assert (coordinates.scaled.max(axis=0) == 1).all()


def test_under_a_budget_width_and_depth_are_one_axis_and_the_derived_ones_are_not(
    grid_of: Callable[[float], list[Architecture]],
) -> None:
    """The reason for the derived coordinates."""
    grid = Grid(grid_of(2e8))
    plain = np.corrcoef(grid.coordinates[:, 0], grid.coordinates[:, 1])[0, 1]
    derived = np.corrcoef(ArchitectureCoordinates(grid).scaled, rowvar=False)
    assert plain < -0.9
    assert np.abs(derived[0, 1:]).max() < 0.75


def test_roles_are_declared_or_known_by_the_usual_names() -> None:
    """A family may use any names for its dimensions if it declares their roles."""
    assert roles_of(("d_model", "n_layers", "kernel")) == {"width": "d_model", "depth": "n_layers"}
    assert roles_of(("breite", "tiefe"), {"width": "breite", "depth": "tiefe"}) == {"width": "breite", "depth": "tiefe"}
    shapes = [
        Architecture(values={"breite": w, "tiefe": t, "kernel": k}, num_parameters=w * w * t, flops=1)
        for w in (8, 16)
        for t in (1, 2)
        for k in (3, 5)
    ]
    declared = ArchitectureCoordinates(Grid(shapes), {"width": "breite", "depth": "tiefe"})
    assert declared.names == ("aspect", "size", "kernel")
    assert ArchitectureCoordinates(Grid(shapes)).names == ("breite", "tiefe", "kernel")


@pytest.mark.parametrize(
    "distribution",
    [
        Uniform(low=-1.0, high=3.0),
        LogUniform(low=1e-5, high=1e-2),
        IntRange(low=3, high=20, step=4),
        IntRange(low=1, high=500, log=True),
        IntRange(low=4, high=4),
        Choice(values=(100, 50, 75)),
        Choice(values=("layer", "batch", "none")),
        Choice(values=(False, True)),
    ],
)
def test_an_axis_has_the_coordinates_of_the_value_that_would_run(distribution: Distribution) -> None:
    """The model uses the value after snapping: all units of one value have one coordinate."""
    axis = Axis(distribution)
    units = np.linspace(0, 1, 41)
    values = [distribution.at(float(unit)) for unit in units]
    again = np.array([axis.unit(value) for value in values])
    assert (
        [distribution.at(float(unit)) for unit in again] == pytest.approx(values)
        if not isinstance(values[0], str)
        else [distribution.at(float(unit)) for unit in again] == values
    )
    assert axis.coordinates(again) == pytest.approx(axis.coordinates(units))
    assert axis.coordinates(units).min() >= 0
    assert axis.coordinates(units).max() <= 1


def test_choices_of_numbers_are_ordered_and_of_texts_equidistant() -> None:
    """Numbers in any order are one axis; two different texts are at distance one."""
    numbers, texts = Axis(Choice(values=(100, 50, 75))), Axis(Choice(values=("a", "b", "c")))
    units = np.array([0.1, 0.5, 0.9])
    assert numbers.coordinates(units)[:, 0].tolist() == [1.0, 0.0, 0.5]
    points = texts.coordinates(units)
    assert np.linalg.norm(points[0] - points[1]) == pytest.approx(1.0)
    assert np.linalg.norm(points[0] - points[2]) == pytest.approx(1.0)
