"""Matrix products in float32 on a CPU by the library that computes them fastest.

torch gives float32 products to MKL, which uses 256-bit instructions on processors that are not its maker's. oneDNN,
which is part of torch too, uses AVX-512 wherever it is: 220 instead of 110 GFLOP/s a core on a Zen 5 at the shapes of
PatchTST, in full float32; on a processor where both use the same width they are alike. In bfloat16 torch takes oneDNN
by itself.

Shape suffixes: M tokens, I inputs, O outputs; X, Y, K of any product.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import nn
from torch.utils.flop_counter import register_flop_formula

__all__ = ["Linear", "affine_rows", "served"]

SMALLEST = 4096
"""Weights below which a product is too small to pay for oneDNN's eleven microseconds a call."""

HAS_ONEDNN = (
    torch.backends.cpu.get_cpu_capability() == "AVX512"
    and torch.backends.mkldnn.is_available()  # type: ignore[no-untyped-call]
    and hasattr(torch.ops.mkldnn, "_linear_pointwise")
)
"""Whether this torch has the operator, and this processor the instructions that make it worth while."""

# An operator of our own: the compiler takes oneDNN's for inference only, and must be told the shape of the result.
_LIBRARY = torch.library.Library("scalecore_patchtst", "DEF")  # type: ignore[no-untyped-call]
_LIBRARY.define("product(Tensor a_XK, Tensor b_YK, Tensor? bias_Y) -> Tensor")  # type: ignore[no-untyped-call]


def _product(a_XK: torch.Tensor, b_YK: torch.Tensor, bias_Y: torch.Tensor | None) -> torch.Tensor:
    if not HAS_ONEDNN:
        product_XY = a_XK @ b_YK.t()
        return product_XY if bias_Y is None else product_XY.add_(bias_Y)
    result: torch.Tensor = torch.ops.mkldnn._linear_pointwise.default(a_XK, b_YK, bias_Y, "none", [], "")
    return result


_LIBRARY.impl("product", _product, "CPU")  # type: ignore[no-untyped-call]


@torch.library.register_fake("scalecore_patchtst::product", lib=_LIBRARY)  # type: ignore[untyped-decorator]
def _product_shape(a_XK: torch.Tensor, b_YK: torch.Tensor, bias_Y: torch.Tensor | None) -> torch.Tensor:
    return a_XK.new_empty(a_XK.shape[0], b_YK.shape[0])


@register_flop_formula(torch.ops.scalecore_patchtst.product)
def _product_flops(a_XK: Any, b_YK: Any, *_: Any, **__: Any) -> int:
    """So that torch's counter sees the operator; it hands over shapes."""
    return int(2 * a_XK[0] * a_XK[1] * b_YK[0])


def product(a_XK: torch.Tensor, b_YK: torch.Tensor, bias_Y: torch.Tensor | None = None) -> torch.Tensor:
    """a·bᵀ + bias, [X, Y], in float32 on a CPU; either may be a transposed view. Has no gradient of its own."""
    result: torch.Tensor = torch.ops.scalecore_patchtst.product.default(a_XK, b_YK, bias_Y)
    return result


def served(x: torch.Tensor, weight_OI: torch.Tensor) -> bool:
    """Whether the product of these two is made here: large enough, float32, on a CPU, not under autocast."""
    return (
        x.device.type == "cpu"
        and x.dtype == weight_OI.dtype == torch.float32
        and weight_OI.numel() >= SMALLEST
        and not torch.is_autocast_enabled("cpu")
        and HAS_ONEDNN
    )


class _Affine(torch.autograd.Function):
    """x·Wᵀ + b of tokens in rows."""

    @staticmethod
    def forward(ctx: Any, x_MI: torch.Tensor, weight_OI: torch.Tensor, bias_O: torch.Tensor) -> torch.Tensor:
        ctx.save_for_backward(x_MI, weight_OI)
        return product(x_MI, weight_OI, bias_O)

    @staticmethod
    def backward(ctx: Any, *gradients: Any) -> Any:
        (dy_MO,) = gradients
        x_MI, weight_OI = ctx.saved_tensors
        dx_MI = product(dy_MO, weight_OI.t()) if ctx.needs_input_grad[0] else None
        return dx_MI, product(dy_MO.t(), x_MI.t()), dy_MO.sum(0)


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


def affine_rows(x_IM: torch.Tensor, linear: nn.Linear) -> torch.Tensor:
    """The layer `linear` on tokens that stand in columns: [I, M] -> [O, M]"""
    if served(x_IM, linear.weight):
        y_OM: torch.Tensor = _AffineRows.apply(x_IM, linear.weight)  # type: ignore[no-untyped-call]
    else:
        y_OM = linear.weight @ x_IM
    return y_OM + linear.bias[:, None]


class Linear(nn.Linear):
    """A linear layer that does not draw its weights when made but when told how, so that none of 2B is drawn twice."""

    def reset_parameters(self) -> None:
        pass

    @torch.no_grad()
    def draw(self, gain: float = 1.0) -> None:
        """Weights uniform with variance gain² / inputs, biases 0: outputs vary like inputs times `gain`, at any width.

        Uniform since it is drawn much faster than normal, and the shape of the distribution does not matter here.
        """
        bound = gain * (3 / self.in_features) ** 0.5
        self.weight.uniform_(-bound, bound)
        self.bias.zero_()

    def forward(self, input: torch.Tensor) -> torch.Tensor:  # noqa: A002 - torch's own name for it
        """[..., I] -> [..., O]"""
        if not served(input, self.weight):
            return super().forward(input)
        y_MO: torch.Tensor = _Affine.apply(input.reshape(-1, self.in_features), self.weight, self.bias)  # type: ignore[no-untyped-call]
        return y_MO.view(*input.shape[:-1], self.out_features)
