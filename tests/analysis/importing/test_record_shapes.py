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
    """Widths, depths, heads and feed-forward widths, with two derived names."""

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
def test_an_architecture_is_identified_by_dimensions_or_derived_names(values: Mapping[str, Any]) -> None:
    """Numbers and text, dimensions and derived names identify the same architecture."""
    named = RecordShapes(Grid(), DATA).named(record(values))
    assert (dict(named.values), named.completed) == (WHOLE, ())


@pytest.mark.parametrize(
    ("values", "reason"),
    [
        (
            {"d_model": 16, "n_layers": 4, "n_heads": 2},
            "missing d_ff: 2 architectures have d_model=16,n_layers=4,n_heads=2; d_ff_ratio would also suffice",
        ),
        (
            {"d_model": 16, "n_layers": 4, "d_ff": 64},
            "missing n_heads: 2 architectures have d_model=16,n_layers=4,d_ff=64; head_dim would also suffice",
        ),
        (
            {"n_layers": 4, "n_heads": 2, "d_ff": 64},
            "missing d_model: 2 architectures have n_layers=4,n_heads=2,d_ff=64; d_ff_ratio or head_dim would also "
            "suffice",
        ),
        (
            {"d_model": 16, "n_heads": 2, "d_ff_ratio": 4},
            "missing n_layers: 3 architectures have d_model=16,n_heads=2,d_ff_ratio=4",
        ),
        (
            {"d_ff_ratio": 4, "n_layers": 4, "n_heads": 2},
            "missing d_model, d_ff: 2 architectures have n_layers=4,n_heads=2,d_ff_ratio=4; head_dim would also "
            "suffice",
        ),
        (
            {**WHOLE, "d_ff_ratio": 2},
            "contradictory values: d_ff_ratio is 2, but 4 with d_model=16,d_ff=64",
        ),
        (
            {"d_model": 16, "d_ff": 64, "d_ff_ratio": 2},
            "contradictory values: d_ff_ratio is 2, but 4 with d_model=16,d_ff=64",
        ),
        ({**WHOLE, "head_dim": 4}, "contradictory values: head_dim is 4, but 8 with d_model=16,n_heads=2"),
        (
            {"d_model": 16, "n_layers": 4, "n_heads": 2, "d_ff_ratio": 2.5},
            "the model's grid does not contain d_model=16,n_layers=4,n_heads=2,d_ff_ratio=2.5",
        ),
        ({**WHOLE, "d_model": 17}, "the model's grid does not contain d_model=17,n_layers=4,n_heads=2,d_ff=64"),
        (
            {"d_model": 17, "d_ff_ratio": 4},
            "the model's grid does not contain d_model=17,d_ff_ratio=4",
        ),
        ({**WHOLE, "n_heads": True}, "n_heads is True, which is not a size"),
        ({**WHOLE, "d_model": float("nan")}, "d_model is nan, which is not a size"),
        ({**WHOLE, "d_ff_ratio": 10**12}, "d_ff_ratio is 1000000000000, which is not a size"),
        ({**WHOLE, "d_model": "wide"}, "d_model is 'wide', which is not a size"),
        ({"learning_rate": 1e-3}, "no architecture: none of d_model, n_layers, n_heads, d_ff is given"),
    ],
)
def test_g17_missing_or_contradictory_values_are_refused_by_name(values: Mapping[str, Any], reason: str) -> None:
    """Exactly one architecture of the family must have the record's values."""
    shapes = RecordShapes(Grid(), DATA)
    with pytest.raises(UnnamedShapeError) as refused:
        shapes.named(record(values))
    assert str(refused.value) == reason


def test_a_rule_may_read_its_dimensions_in_any_way() -> None:
    """With `get` or a subscript, and different ones for different architectures: all reads are recorded."""

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
            "the model's grid does not contain n_layers=4,d_ff=64,head_dim=99",
        ),
        (
            {"d_model": 16, "n_layers": 4, "n_heads": 2},
            "missing d_ff: 2 architectures have d_model=16,n_layers=4,n_heads=2; deep would also suffice",
        ),
    ):
        with pytest.raises(UnnamedShapeError) as refused:
            shapes.named(record(values))
        assert str(refused.value) == reason


def test_g17_an_attribute_with_another_size_is_a_contradiction() -> None:
    """Scalar attributes are read too, and parameters do not override them silently."""
    shapes = RecordShapes(Grid(), DATA)
    assert dict(shapes.named(record({**WHOLE, "d_ff": None}, attributes={"d_ff": 64.0})).values) == WHOLE
    with pytest.raises(UnnamedShapeError, match=r"^contradictory values: d_ff is 64 and 32$"):
        shapes.named(record(WHOLE, attributes={"d_ff": 32}))


def test_a_dimension_completed_by_the_grid_is_reported() -> None:
    """A grid with one ratio leaves one architecture; if the ratio is given, nothing is completed."""
    shapes = RecordShapes(Grid(ratios=(4,)), DATA)
    without = {"d_model": 16, "n_layers": 4, "n_heads": 2}
    assert shapes.named(record(without)).completed == ("d_ff",)
    assert shapes.named(record({**without, "d_ff_ratio": 4})).completed == ()
    assert shapes.named(record({**without, "head_dim": 8})).completed == ("d_ff",)


def test_records_of_another_model_identify_no_architecture() -> None:
    """The file's architecture must belong to this family; a model without dimensions has none."""
    other = record({"width": 4}, architecture=frozenset({"width"}))
    for family, has in ((LinearFamily(), "no dimensions"), (Grid(), "d_model, n_layers, n_heads, d_ff")):
        shapes = RecordShapes(family, DATA)
        with pytest.raises(UnnamedShapeError) as refused:
            shapes.named(other)
        if isinstance(family, Grid):
            assert str(refused.value) == f"no architecture: none of {has} is given"
        else:
            assert str(refused.value) == f"the record's architecture has width, but the model's has {has}"
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
def test_complete_architectures_are_counted_on_and_off_the_grid(values: Mapping[str, Any], count: int | None) -> None:
    """Contradictory, incomplete and invalid sizes have no count."""
    assert RecordShapes(Grid(), DATA).count(record(values)) == count


def test_a_derived_name_that_is_a_dimension_is_an_error() -> None:
    """One name would have two meanings."""
    with pytest.raises(ValueError, match=r"^width: a dimension cannot also be a derived name$"):
        ArchitectureSpace(
            dimensions={"width": (4,)}, architectures=({"width": 4},), derived={"width": lambda one: one["width"]}
        )
