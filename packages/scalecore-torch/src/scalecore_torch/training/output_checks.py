"""What a model must keep to that only running it shows."""

from __future__ import annotations

import torch
from torch import Tensor, nn

FACTORS = (1e4, 1e6, 1e-9)
"""Weights times 10^4; then times 10^10, for a head that began at zero; then times 10, where these overflow to NaN."""


LEVEL_SHARE = 1e-3
"""Outputs that move by less than this share of their spread over windows, when the level moves by far, ignore it."""


@torch.inference_mode()
def removes_level(module: nn.Module, x_BTF: Tensor) -> bool:
    """Whether outputs stay the same when each feature is shifted by ten times its usual size (guard G57).

    Each by another amount, so that a normalisation over features does not pass for one over time.
    """
    module.eval()
    shift_F = torch.linspace(8.0, 12.0, x_BTF.shape[2], device=x_BTF.device)
    outputs_BC, moved_BC = (module(one).float().cpu() for one in (x_BTF, x_BTF + shift_F))
    spread = float(outputs_BC.std(0).max())
    return spread > 0 and float((moved_BC - outputs_BC).abs().max()) <= LEVEL_SHARE * spread


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
