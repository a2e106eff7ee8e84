"""Computes logits over many windows: one implementation for validation, test and new data.

The precision is float32 or TF32, as the trial's policy sets, whatever the precision of training.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from scalecore.api.space import DataShape
from scalecore_torch.training.policies import Evaluation
from scalecore_torch.training.windows import WindowSource

BATCH = 512
"""Windows in a forward pass."""
PROBE_WINDOWS = 3
FETCHED_FROM = 32 * 1024**2
"""Bytes of logits that collect on a device before the host fetches them: each fetch waits for the queue."""


@contextmanager
def float32_products(evaluation: Evaluation, device: torch.device) -> Iterator[None]:
    """Enable or disable TF32 for float32 products and convolutions on a CUDA device.

    Has no effect on other devices. It calls the functions that set both of torch's interfaces, since compiled code
    refuses to run if they contradict each other.
    """
    if device.type != "cuda":
        yield
        return
    cuda, cudnn = torch.backends.cuda.matmul, torch.backends.cudnn
    before = (cuda.fp32_precision == "tf32", cudnn.conv.fp32_precision == "tf32")  # type: ignore[attr-defined]
    _set_tf32(evaluation == "tf32", evaluation == "tf32")
    try:
        yield
    finally:
        _set_tf32(*before)


def _set_tf32(products: bool, convolutions: bool) -> None:
    torch.set_float32_matmul_precision("high" if products else "highest")
    torch.backends.cudnn.allow_tf32 = convolutions


@torch.inference_mode()
def all_logits(
    module: nn.Module,
    source: WindowSource,
    *,
    evaluation: Evaluation = "fp32",
    batch: int = BATCH,
    limit: int | None = None,
    on_batch: Callable[[int], bool] | None = None,
) -> Tensor | None:
    """Logits [windows, outputs] on the CPU of a model on the device of `source`; forecasts are in the target's unit.

    Computes all windows, or the first `limit`. Calls `on_batch` before each batch with its number and returns None if
    it returns False.
    """
    module.eval()
    count = len(source) if limit is None else min(limit, len(source))
    fetched: list[Tensor] = []
    waiting: list[Tensor] = []
    with float32_products(evaluation, source.device):
        for number, indices_B in enumerate(torch.split(torch.arange(count, device=source.device), batch)):
            if on_batch is not None and not on_batch(number):
                return None
            x_BTF, _ = source.batch(indices_B)
            waiting.append(module(x_BTF).float())
            if len(waiting) * waiting[0].nbytes >= FETCHED_FROM:
                fetched.append(torch.cat(waiting).cpu())
                waiting = []
    if waiting:
        fetched.append(torch.cat(waiting).cpu())
    return source.in_unit(torch.cat(fetched))


@torch.inference_mode()
def probe_logits(module: nn.Module, shape: DataShape) -> list[list[float]]:
    """Logits [windows, outputs] of a few artificial windows, the same for every model of this shape.

    They are the module's direct outputs, on the scale of training, in float32 on every device. Stored with a model,
    they later show whether code and weights still compute the same.
    """
    device = next(module.parameters()).device
    steps = torch.arange(PROBE_WINDOWS * shape.context * shape.features, dtype=torch.float64)
    x_BTF = torch.sin(0.7 * steps).reshape(PROBE_WINDOWS, shape.context, shape.features).float()
    with float32_products("fp32", device):
        logits: list[list[float]] = module.eval()(x_BTF.to(device)).float().cpu().tolist()
    return logits
