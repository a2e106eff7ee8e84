"""What a model must keep to that only running it shows."""

from __future__ import annotations

import torch
from torch import Tensor, nn

__all__ = ["returns_probabilities"]

FACTORS = (1e4, 1e6, 1e-9)
"""Weights times 10^4; then times 10^10, for a head that began at zero; then times 10, where these overflow to NaN."""


@torch.no_grad()
def returns_probabilities(module: nn.Module, x_BTF: Tensor) -> bool:
    """Whether outputs stay between 0 and 1 however large the weights are, as logits would not (guard G10).

    Spoils the weights: call it last. One look at the outputs does not tell, since those of an untrained model are
    small and may all be positive.
    """
    module.eval()
    bounded = False
    for factor in FACTORS:
        for parameter in module.parameters():
            parameter.mul_(factor)
        outputs_BC = module(x_BTF).float()
        known = outputs_BC[~outputs_BC.isnan()]
        if bool(((known < 0) | (known > 1)).any()):
            return False
        bounded = bounded or known.numel() > 0
    return bounded
