"""Logits of a model over many windows: in one way for validation, for test data and for new data.

In float32 or in TF32, as the policy of the trial says, whatever the model was trained with.
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
"""Windows of a forward pass."""
PROBE_WINDOWS = 3
FETCHED_FROM = 32 * 1024**2
"""Bytes of logits that wait on a device until they are fetched: each time the host waits for all that is queued."""


@contextmanager
def float32_products(evaluation: Evaluation, device: torch.device) -> Iterator[None]:
    """Let products and convolutions of float32 on a CUDA device take its matrix units for TF32, or none of them.

    Nothing changes elsewhere. By the functions that set both of torch's interfaces: compiled code refuses to run where
    they contradict each other.
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
    told: Callable[[int], bool] | None = None,
) -> Tensor | None:
    """[windows, outputs] on the CPU, of a model on the device of `source`; forecasts are in the target's unit.

    Of all windows, or of the first `limit`. `told` is called before each batch with its number; None is returned when
    it says False.
    """
    module.eval()
    count = len(source) if limit is None else min(limit, len(source))
    fetched: list[Tensor] = []
    waiting: list[Tensor] = []
    with float32_products(evaluation, source.device):
        for number, indices_B in enumerate(torch.split(torch.arange(count, device=source.device), batch)):
            if told is not None and not told(number):
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
    """[windows, outputs] of a few made-up windows, the same ones for every model of this shape.

    As the module returns them, on the scale of training, in float32 on every device. Kept with a model, they tell later
    whether code and weights still mean what they meant.
    """
    device = next(module.parameters()).device
    steps = torch.arange(PROBE_WINDOWS * shape.context * shape.features, dtype=torch.float64)
    x_BTF = torch.sin(0.7 * steps).reshape(PROBE_WINDOWS, shape.context, shape.features).float()
    with float32_products("fp32", device):
        logits: list[list[float]] = module.eval()(x_BTF.to(device)).float().cpu().tolist()
    return logits
