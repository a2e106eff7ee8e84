"""Model `linear`: logistic regression, counted without building it."""

from __future__ import annotations

import torch

from scalecore.api.space import DataShape
from scalecore.execution.hyperparameters import Hyperparameters
from scalecore_torch.linear import LinearFamily


def test_g10_it_returns_logits() -> None:
    """Untrained, its logit is 0 for every input; trained, it is the sum of inputs times weights."""
    data = DataShape(context=4, features=2, outputs=3)
    module = LinearFamily().build({}, Hyperparameters({}), data)
    x_BTF = torch.randn(5, 4, 2, generator=torch.Generator().manual_seed(1))
    assert torch.equal(module(x_BTF), torch.zeros(5, 3))
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.fill_(2.0)
    assert torch.allclose(module(x_BTF), (2 * x_BTF.sum((1, 2)) + 2)[:, None].expand(5, 3), atol=1e-5)


def test_it_declares_no_hyperparameters() -> None:
    """Learning rate and weight decay belong to the training loop."""
    assert LinearFamily().hyperparameters() == ()
