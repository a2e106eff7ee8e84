"""Casts the weights of all linear layers to bfloat16 at once, where autocast casts each separately.

On a GPU, autocast launches one kernel for each weight and bias in the forward pass, and one for its gradient in the
backward pass: 16 for a transformer layer. This module launches a few for the whole model. Copies and gradients are
bitwise equal to autocast's. All gradients in bfloat16 are kept until the end of a backward pass.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from typing import Any

import torch
from torch import Tensor, nn

from scalecore_torch.training.micro_batches import random_state, restore_random_state


@contextmanager
def cast_at_once(module: nn.Module) -> Iterator[None]:
    """Make the linear layers of `module` use bfloat16 copies of their weights; gradients flow to the weights.

    Restores the parameters afterwards. A parameter shared by several modules is left to autocast.
    """
    places = _places(module)
    copies: tuple[Tensor, ...] = _Cast.apply(*(one for _, _, one in places)) if places else ()  # type: ignore[no-untyped-call]
    try:
        for (part, name, _), copy in zip(places, copies, strict=True):
            part._parameters[name] = copy  # type: ignore[assignment]
        yield
    finally:
        for part, name, parameter in places:
            part._parameters[name] = parameter


def same_pass(module: nn.Module, x_BTF: Tensor) -> bool:
    """Whether casting all weights at once leaves outputs and gradients of a training pass bitwise equal.

    It does not for a model that uses a linear layer's weights directly. Restores random state and buffers.
    """
    random, buffers = random_state(x_BTF.device), [one.clone() for one in module.buffers()]
    weights = [one for one in module.parameters() if one.requires_grad]
    passes = []
    for casting in (nullcontext(), cast_at_once(module)):
        with casting, torch.autocast(x_BTF.device.type, torch.bfloat16):
            outputs = module(x_BTF)
        gradients = torch.autograd.grad(outputs.float().square().sum(), weights, allow_unused=True)
        passes.append([outputs.detach(), *gradients])
        restore_random_state(random, x_BTF.device)
        for buffer, before in zip(module.buffers(), buffers, strict=True):
            buffer.copy_(before)
    return all(a is b if a is None or b is None else torch.equal(a, b) for a, b in zip(*passes, strict=True))


class _Cast(torch.autograd.Function):
    """Casts lists of tensors from float32 to bfloat16, and their gradients back, with foreach kernels."""

    @staticmethod
    def forward(ctx: Any, *weights: Tensor) -> tuple[Tensor, ...]:
        ctx.set_materialize_grads(False)  # an unused layer has no gradient, and its weights no decay
        return tuple(_copied(list(weights), torch.bfloat16))

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor | None) -> tuple[Tensor | None, ...]:
        copies = iter(_copied([one for one in gradients if one is not None], torch.float32))
        return tuple(None if one is None else next(copies) for one in gradients)


def _copied(tensors: list[Tensor], dtype: torch.dtype) -> list[Tensor]:
    copies = [torch.empty_like(one, dtype=dtype) for one in tensors]
    if tensors:
        torch._foreach_copy_(copies, tensors)
    return copies


def _places(module: nn.Module) -> list[tuple[nn.Module, str, nn.Parameter]]:
    """Module, name and parameter of each tensor that autocast would cast in linear layers."""
    owners: dict[int, int] = {}
    for part in module.modules():
        for one in part._parameters.values():
            owners[id(one)] = owners.get(id(one), 0) + 1
    return [
        (part, name, one)
        for part in module.modules()
        if isinstance(part, nn.Linear)
        for name, one in part._parameters.items()
        if one is not None and one.requires_grad and one.dtype == torch.float32 and owners[id(one)] == 1
    ]
