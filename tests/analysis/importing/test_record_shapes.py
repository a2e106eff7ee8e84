from __future__ import annotations

from collections.abc import Mapping
from itertools import product
from pathlib import Path
from typing import Any

import attrs
import pytest

from scalecore.api.space import ArchitectureSpace, DataShape
from scalecore.api.trials import TrialState
from scalecore_analysis.importing.readers import OldRecord
from scalecore_analysis.importing.record_shapes import RecordShapes, UnnamedShapeError
from scalecore_torch.linear import LinearFamily

DATA = DataShape(context=20, features=3, outputs=1)


class Grid(LinearFamily):
    """Widths, depths, heads and feed-forward widths, with two derived names; it counts what is on its grid only."""

    def __init__(self, *, widths: tuple[int, ...] = (16, 32), ratios: tuple[int, ...] = (2, 4)) -> None:
        self.widths, self.ratios = widths, ratios

    def architecture_space(self, data: DataShape) -> ArchitectureSpace:
        return ArchitectureSpace(
            dimensions={
                "d_model": self.widths,
                "n_layers": (2, 4, 8),
                "n_heads": (2, 4),
                "d_ff": tuple(sorted({width * ratio for width, ratio in product(self.widths, self.ratios)})),
            },
            architectures=tuple(
                {"d_model": width, "n_layers": depth, "n_heads": heads, "d_ff": ratio * width}
                for width, depth, heads, ratio in product(self.widths, (2, 4, 8), (2, 4), self.ratios)
            ),
            derived={
                "d_ff_ratio": lambda one: one["d_ff"] / one["d_model"],
                "head_dim": lambda one: one["d_model"] // one["n_heads"],
            },
        )

    def num_parameters(self, architecture: Mapping[str, int], data: DataShape) -> int:
        return architecture["n_layers"] * architecture["d_model"] * architecture["d_ff"]


def record(values: Mapping[str, Any], **more: Any) -> OldRecord:
    return OldRecord(
        source="old.json",
        path=Path("old.json"),
        number=0,
        state=TrialState.COMPLETED,
        state_text="COMPLETE",
        value=0.5,
        values=values,
        **more,
    )


WHOLE = {"d_model": 16, "n_layers": 4, "n_heads": 2, "d_ff": 64}


@pytest.mark.parametrize(
    "values",
    [
        WHOLE,
        {"d_model": 16.0, "n_layers": "4", "n_heads": "2.0", "d_ff": 64.0},
        {"d_model": 16, "n_layers": 4, "n_heads": 2, "d_ff_ratio": 4},
        {"d_model": 16, "n_layers": 4, "n_heads": 2, "d_ff_ratio": "4.0"},
        {"d_model": 16, "n_layers": 4, "head_dim": 8, "d_ff_ratio": 4},
        {"n_layers": 4, "n_heads": 2, "head_dim": 8, "d_ff_ratio": 4},
        {"d_ff": 64, "n_layers": 4, "n_heads": 2, "d_ff_ratio": 4},
        {**WHOLE, "d_ff_ratio": 4, "head_dim": 8, "learning_rate": 1e-3},
        {**WHOLE, "d_model": 16, "n_heads": None, "head_dim": 8},
    ],
)
def test_an_architecture_is_named_by_dimensions_or_by_what_the_family_derives(values: Mapping[str, Any]) -> None:
    """However a dimension is given, and whether as a number or as text, it is the same architecture."""
    named = RecordShapes(Grid(), DATA).named(record(values))
    assert (dict(named.values), named.completed) == (WHOLE, ())


@pytest.mark.parametrize(
    ("values", "reason"),
    [
        (
            {"d_model": 16, "n_layers": 4, "n_heads": 2},
            "it has no d_ff, and 2 architectures have d_model=16,n_layers=4,n_heads=2 (d_ff_ratio would do as well)",
        ),
        (
            {"d_model": 16, "n_layers": 4, "d_ff": 64},
            "it has no n_heads, and 2 architectures have d_model=16,n_layers=4,d_ff=64 (head_dim would do as well)",
        ),
        (
            {"n_layers": 4, "n_heads": 2, "d_ff": 64},
            "it has no d_model, and 2 architectures have n_layers=4,n_heads=2,d_ff=64 (d_ff_ratio or head_dim would do "
            "as well)",
        ),
        (
            {"d_model": 16, "n_heads": 2, "d_ff_ratio": 4},
            "it has no n_layers, and 3 architectures have d_model=16,n_heads=2,d_ff_ratio=4",
        ),
        (
            {"d_ff_ratio": 4, "n_layers": 4, "n_heads": 2},
            "it has no d_model, d_ff, and 2 architectures have n_layers=4,n_heads=2,d_ff_ratio=4 (head_dim would do as "
            "well)",
        ),
        (
            {**WHOLE, "d_ff_ratio": 2},
            "it contradicts itself: d_ff_ratio is 2, and 4 with d_model=16,d_ff=64",
        ),
        (
            {"d_model": 16, "d_ff": 64, "d_ff_ratio": 2},
            "it contradicts itself: d_ff_ratio is 2, and 4 with d_model=16,d_ff=64",
        ),
        ({**WHOLE, "head_dim": 4}, "it contradicts itself: head_dim is 4, and 8 with d_model=16,n_heads=2"),
        (
            {"d_model": 16, "n_layers": 4, "n_heads": 2, "d_ff_ratio": 2.5},
            "d_model=16,n_layers=4,n_heads=2,d_ff_ratio=2.5 is no architecture of the model's grid",
        ),
        ({**WHOLE, "d_model": 17}, "d_model=17,n_layers=4,n_heads=2,d_ff=64 is no architecture of the model's grid"),
        (
            {"d_model": 17, "d_ff_ratio": 4},
            "d_model=17,d_ff_ratio=4 is no architecture of the model's grid",
        ),
        ({**WHOLE, "n_heads": True}, "its n_heads is True, which is not a size"),
        ({**WHOLE, "d_model": float("nan")}, "its d_model is nan, which is not a size"),
        ({**WHOLE, "d_ff_ratio": 10**12}, "its d_ff_ratio is 1000000000000, which is not a size"),
        ({**WHOLE, "d_model": "wide"}, "its d_model is 'wide', which is not a size"),
        ({"learning_rate": 1e-3}, "it names no architecture: none of d_model, n_layers, n_heads, d_ff is in it"),
    ],
)
def test_g17_what_is_missing_or_contradicts_is_refused_by_its_name(values: Mapping[str, Any], reason: str) -> None:
    """Among all architectures of the family one must have what the record gives."""
    shapes = RecordShapes(Grid(), DATA)
    with pytest.raises(UnnamedShapeError) as refused:
        shapes.named(record(values))
    assert str(refused.value) == reason


def test_a_rule_may_read_its_dimensions_in_any_way() -> None:
    """By `get` as by a subscript, and others for other architectures: what it reads is noted."""

    class Other(Grid):
        def architecture_space(self, data: DataShape) -> ArchitectureSpace:
            space = super().architecture_space(data)
            rules = {
                "head_dim": lambda one: one.get("d_model", 0) // one.get("n_heads", 1),
                "deep": lambda one: one["d_ff"] if one["n_layers"] > 2 else 0,
            }
            return attrs.evolve(space, derived=rules)

    shapes = RecordShapes(Other(), DATA)
    for values, reason in (
        (
            {"n_layers": 4, "d_ff": 64, "head_dim": 99},
            "n_layers=4,d_ff=64,head_dim=99 is no architecture of the model's grid",
        ),
        (
            {"d_model": 16, "n_layers": 4, "n_heads": 2},
            "it has no d_ff, and 2 architectures have d_model=16,n_layers=4,n_heads=2 (deep would do as well)",
        ),
    ):
        with pytest.raises(UnnamedShapeError) as refused:
            shapes.named(record(values))
        assert str(refused.value) == reason


def test_g17_an_attribute_that_gives_another_size_is_a_contradiction() -> None:
    """Plain attributes are read too, and do not lose against parameters without a word."""
    shapes = RecordShapes(Grid(), DATA)
    assert dict(shapes.named(record({**WHOLE, "d_ff": None}, attributes={"d_ff": 64.0})).values) == WHOLE
    with pytest.raises(UnnamedShapeError, match=r"^it contradicts itself: d_ff is 64 and 32$"):
        shapes.named(record(WHOLE, attributes={"d_ff": 32}))


def test_a_dimension_that_only_the_grid_decides_is_named() -> None:
    """A grid with one ratio leaves one architecture; where the ratio is given, nothing was completed."""
    shapes = RecordShapes(Grid(ratios=(4,)), DATA)
    without = {"d_model": 16, "n_layers": 4, "n_heads": 2}
    assert shapes.named(record(without)).completed == ("d_ff",)
    assert shapes.named(record({**without, "d_ff_ratio": 4})).completed == ()
    assert shapes.named(record({**without, "head_dim": 8})).completed == ("d_ff",)


def test_records_of_another_model_name_none() -> None:
    """What the file calls an architecture must be one of this family; a model without dimensions has none."""
    other = record({"width": 4}, architecture=frozenset({"width"}))
    for family, has in ((LinearFamily(), "no dimensions"), (Grid(), "d_model, n_layers, n_heads, d_ff")):
        shapes = RecordShapes(family, DATA)
        with pytest.raises(UnnamedShapeError) as refused:
            shapes.named(other)
        if isinstance(family, Grid):
            assert str(refused.value) == f"it names no architecture: none of {has} is in it"
        else:
            assert str(refused.value) == f"its architecture has width, and this model's has {has}"
        assert shapes.count(other) is None
    assert RecordShapes(LinearFamily(), DATA).named(record({"learning_rate": 1e-3})).values == {}
    assert RecordShapes(LinearFamily(), DATA).count(record({"learning_rate": 1e-3})) == 61


@pytest.mark.parametrize(
    ("values", "count"),
    [
        ({**WHOLE, "d_ff": None, "d_ff_ratio": 2}, 4 * 16 * 32),
        ({"d_model": 20, "n_layers": 3, "n_heads": 2, "d_ff": 50}, 3 * 20 * 50),
        ({"d_model": 20, "n_layers": 3, "n_heads": 2, "d_ff": 50, "d_ff_ratio": 4}, None),
        ({"d_model": 20, "n_layers": 3, "n_heads": 2, "d_ff_ratio": 4}, None),
        ({"d_model": 20, "n_layers": 3, "n_heads": 0, "d_ff": 50}, None),
        ({"d_model": float("nan"), "n_layers": 3, "n_heads": 2, "d_ff": 50}, None),
        ({"d_model": 1e300, "n_layers": 3, "n_heads": 2, "d_ff": 50}, None),
        ({"d_model": 16.5, "n_layers": 3, "n_heads": 2, "d_ff": 50}, None),
    ],
)
def test_what_is_named_whole_is_counted_on_the_grid_or_off_it(values: Mapping[str, Any], count: int | None) -> None:
    """What contradicts itself, is not whole, or is no size has no count."""
    assert RecordShapes(Grid(), DATA).count(record(values)) == count


def test_a_derived_name_that_is_a_dimension_is_an_error() -> None:
    """It would give one dimension two meanings."""
    with pytest.raises(ValueError, match=r"^width: a dimension cannot be a derived name too$"):
        ArchitectureSpace(
            dimensions={"width": (4,)}, architectures=({"width": 4},), derived={"width": lambda one: one["width"]}
        )
