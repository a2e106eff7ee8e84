"""Checks of a model's outputs that require running it."""

from __future__ import annotations

import torch
from torch import Tensor, nn

FACTORS = (1e4, 1e6, 1e-9)
"""Factors of the weights: 10^4; then 10^10 in total, for a head initialised with zeros; then 10, if these overflow to
NaN."""


LEVEL_SHARE = 1e-3
"""Outputs ignore the level if a large shift of it moves them by less than this share of their spread over windows."""


@torch.inference_mode()
def removes_level(module: nn.Module, x_BTF: Tensor) -> bool:
    """Whether outputs stay the same if each feature is shifted by ten times its usual size (guard G57).

    The shifts differ, to distinguish normalisation over features from normalisation over time.
    """
    module.eval()
    shift_F = torch.linspace(8.0, 12.0, x_BTF.shape[2], device=x_BTF.device)
    outputs_BC, moved_BC = (module(one).float().cpu() for one in (x_BTF, x_BTF + shift_F))
    spread = float(outputs_BC.std(0).max())
    return spread > 0 and float((moved_BC - outputs_BC).abs().max()) <= LEVEL_SHARE * spread


@torch.no_grad()
def returns_probabilities(module: nn.Module, x_BTF: Tensor) -> bool:
    """Whether outputs stay between 0 and 1 even for large weights, unlike logits (guard G10).

    Destroys the weights: call it last. The outputs of an untrained model do not show it, since they are small and may
    all be positive.
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
