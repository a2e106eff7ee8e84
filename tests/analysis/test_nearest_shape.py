"""The shape of another budget nearest to a given one."""

from __future__ import annotations

import pytest

from scalecore.api.space import Architecture
from scalecore_analysis.nearest_shape import nearest_shape

ROLES = {"width": "d_model", "depth": "n_layers", "heads": "n_heads", "feed_forward": "d_ff"}


def shape(d_model: int, n_layers: int, n_heads: int, d_ff: int) -> Architecture:
    """A transformer shape with the usual estimate of its number of weights."""
    values = {"d_model": d_model, "n_layers": n_layers, "n_heads": n_heads, "d_ff": d_ff}
    return Architecture(values=values, num_parameters=n_layers * (4 * d_model**2 + 2 * d_model * d_ff), flops=1)


def test_ratios_decide_and_not_the_numbers() -> None:
    """Twice the width and depth, the same head size and ratio, is nearer than a shape with the same heads."""
    small = shape(64, 8, 4, 256)
    alike, others = shape(128, 16, 8, 512), [shape(128, 16, 4, 512), shape(128, 4, 8, 512), shape(128, 16, 8, 128)]
    assert nearest_shape(small, [*others, alike], roles=ROLES) == alike


def test_a_shape_is_nearest_to_itself() -> None:
    """A transfer back to the original budget finds the original shape."""
    shapes = [shape(64, 8, 4, 256), shape(64, 4, 4, 256), shape(32, 16, 4, 64)]
    for one in shapes:
        assert nearest_shape(one, shapes, roles=ROLES) == one


def test_ties_go_to_the_median_size() -> None:
    """Same ratios at three sizes: the one nearest to the median of all sizes."""
    shapes = [shape(32, 4, 2, 64), shape(64, 8, 4, 128), shape(128, 16, 8, 256)]
    assert nearest_shape(shape(256, 32, 16, 512), shapes, roles=ROLES) == shapes[1]


@pytest.mark.parametrize("roles", [{}, {"width": "rank"}])
def test_without_roles_the_numbers_decide(roles: dict[str, str]) -> None:
    """A family with other dimensions: nearest in their logarithms."""
    shapes = [Architecture(values={"rank": rank}, num_parameters=rank * 10, flops=1) for rank in (2, 16, 128)]
    wanted = Architecture(values={"rank": 20}, num_parameters=999, flops=1)
    assert nearest_shape(wanted, shapes, roles=roles) == shapes[1]
