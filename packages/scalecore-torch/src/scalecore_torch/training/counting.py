"""Counts the sizes of an architecture on a module built for it, on the meta device if possible.

Recurrent layers are counted by formula: on the meta device torch unrolls their time steps, which takes a second; on the
CPU it runs them as one oneDNN operation, which it does not count.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from scalecore.api.model import ModelFamily
from scalecore.api.space import DataShape
from scalecore.api.worker import Hyperparameters
from scalecore_torch.hyperparameters import CORE_HYPERPARAMETERS

GATES: Mapping[Any, int] = {nn.LSTM: 4, nn.GRU: 3, nn.RNN: 1}
KEPT: Mapping[Any, int] = {nn.LSTM: 7, nn.GRU: 7, nn.RNN: 1}
"""Numbers that the layer keeps per unit and time step in addition to its output, counted for torch's own kernels."""


def count(
    family: ModelFamily, architecture: Mapping[str, int], data: DataShape, *, forward: bool = True
) -> dict[str, int]:
    """`num_parameters` and, with `forward`, `flops` and `saved_activations` of one window.

    Falls back to the CPU for a family that cannot be built or run on the meta device.
    """
    try:
        with torch.device("meta"):
            return _counted(family, architecture, data, forward=forward)
    except Exception:
        # The meta device has no values, for an `item()` or a numpy array.
        return _counted(family, architecture, data, forward=forward)


def default_values(family: ModelFamily) -> Hyperparameters:
    """All hyper-parameters at their defaults."""
    return Hyperparameters({one.name: one.default for one in (*CORE_HYPERPARAMETERS, *family.hyperparameters())})


def count_parameters(module: nn.Module) -> int:
    """Number of trainable parameters; shared ones count once."""
    return sum(parameter.numel() for parameter in module.parameters() if parameter.requires_grad)


def count_flops(forward: Callable[[], object]) -> int:
    """FLOPs of matrix products and convolutions in `forward`; a multiply-add counts as two."""
    from torch.nn.attention import SDPBackend, sdpa_kernel
    from torch.utils.flop_counter import FlopCounterMode

    with FlopCounterMode(display=False) as counter, sdpa_kernel(SDPBackend.MATH):
        forward()
    return int(counter.get_total_flops())


def count_activations(module: nn.Module, forward: Callable[[], object]) -> int:
    """Numbers that `forward` keeps for the backward pass, in units of four bytes, without parameters."""
    # By storage: `data_ptr` is zero for all tensors on the meta device. References keep storages alive, so that no
    # address is reused.
    own = {parameter.untyped_storage()._cdata for parameter in module.parameters()}
    kept: dict[int, torch.UntypedStorage] = {}

    def keep(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        if storage._cdata not in own:
            kept[storage._cdata] = storage
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        result = forward()
    del result
    return sum(storage.nbytes() // 4 for storage in kept.values())


@contextmanager
def plain_kernels() -> Iterator[None]:
    """Disable oneDNN: its recurrent layers hide products from torch's counter and keep a workspace."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # about TF32 on missing GPUs
        with torch.backends.mkldnn.flags(enabled=False):
            yield


def _counted(family: ModelFamily, architecture: Mapping[str, int], data: DataShape, *, forward: bool) -> dict[str, int]:
    module: nn.Module = family.build(architecture, default_values(family), data)
    found = {"num_parameters": count_parameters(module)}
    if not forward:
        return found
    module.train()
    try:
        return found | _of_forward(module, data, batch=1)
    except ValueError:  # batch normalisation of single numbers
        return found | {name: value // 2 for name, value in _of_forward(module, data, batch=2).items()}


def _of_forward(module: nn.Module, data: DataShape, *, batch: int) -> dict[str, int]:
    x_BTF = torch.zeros(batch, data.context, data.features)
    flops = activations = 0
    replaced: list[nn.RNNBase] = []

    def stand_in(layer: nn.RNNBase, kind: Any) -> Callable[..., Any]:
        def run(x: Any, state: Any = None) -> Any:
            nonlocal flops, activations
            if not isinstance(x, Tensor):  # the lengths of packed sequences are values
                return kind.forward(layer, x, state)
            cost = _recurrent(layer, kind, steps=x.shape[:-1].numel())
            flops, activations = flops + cost[0], activations + cost[1] + (0 if x.requires_grad else x.numel())
            return _recurrent_result(layer, kind, x)

        return run

    for layer in module.modules():
        kind = next((one for one in GATES if isinstance(layer, one) and type(layer).forward is one.forward), None)
        if kind is not None and isinstance(layer, nn.RNNBase):
            layer.forward = stand_in(layer, kind)
            replaced.append(layer)
    try:
        with plain_kernels():
            counted = count_flops(lambda: module(x_BTF))
            total, flops, activations = counted + flops, 0, 0
            kept = count_activations(module, lambda: module(x_BTF))
        return {"flops": total, "saved_activations": kept + activations}
    finally:
        for layer in replaced:
            del layer.forward


def _recurrent(layer: nn.RNNBase, kind: Any, *, steps: int) -> tuple[int, int]:
    """FLOPs and kept numbers of a recurrent layer over `steps` time steps, all windows together."""
    hidden, returned = layer.hidden_size, layer.proj_size or layer.hidden_size
    directions = 2 if layer.bidirectional else 1
    flops = kept = 0
    for depth in range(layer.num_layers):
        inputs = directions * returned if depth else layer.input_size
        products = GATES[kind] * hidden * (inputs + returned) + (hidden * returned if layer.proj_size else 0)
        flops += 2 * products * steps * directions
        kept += KEPT[kind] * hidden * steps * directions
        if depth < layer.num_layers - 1:  # the last layer's output is counted where it is used
            kept += returned * steps * directions * (2 if layer.dropout else 1)
    return flops, kept


def _recurrent_result(layer: nn.RNNBase, kind: Any, x: Tensor) -> Any:
    """Tensors with the shapes of the layer's outputs, which require gradients."""
    returned, directions = layer.proj_size or layer.hidden_size, 2 if layer.bidirectional else 1
    batch = () if x.dim() == 2 else (x.shape[0 if layer.batch_first else 1],)

    def like(*shape: int) -> Tensor:
        return torch.zeros(shape, dtype=x.dtype, device=x.device, requires_grad=True) * 1.0

    states = directions * layer.num_layers
    last = like(states, *batch, returned)
    output = like(*x.shape[:-1], directions * returned)
    return output, (last, like(states, *batch, layer.hidden_size)) if kind is nn.LSTM else last
