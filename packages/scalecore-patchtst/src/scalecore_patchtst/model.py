"""PatchTST with mixed channels: patches over all features, a pre-norm encoder, one linear head.

After Nie et al., "A Time Series is Worth 64 Words" (ICLR 2023), but with the features of a patch flattened together,
where that paper runs the encoder once per feature. Shape suffixes: B windows, T time steps, F features, N patches,
K = patch_len·F, D d_model, M = N·D, C outputs.
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
"""Patches up to which compiled code on a CPU has the windows innermost: its attention takes time with their square."""


@frozen(kw_only=True)
class _Compiled:
    """Compiled encoder layers, which serve training passes of exactly `batch` windows."""

    batch: int
    innermost: bool
    layers: Sequence[Callable[..., torch.Tensor]]


class PatchTST(nn.Module):
    """From x[batch, context, features] to logits[batch, outputs].

    Patches are aligned with the end of the window: where `stride` leaves a rest, the oldest steps are left out, never
    the latest. Only the first `n_patches` of the learned positions are used: the gradient of the `spare_positions`
    after them is zero, every other parameter takes part.
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
        # Small beside the embedded patches, whose variance is about 1: content counts first, position is learned.
        self.positions = nn.Parameter(torch.empty(self.n_patches + spare_positions, d_model).uniform_(-0.02, 0.02))
        self.layers = nn.ModuleList(
            EncoderLayer(d_model=d_model, n_heads=n_heads, d_ff=d_ff, n_layers=n_layers, dropout=dropout)
            for _ in range(n_layers)
        )
        self.norm = nn.LayerNorm(d_model)
        self.head = Linear(self.n_patches * d_model, outputs)
        # Logits start near 0 at any width, so the first loss is that of knowing nothing; zeros would stop the gradient.
        self.head.draw(gain=0.1)
        self._compiled: _Compiled | None = None

    def compile_blocks(self, compiler: Compiler, *, batch: int) -> None:
        """Use layers made by `compiler` for training passes of `batch` windows, and the plain ones for all others."""
        innermost = self.head.weight.device.type == "cpu" and self.n_patches <= INNERMOST_UP_TO
        chosen = EncoderLayer.innermost if innermost else EncoderLayer.forward
        layers = [compiler(chosen.__get__(layer)) for layer in self.layers]
        self._compiled = _Compiled(batch=batch, innermost=innermost, layers=layers)

    def compile_savings(self) -> Savings:
        """What compiled layers save for one window.

        Of a layer n·(5d + u) numbers are written by both norms, both residual sums, the copy after attention and the
        GELU, n·(2d + u) by dropout. On a CPU the layers save nothing measurable above `INNERMOST_UP_TO` patches, where
        they are compiled as they are written.
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
        """Compute float32 products on a CPU by `library` from now on; by torch's where oneDNN is too narrow."""
        by_onednn = library == "onednn" and HAS_ONEDNN
        for module in self.modules():
            if isinstance(module, Linear):
                module.by_onednn = by_onednn
        return "onednn" if by_onednn else "torch"

    def forward(self, x_BTF: torch.Tensor) -> torch.Tensor:
        """Logits [B, C]; raises `ValueError` where the input is not [B, T, F] of the context and features built for."""
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
        """[B, N, D] -> [B, N, D] through all layers, compiled ones where they fit."""
        compiled = self._compiled
        if compiled is None or not self.training or len(x_BND) != compiled.batch:
            for layer in self.layers:
                x_BND = layer(x_BND)
            return x_BND
        seeded = self.dropout > 0 and x_BND.device.type == "cpu"
        seeds = draw_seeds(len(compiled.layers), 3).unbind(0) if seeded else (None,) * len(compiled.layers)
        rate = mask_rate(self.dropout) if seeded else None
        # Of one memory layout and one type for all layers, so that one compiled code serves them all.
        x = x_BND.permute(2, 1, 0).float().contiguous() if compiled.innermost else x_BND.contiguous()
        for run, seeds_32 in zip(compiled.layers, seeds, strict=True):
            x = run(x, seeds_32, rate)
        return x.permute(2, 1, 0) if compiled.innermost else x

    def _patches(self, x_BTF: torch.Tensor) -> torch.Tensor:
        """[B, T, F] -> [B, N, K], each patch in order of time: a view, as whole rows of the window lie side by side."""
        unused = (self.context - self.patch_len) % self.stride
        return x_BTF[:, unused:].flatten(1).unfold(1, self.patch_len * self.features, self.stride * self.features)
