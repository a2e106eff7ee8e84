"""The grid and its exact counts."""

from __future__ import annotations

import pytest
import torch

from scalecore.api.errors import ExperimentError
from scalecore.api.model import ModelFamily
from scalecore.api.space import Architecture, DataShape
from scalecore_patchtst.family import PatchTSTFamily
from scalecore_patchtst.options import PatchTSTOptions

NO_DROPOUT = {"dropout": 0.0, "head_dropout": 0.0}
DEEP_SUBSET = {64, 96, 128, 192, 256}


def counted(module: torch.nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters() if parameter.requires_grad)


def test_raw_grid_has_1700_distinct_architectures(family: PatchTSTFamily, data: DataShape) -> None:
    """The default grid has 1,700 shapes, all legal, without duplicates, with the declared dimensions."""
    assert isinstance(family, ModelFamily)
    space = family.architecture_space(data)
    assert len(space.architectures) == 1700
    assert len({tuple(shape.items()) for shape in space.architectures}) == 1700
    assert list(space.dimensions) == ["d_model", "n_layers", "n_heads", "d_ff"]
    for name, values in space.dimensions.items():
        assert set(values) == {shape[name] for shape in space.architectures}
    assert all(shape["d_model"] % shape["n_heads"] == 0 for shape in space.architectures)


def test_derived_names_are_the_ratio_of_the_feed_forward_width_and_the_width_of_a_head(
    family: PatchTSTFamily, data: DataShape
) -> None:
    """They are exact for every shape: the ratio equals the option's."""
    space = family.architecture_space(data)
    assert list(space.derived) == ["d_ff_ratio", "head_dim"]
    for shape in space.architectures:
        assert space.derived["d_ff_ratio"](shape) in (2, 4)
        assert space.derived["head_dim"](shape) * shape["n_heads"] == shape["d_model"]


def test_g04_closed_form_equals_the_built_model_for_the_whole_grid(family: PatchTSTFamily, data: DataShape) -> None:
    """For all 1,700 shapes the count equals the module's; the module is built once for the five numbers of heads."""
    built: dict[tuple[int, int, int], int] = {}
    with torch.device("meta"):
        for shape in family.architecture_space(data).architectures:
            key = (shape["d_model"], shape["n_layers"], shape["d_ff"])
            if key not in built:
                built[key] = counted(family.build(shape, NO_DROPOUT, data))
            assert family.num_parameters(shape, data) == built[key], shape
    assert len(built) == 340


@pytest.mark.parametrize("n_heads", [2, 4, 8, 16, 32])
def test_heads_do_not_change_the_built_count(family: PatchTSTFamily, data: DataShape, n_heads: int) -> None:
    """Heads divide the width and add no parameters."""
    shape = {"d_model": 64, "n_layers": 3, "n_heads": n_heads, "d_ff": 128}
    with torch.device("meta"):
        assert counted(family.build(shape, NO_DROPOUT, data)) == family.num_parameters(shape, data)
    assert family.num_parameters(shape, data) == family.num_parameters({**shape, "n_heads": 1}, data)


@pytest.mark.parametrize(
    ("d_model", "n_layers", "d_ff", "count"),
    [
        (64, 48, 256, 2_417_473),
        (64, 32, 256, 1_617_729),
        (64, 64, 128, 2_160_449),
        (128, 180, 256, 23_882_881),
        (256, 32, 512, 16_940_289),
        (384, 12, 1536, 21_403_009),
        (384, 96, 1536, 170_457_985),
        (384, 180, 768, 213_206_401),
        (512, 48, 2048, 151_460_353),
        (1024, 128, 4096, 1_612_608_513),
        (768, 256, 3072, 1_814_714_113),
        (1024, 180, 2048, 1_512_268_801),
    ],
)
def test_g04_recorded_counts(
    family: PatchTSTFamily, data: DataShape, d_model: int, n_layers: int, d_ff: int, count: int
) -> None:
    """The counts match those of earlier studies exactly."""
    shape = {"d_model": d_model, "n_layers": n_layers, "n_heads": 2, "d_ff": d_ff}
    assert family.num_parameters(shape, data) == count


@pytest.mark.parametrize("revin", [False, True])
@pytest.mark.parametrize(("context", "features", "outputs", "patch_len", "stride"), [(24, 3, 2, 8, 3), (7, 1, 1, 7, 7)])
def test_g04_count_for_other_data(
    *, context: int, features: int, outputs: int, patch_len: int, stride: int, revin: bool
) -> None:
    """Context, features, outputs, patches and RevIN change the count and the module equally."""
    family = PatchTSTFamily(PatchTSTOptions(patch_len=patch_len, stride=stride, revin=revin))
    data = DataShape(context=context, features=features, outputs=outputs)
    shape = {"d_model": 16, "n_layers": 2, "n_heads": 4, "d_ff": 48}
    assert counted(family.build(shape, NO_DROPOUT, data)) == family.num_parameters(shape, data)


def test_revin_adds_two_parameters_per_feature(family: PatchTSTFamily, data: DataShape) -> None:
    """RevIN learns a scale and a shift of each feature."""
    shape = {"d_model": 64, "n_layers": 2, "n_heads": 2, "d_ff": 128}
    with_revin = PatchTSTFamily(PatchTSTOptions(revin=True))
    assert with_revin.num_parameters(shape, data) - family.num_parameters(shape, data) == 2 * data.features


@pytest.mark.parametrize(
    ("budget", "all_depths", "up_to_48", "with_deep"),
    [(2e6, 80, 75, 80), (20e6, 75, 50, 65), (200e6, 125, 75, 115), (2e9, 75, 15, 60)],
)
def test_budgets_have_the_recorded_numbers_of_architectures(
    family: PatchTSTFamily, data: DataShape, budget: float, all_depths: int, up_to_48: int, with_deep: int
) -> None:
    """Within 25 % of a budget, inclusive, there are as many shapes as in earlier studies, for each set of depths."""
    depths = [
        shape["n_layers"]
        for shape in family.architecture_space(data).architectures
        if 0.75 * budget <= family.num_parameters(shape, data) <= 1.25 * budget
    ]
    assert len(depths) == all_depths
    assert sum(depth <= 48 for depth in depths) == up_to_48
    assert sum(depth <= 48 or depth in DEEP_SUBSET for depth in depths) == with_deep


def test_g33_a_smaller_grid_is_a_subset_of_the_larger_one(family: PatchTSTFamily, data: DataShape) -> None:
    """Removing a value removes exactly the shapes with it; the others keep their values, ids and order."""
    smaller = PatchTSTFamily(PatchTSTOptions(n_heads=(2, 4, 16, 32)))

    def ids(of: PatchTSTFamily) -> list[tuple[str, int]]:
        shapes = (
            Architecture(values=s, num_parameters=of.num_parameters(s, data), flops=of.flops(s, data))
            for s in of.architecture_space(data).architectures
        )
        return [(shape.id, shape.num_parameters) for shape in shapes]

    assert ids(smaller) == [(name, count) for name, count in ids(family) if ",n_heads=8," not in name]


def test_heads_that_do_not_divide_the_width_are_excluded(data: DataShape) -> None:
    """A shape is legal only if its heads divide its width; the order in the file does not matter."""
    options = PatchTSTOptions(d_model=(24, 16), n_layers=(2,), n_heads=(8, 3), d_ff_ratio=(2,))
    assert PatchTSTFamily(options).architecture_space(data).architectures == (
        {"d_model": 16, "n_layers": 2, "n_heads": 8, "d_ff": 32},
        {"d_model": 24, "n_layers": 2, "n_heads": 3, "d_ff": 48},
        {"d_model": 24, "n_layers": 2, "n_heads": 8, "d_ff": 48},
    )


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            PatchTSTOptions(patch_len=10, stride=12),
            "model.stride: 12 is more than patch_len=10, so no patch would contain some steps; set a stride of 10 or "
            "less",
        ),
        (
            PatchTSTOptions(patch_len=0, n_layers=(), d_model=(64, 64, -1)),
            "model.patch_len: must be at least 1, got 0\n"
            "model.d_model: must be at least 1, got -1\n"
            "model.d_model: 64 is listed twice\n"
            "model.n_layers: must not be empty",
        ),
        (
            PatchTSTOptions(d_model=(64, 128), n_heads=(3, 5)),
            "model.n_heads: none of 3, 5 divides any d_model of 64, 128; "
            "add a number of heads that divides one of them",
        ),
    ],
)
def test_contradictory_options_are_refused(options: PatchTSTOptions, message: str) -> None:
    """Contradictory options are refused when the family is created, with all problems at once."""
    with pytest.raises(ExperimentError) as caught:
        PatchTSTFamily(options)
    assert str(caught.value) == message


def test_a_context_shorter_than_a_patch_is_refused(family: PatchTSTFamily) -> None:
    """All methods refuse data with windows shorter than a patch."""
    data = DataShape(context=8, features=2, outputs=1)
    shape = {"d_model": 64, "n_layers": 2, "n_heads": 2, "d_ff": 128}
    for call in (
        lambda: family.architecture_space(data),
        lambda: family.num_parameters(shape, data),
        lambda: family.build(shape, NO_DROPOUT, data),
    ):
        with pytest.raises(ExperimentError) as caught:
            call()
        assert str(caught.value) == (
            "model.patch_len: a patch of 10 steps does not fit into the context of 8 steps; "
            "lower model.patch_len to 8 or less, or raise dataset.context"
        )


def test_a_shape_whose_heads_do_not_divide_its_width_is_not_built(family: PatchTSTFamily, data: DataShape) -> None:
    """A shape outside the grid is checked too."""
    with pytest.raises(ExperimentError) as caught:
        family.build({"d_model": 64, "n_layers": 2, "n_heads": 3, "d_ff": 128}, NO_DROPOUT, data)
    assert str(caught.value) == "architecture: n_heads=3 does not divide d_model=64; choose a number of heads that does"
