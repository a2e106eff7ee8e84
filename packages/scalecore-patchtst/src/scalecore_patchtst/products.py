"""Matrix products in float32 on a CPU, with the library chosen for the study.

torch computes float32 products with MKL, which uses 256-bit instructions on processors other than Intel's. oneDNN, also
part of torch, uses AVX-512 on all processors that have it: 220 instead of 110 GFLOP/s per core on a Zen 5 for the
shapes of PatchTST, in full float32. If both use the same width, they are equally fast, and MKL has less overhead (see
`scalecore_torch.training.product_library`). In bfloat16 torch uses oneDNN by default.

Shape suffixes: M tokens, I inputs, O outputs; X, Y, K axes of any product.
"""

from __future__ import annotations

from math import prod
from typing import Any

import torch
from torch import nn
from torch.utils.flop_counter import register_flop_formula

__all__ = ["Linear", "affine_rows", "served"]

SMALLEST = 4096
"""Smallest number of weights for which oneDNN is worth its eleven microseconds per call."""

HAS_ONEDNN = (
    torch.backends.cpu.get_cpu_capability() == "AVX512"
    and torch.backends.mkldnn.is_available()
    and hasattr(torch.ops.mkldnn, "_linear_pointwise")
)
"""Whether this torch has the operator, and this processor the instructions that make it faster."""

# A custom operator: the compiler supports oneDNN's for inference only, and needs the shape of the result.
_LIBRARY = torch.library.Library("scalecore_patchtst", "DEF")
_LIBRARY.define("product(Tensor a_XK, Tensor b_YK, Tensor? bias_Y) -> Tensor")


def _product(a_XK: torch.Tensor, b_YK: torch.Tensor, bias_Y: torch.Tensor | None) -> torch.Tensor:
    if not HAS_ONEDNN:
        product_XY = a_XK @ b_YK.t()
        return product_XY if bias_Y is None else product_XY.add_(bias_Y)
    result: torch.Tensor = torch.ops.mkldnn._linear_pointwise.default(a_XK, b_YK, bias_Y, "none", [], "")
    return result


_LIBRARY.impl("product", _product, "CPU")


@torch.library.register_fake("scalecore_patchtst::product", lib=_LIBRARY)  # type: ignore[untyped-decorator]
def _product_shape(a_XK: torch.Tensor, b_YK: torch.Tensor, bias_Y: torch.Tensor | None) -> torch.Tensor:
    return a_XK.new_empty(*a_XK.shape[:-1], b_YK.shape[0])


@register_flop_formula(torch.ops.scalecore_patchtst.product)
def _product_flops(a_XK: Any, b_YK: Any, *_: Any, **__: Any) -> int:
    """FLOPs of the operator for torch's counter, which passes shapes."""
    return 2 * int(prod(a_XK)) * int(b_YK[0])


def product(a_XK: torch.Tensor, b_YK: torch.Tensor, bias_Y: torch.Tensor | None = None) -> torch.Tensor:
    """a·bᵀ + bias, [X, Y], in float32 on a CPU; a and b may be transposed views. It has no gradient.

    X may stand for several axes.
    """
    result: torch.Tensor = torch.ops.scalecore_patchtst.product.default(a_XK, b_YK, bias_Y)
    return result


def served(x: torch.Tensor, linear: Linear) -> bool:
    """Whether oneDNN computes the layer's product with `x`: large enough, float32, on a CPU, not under autocast."""
    return (
        linear.by_onednn
        and x.device.type == "cpu"
        and x.dtype == linear.weight.dtype == torch.float32
        and linear.weight.numel() >= SMALLEST
        and not torch.is_autocast_enabled("cpu")
    )


def weight_gradient(dy_MO: torch.Tensor, x_MI: torch.Tensor) -> torch.Tensor:
    """dyᵀ·x, [O, I], by the product order that copies less; the sums over M are the same in both.

    Tokens are the outer axis of both factors; oneDNN needs them innermost in the first factor, so it copies that one.
    """
    (tokens, outputs), inputs = dy_MO.shape, x_MI.shape[1]
    if tokens * inputs + outputs * inputs < tokens * outputs:
        return product(x_MI.t(), dy_MO.t()).t().contiguous()
    return product(dy_MO.t(), x_MI.t())


class _Affine(torch.autograd.Function):
    """x·Wᵀ + b of tokens in rows: [..., I] -> [..., O]. Leading axes stay, since each view would take as long again."""

    @staticmethod
    def forward(ctx: Any, x_I: torch.Tensor, weight_OI: torch.Tensor, bias_O: torch.Tensor) -> torch.Tensor:
        ctx.save_for_backward(x_I, weight_OI)
        return product(x_I, weight_OI, bias_O)

    @staticmethod
    def backward(ctx: Any, *gradients: Any) -> Any:
        (dy_O,) = gradients
        x_I, weight_OI = ctx.saved_tensors
        dx_I = product(dy_O, weight_OI.t()) if ctx.needs_input_grad[0] else None
        dy_MO = dy_O.reshape(-1, dy_O.shape[-1])
        return dx_I, weight_gradient(dy_MO, x_I.reshape(-1, x_I.shape[-1])), dy_MO.sum(0)


class _AffineRows(torch.autograd.Function):
    """W·x of tokens in columns."""

    @staticmethod
    def forward(ctx: Any, x_IM: torch.Tensor, weight_OI: torch.Tensor) -> torch.Tensor:
        ctx.save_for_backward(x_IM, weight_OI)
        return product(weight_OI, x_IM.t())

    @staticmethod
    def backward(ctx: Any, *gradients: Any) -> Any:
        (dy_OM,) = gradients
        x_IM, weight_OI = ctx.saved_tensors
        return product(weight_OI.t(), dy_OM.t()), product(dy_OM, x_IM)


def affine_rows(x_IM: torch.Tensor, linear: Linear) -> torch.Tensor:
    """The layer `linear` on tokens in columns: [I, M] -> [O, M]"""
    if served(x_IM, linear):
        y_OM: torch.Tensor = _AffineRows.apply(x_IM, linear.weight)  # type: ignore[no-untyped-call]
    else:
        y_OM = linear.weight @ x_IM
    return y_OM + linear.bias[:, None]


class Linear(nn.Linear):
    """A linear layer that draws its weights in `draw`, not on creation, so that none of 2B weights is drawn twice."""

    by_onednn = HAS_ONEDNN
    """Whether oneDNN computes the float32 products on a CPU; by default if it is faster."""

    def reset_parameters(self) -> None:
        pass

    @torch.no_grad()
    def draw(self, gain: float = 1.0) -> None:
        """Draw uniform weights with variance gain² / inputs and zero biases: at any width, outputs vary like inputs
        times `gain`.

        A uniform distribution is much faster to draw than a normal one, and its shape does not matter here.
        """
        bound = gain * (3 / self.in_features) ** 0.5
        self.weight.uniform_(-bound, bound)
        self.bias.zero_()

    def forward(self, input: torch.Tensor) -> torch.Tensor:  # noqa: A002 - torch's own name for it
        """[..., I] -> [..., O]"""
        if not served(input, self):
            return super().forward(input)
        y: torch.Tensor = _Affine.apply(input, self.weight, self.bias)  # type: ignore[no-untyped-call]
        return y
