"""Logits of a trained model over many windows: one policy for test data and for new data.

In float32 whatever the model was trained with, and in batches of one size, so that a prediction is the number that was
measured.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import torch
from torch import Tensor, nn

from scalecore.data.windows import WindowSource

__all__ = ["BATCH", "all_logits", "probe_logits"]

BATCH = 512
"""Windows of a forward pass."""
PROBE_WINDOWS = 3


@torch.inference_mode()
def all_logits(
    module: nn.Module, source: WindowSource, *, batch: int = BATCH, told: Callable[[int], bool] | None = None
) -> Tensor | None:
    """[windows, outputs] on the CPU, of a model on the device of `source`; forecasts are in the target's unit.

    `told` is called before each batch with its number; None is returned when it says False.
    """
    module.eval()
    logits = []
    for number, indices_B in enumerate(torch.split(torch.arange(len(source), device=source.device), batch)):
        if told is not None and not told(number):
            return None
        x_BTF, _ = source.batch(indices_B)
        logits.append(module(x_BTF).float().cpu())
    return source.in_unit(torch.cat(logits))


@torch.inference_mode()
def probe_logits(module: nn.Module, shape: Mapping[str, int]) -> list[list[float]]:
    """[windows, outputs] of a few made-up windows, the same ones for every model of this shape.

    As the module returns them, on the scale of training. Kept with a model, they tell later whether code and weights
    still mean what they meant.
    """
    device = next(module.parameters()).device
    steps = torch.arange(PROBE_WINDOWS * shape["context"] * shape["features"], dtype=torch.float64)
    x_BTF = torch.sin(0.7 * steps).reshape(PROBE_WINDOWS, shape["context"], shape["features"]).float()
    logits: list[list[float]] = module.eval()(x_BTF.to(device)).float().cpu().tolist()
    return logits
