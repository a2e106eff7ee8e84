"""PatchTST with mixed channels: patches over all features, a pre-norm encoder, one linear head.

It follows Nie et al., "A Time Series is Worth 64 Words" (ICLR 2023), but flattens the features of a patch together,
while the paper runs the encoder once per feature. Shape suffixes: B windows, T time steps, F features, N patches, K =
patch_len·F, D d_model, M = N·D, C outputs.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Literal

import torch
from attrs import frozen
from torch import nn

from scalecore.api.module import Compiler, Savings
from scalecore_patchtst.fast_dropout import draw_seeds, dropout, mask_rate
from scalecore_patchtst.layers import EncoderLayer, RevIN
from scalecore_patchtst.products import HAS_ONEDNN, Linear

__all__ = ["PatchTST"]

INNERMOST_UP_TO = 24
"""Largest number of patches for compiled code with the windows innermost on a CPU: its attention is quadratic in
patches."""


@frozen(kw_only=True)
class _Compiled:
    """Compiled encoder layers for training passes of exactly `batch` windows."""

    batch: int
    innermost: bool
    layers: Sequence[Callable[..., torch.Tensor]]


class PatchTST(nn.Module):
    """From x[batch, context, features] to logits[batch, outputs].

    Patches are aligned with the end of the window: if `stride` leaves a remainder, the oldest steps are dropped, never
    the latest. Only the first `n_patches` of the learned positions are used: the gradient of the `spare_positions`
    after them is zero. All other parameters are used.
    """

    def __init__(
        self,
        *,
        context: int,
        features: int,
        outputs: int,
        patch_len: int,
        stride: int,
        revin: bool,
        d_model: int,
        n_layers: int,
        n_heads: int,
        d_ff: int,
        spare_positions: int,
        dropout: float,
        head_dropout: float,
    ) -> None:
        super().__init__()
        self.context, self.features = context, features
        self.patch_len, self.stride = patch_len, stride
        self.dropout, self.head_dropout = dropout, head_dropout
        self.n_patches = (context - patch_len) // stride + 1
        self.revin = RevIN(features) if revin else None
        self.embedding = Linear(patch_len * features, d_model)
        self.embedding.draw()
        # Small compared with the embedded patches of variance about 1: content dominates at first, position is learned.
        self.positions = nn.Parameter(torch.empty(self.n_patches + spare_positions, d_model).uniform_(-0.02, 0.02))
        self.layers = nn.ModuleList(
            EncoderLayer(d_model=d_model, n_heads=n_heads, d_ff=d_ff, n_layers=n_layers, dropout=dropout)
            for _ in range(n_layers)
        )
        self.norm = nn.LayerNorm(d_model)
        self.head = Linear(self.n_patches * d_model, outputs)
        # Logits start near 0 at any width, so the first loss is that of a constant; zeros would stop the gradient.
        self.head.draw(gain=0.1)
        self._compiled: _Compiled | None = None

    def compile_blocks(self, compiler: Compiler, *, batch: int) -> None:
        """Use layers compiled by `compiler` for training passes of `batch` windows, and eager ones for all others."""
        innermost = self.head.weight.device.type == "cpu" and self.n_patches <= INNERMOST_UP_TO
        chosen = EncoderLayer.innermost if innermost else EncoderLayer.forward
        layers = [compiler(chosen.__get__(layer)) for layer in self.layers]
        self._compiled = _Compiled(batch=batch, innermost=innermost, layers=layers)

    def compile_savings(self) -> Savings:
        """The savings of compiled layers for one window.

        In each layer, both norms, both residual sums, the copy after attention and the GELU write n·(5d + u) numbers,
        and dropout n·(2d + u). On a CPU with more than `INNERMOST_UP_TO` patches, `forward` is compiled, which saves
        nothing measurable.
        """
        on_cpu = self.head.weight.device.type == "cpu"
        if on_cpu and self.n_patches > INNERMOST_UP_TO:
            return Savings(numbers=0)
        layer = self.layers[0]
        assert isinstance(layer, EncoderLayer)
        d, u = layer.up.in_features, layer.up.out_features
        tokens = len(self.layers) * self.n_patches
        return Savings(
            numbers=tokens * (5 * d + u),
            masks=tokens * (2 * d + u) if self.dropout > 0 else 0,
            heads=len(self.layers) * layer.n_heads if on_cpu else 0,
        )

    def repeated_blocks(self) -> list[nn.Module]:
        """The encoder layers."""
        return list(self.layers)

    def use_products(self, library: str) -> Literal["torch", "onednn"]:
        """Compute float32 products on a CPU with `library`; oneDNN without AVX-512 falls back to torch's."""
        by_onednn = library == "onednn" and HAS_ONEDNN
        for module in self.modules():
            if isinstance(module, Linear):
                module.by_onednn = by_onednn
        return "onednn" if by_onednn else "torch"

    def forward(self, x_BTF: torch.Tensor) -> torch.Tensor:
        """Logits [B, C]. Raises `ValueError` unless the input is [B, T, F] with the model's context and features."""
        if x_BTF.ndim != 3 or x_BTF.shape[1:] != (self.context, self.features):
            raise ValueError(
                f"expected an input of shape [batch, {self.context}, {self.features}] (batch, context, features), "
                f"got {list(x_BTF.shape)}"
            )
        if self.revin is not None:
            x_BTF = self.revin(x_BTF)
        x_BND = self.embedding(self._patches(x_BTF)) + self.positions[: self.n_patches]
        x_BND = self._encode(dropout(x_BND, self.dropout, training=self.training))
        flat_BM = dropout(self.norm(x_BND).flatten(1), self.head_dropout, training=self.training)
        logits_BC: torch.Tensor = self.head(flat_BM)
        return logits_BC

    def _encode(self, x_BND: torch.Tensor) -> torch.Tensor:
        """[B, N, D] -> [B, N, D] through all layers, compiled ones if they fit."""
        compiled = self._compiled
        if compiled is None or not self.training or len(x_BND) != compiled.batch:
            for layer in self.layers:
                x_BND = layer(x_BND)
            return x_BND
        seeded = self.dropout > 0 and x_BND.device.type == "cpu"
        seeds = draw_seeds(len(compiled.layers), 3).unbind(0) if seeded else (None,) * len(compiled.layers)
        rate = mask_rate(self.dropout) if seeded else None
        # One memory layout and dtype for all layers, so that they share compiled code.
        x = x_BND.permute(2, 1, 0).float().contiguous() if compiled.innermost else x_BND.contiguous()
        for run, seeds_32 in zip(compiled.layers, seeds, strict=True):
            x = run(x, seeds_32, rate)
        return x.permute(2, 1, 0) if compiled.innermost else x

    def _patches(self, x_BTF: torch.Tensor) -> torch.Tensor:
        """[B, T, F] -> [B, N, K], each patch in order of time: a view, since rows of the window are adjacent in
        memory."""
        unused = (self.context - self.patch_len) % self.stride
        return x_BTF[:, unused:].flatten(1).unfold(1, self.patch_len * self.features, self.stride * self.features)
