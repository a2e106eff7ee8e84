"""bfloat16 copies of the weights of linear layers, made for all layers at once, where autocast makes each by itself.

On a GPU autocast launches a kernel for each weight and bias in the forward pass, and one for its gradient in the
backward pass: 16 of a layer of a transformer. Here they are a few for the whole model. Copies and gradients are those
of autocast to the last bit; the gradients in bfloat16 are all kept until the end of a backward pass.
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
    """Let the linear layers of `module` use copies of their weights in bfloat16, whose gradients reach the weights.

    The parameters are in their places again afterwards. One that several modules share is left to autocast.
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
    """Whether a training pass is the same to the last bit with weights cast at once: outputs and all gradients.

    Not so of a model that computes with the weights of a linear layer by itself. Random state and buffers are as before
    afterwards.
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
    """float32 to bfloat16, and gradients back, of a list of tensors by the kernels that take lists."""

    @staticmethod
    def forward(ctx: Any, *weights: Tensor) -> tuple[Tensor, ...]:
        ctx.set_materialize_grads(False)  # a layer that was not used has no gradient, and its weights no decay
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
    """Module, name and parameter of what autocast would cast in linear layers."""
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
