"""AdamW with decoupled weight decay on matrices only, and learning-rate schedules as pure functions of the step."""

from __future__ import annotations

import math

import torch
from torch import nn

__all__ = ["build_optimizer", "learning_rate_at"]


def build_optimizer(module: nn.Module, *, learning_rate: float, weight_decay: float) -> torch.optim.AdamW:
    """Biases, norm scales and other vectors are not decayed: shrinking them changes the function's scale, not its
    complexity.

    Fused, since the foreach variant needs the size of the parameters once more.
    """
    trained = [parameter for parameter in module.parameters() if parameter.requires_grad]
    groups = [
        {"params": [p for p in trained if p.ndim >= 2], "weight_decay": weight_decay},
        {"params": [p for p in trained if p.ndim < 2], "weight_decay": 0.0},
    ]
    return torch.optim.AdamW([group for group in groups if group["params"]], lr=learning_rate, fused=True)


def learning_rate_at(step: int, *, peak: float, schedule: str, warmup_steps: int, total_steps: int) -> float:
    """The learning rate of optimizer step `step`, which counts from 0.

    Linear warm-up reaches `peak` at step `warmup_steps`; then `cosine` and `linear` fall to 0 at `total_steps`.
    """
    if step < warmup_steps:
        return peak * (step + 1) / (warmup_steps + 1)
    if schedule == "constant":
        return peak
    done = min(1.0, (step - warmup_steps) / max(1, total_steps - warmup_steps))
    if schedule == "linear":
        return peak * (1 - done)
    return peak * 0.5 * (1 + math.cos(math.pi * done))
