"""AdamW with decoupled weight decay of matrices only, and learning-rate schedules as pure functions of the step.

User code may replace both (`scalecore_torch.training.user_parts`).
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
    """Build the optimizer from parameter groups with `make`, by default AdamW.

    Biases, norms and other vectors have no weight decay: shrinking them changes the function's scale, not its
    complexity.

    Biases are identified by name, norms by torch's norm modules, whatever their shapes. AdamW is fused, since the
    foreach variant needs additional memory of the parameters' size.
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
    """The learning rate of optimizer step `step`, counted from 0.

    Linear warm-up reaches `peak` at step `warmup_steps`; then `cosine` and `linear` decay to 0 at `total_steps`. A
    function returns the share of the peak for all steps.
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
