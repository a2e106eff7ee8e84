"""Model `linear`: logistic regression, counted without building it."""

from __future__ import annotations

import pytest
import torch

from scalecore.api.protocols import ModelFamily
from scalecore.api.space import DataShape
from scalecore.builtin.linear import LinearFamily
from scalecore.training.hyperparameters import Hyperparameters


@pytest.mark.parametrize("shape", [(60, 25, 1), (1, 1, 1), (7, 3, 4)])
def test_g04_the_count_equals_the_built_model(shape: tuple[int, int, int]) -> None:
    """For any context, number of features and number of outputs."""
    data = DataShape(context=shape[0], features=shape[1], outputs=shape[2])
    family = LinearFamily()
    assert isinstance(family, ModelFamily)
    (architecture,) = family.architecture_space(data).architectures
    module = family.build(architecture, Hyperparameters({}), data)
    assert sum(p.numel() for p in module.parameters()) == family.num_parameters(architecture, data)
    assert family.flops(architecture, data) == 2 * shape[0] * shape[1] * shape[2]


def test_g10_it_returns_logits() -> None:
    """Untrained it says nothing: logit 0 whatever the input; trained it is the sum of inputs times weights."""
    data = DataShape(context=4, features=2, outputs=3)
    module = LinearFamily().build({}, Hyperparameters({}), data)
    x_BTF = torch.randn(5, 4, 2, generator=torch.Generator().manual_seed(1))
    assert torch.equal(module(x_BTF), torch.zeros(5, 3))
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.fill_(2.0)
    assert torch.allclose(module(x_BTF), (2 * x_BTF.sum((1, 2)) + 2)[:, None].expand(5, 3), atol=1e-5)


def test_it_has_no_hyperparameters_of_its_own() -> None:
    """Learning rate and weight decay are those of the training core."""
    assert LinearFamily().hyperparameters() == ()
