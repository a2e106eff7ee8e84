"""The closed forms of FLOPs and saved activations match torch's counts."""

from __future__ import annotations

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from scalecore.api.space import DataShape
from scalecore_patchtst.family import PatchTSTFamily
from scalecore_patchtst.options import PatchTSTOptions

SHAPES = [
    ({"d_model": 16, "n_layers": 2, "n_heads": 4, "d_ff": 32}, DataShape(context=60, features=25, outputs=1)),
    ({"d_model": 64, "n_layers": 6, "n_heads": 2, "d_ff": 256}, DataShape(context=60, features=25, outputs=1)),
    ({"d_model": 64, "n_layers": 3, "n_heads": 32, "d_ff": 128}, DataShape(context=252, features=4, outputs=3)),
    ({"d_model": 24, "n_layers": 1, "n_heads": 3, "d_ff": 96}, DataShape(context=17, features=1, outputs=2)),
]
BATCH = 4


def build(shape: dict[str, int], data: DataShape, *, dropout: float, revin: bool = False) -> torch.nn.Module:
    torch.manual_seed(0)
    family = PatchTSTFamily(PatchTSTOptions(revin=revin))
    return family.build(shape, {"dropout": dropout, "head_dropout": 0.0}, data)


@pytest.mark.parametrize(("shape", "data"), SHAPES)
def test_flops_equal_the_count_of_torch(family: PatchTSTFamily, shape: dict[str, int], data: DataShape) -> None:
    """The closed form is exact; in bfloat16 on the CPU attention is explicit, so that torch counts its products."""
    module = build(shape, data, dropout=0.1)
    x = torch.randn(BATCH, data.context, data.features)
    with FlopCounterMode(display=False) as counter, torch.autocast("cpu", torch.bfloat16):
        module(x)
    assert counter.get_total_flops() == BATCH * family.flops(shape, data)


@pytest.mark.parametrize("revin", [False, True])
@pytest.mark.parametrize(("shape", "data"), SHAPES)
def test_saved_activations_match_autograd(shape: dict[str, int], data: DataShape, *, revin: bool) -> None:
    """They match within 5 %, with dropout: each storage counts once, parameters do not. Versions of torch differ
    slightly."""
    module = build(shape, data, dropout=0.2, revin=revin)
    own = {parameter.untyped_storage().data_ptr() for parameter in module.parameters()}
    kept: dict[int, torch.Tensor] = {}

    def pack(tensor: torch.Tensor) -> torch.Tensor:
        pointer = tensor.untyped_storage().data_ptr()
        if pointer not in own:
            kept[pointer] = tensor
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        logits = module(torch.randn(BATCH, data.context, data.features))
    assert logits.requires_grad
    numbers = sum(tensor.untyped_storage().nbytes() // tensor.element_size() for tensor in kept.values())
    predicted = BATCH * PatchTSTFamily(PatchTSTOptions(revin=revin)).saved_activations(shape, data)
    assert predicted == pytest.approx(numbers, rel=0.05)
