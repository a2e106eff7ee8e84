"""AdamW with decoupled weight decay of matrices only, and learning-rate schedules as pure functions of the step.

Either may be replaced by code of the user's (`scalecore_torch.training.user_parts`).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import torch
from torch import nn

NORMS = (nn.LayerNorm, nn.GroupNorm, nn.RMSNorm, nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d)


def build_optimizer(
    module: nn.Module,
    *,
    learning_rate: float,
    weight_decay: float,
    make: Callable[..., torch.optim.Optimizer] | None = None,
) -> torch.optim.Optimizer:
    """The optimizer that `make` returns of parameter groups, without it AdamW.

    Biases, norms and other vectors are not decayed: shrinking them changes the function's scale, not its complexity.

    A bias is what is named so, a norm what belongs to one of torch's norm modules, whatever their shapes. Fused, since
    the foreach variant needs the size of the parameters once more.
    """
    norms = {id(one) for part in module.modules() if isinstance(part, NORMS) for one in part.parameters(recurse=False)}
    decayed: list[nn.Parameter] = []
    spared: list[nn.Parameter] = []
    for name, parameter in module.named_parameters():
        if parameter.requires_grad:
            free = parameter.ndim < 2 or id(parameter) in norms or name.endswith("bias")
            (spared if free else decayed).append(parameter)
    groups: list[dict[str, Any]] = [
        {"params": decayed, "weight_decay": weight_decay},
        {"params": spared, "weight_decay": 0.0},
    ]
    groups = [group for group in groups if group["params"]]
    if make is not None:
        return make(groups, lr=learning_rate, weight_decay=weight_decay)
    return torch.optim.AdamW(groups, lr=learning_rate, fused=True)


def learning_rate_at(
    step: int,
    *,
    peak: float,
    schedule: str | Callable[[int, int, int], float],
    warmup_steps: int,
    total_steps: int,
) -> float:
    """The learning rate of optimizer step `step`, which counts from 0.

    Linear warm-up reaches `peak` at step `warmup_steps`; then `cosine` and `linear` fall to 0 at `total_steps`. A
    function gives the share of the peak itself.
    """
    if callable(schedule):
        return peak * schedule(step, warmup_steps, total_steps)
    if step < warmup_steps:
        return peak * (step + 1) / (warmup_steps + 1)
    if schedule == "constant":
        return peak
    done = min(1.0, (step - warmup_steps) / max(1, total_steps - warmup_steps))
    if schedule == "linear":
        return peak * (1 - done)
    return peak * 0.5 * (1 + math.cos(math.pi * done))
