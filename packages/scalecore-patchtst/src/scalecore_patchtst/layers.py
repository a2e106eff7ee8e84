"""Layers of the PatchTST module.

Shape suffixes: B windows, T time steps, F features, N patches, D d_model, U d_ff, H heads, E = D / H head width, S =
N·B tokens.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F  # noqa: N812 - torch's own name for it
from torch import nn

from scalecore_patchtst.fast_dropout import Rate, dropout, hashed_mask
from scalecore_patchtst.products import Linear, affine_rows

__all__ = ["EncoderLayer", "RevIN", "attend", "explicit_attention"]

EXPLICIT_UP_TO = 128
"""Largest number of patches with explicit attention in bfloat16 on a CPU.

There torch's fused kernel took 1.7 to 10 times as long for 2 to 96 patches; with 32 heads it was faster at 384 patches
(torch 2.13, Zen 4, forward and backward). With more patches, explicit attention weights would also need much memory.
"""


class RevIN(nn.Module):
    """Removes level and scale of each feature within its window, then applies a learned scale and shift.

    It is only the normalising half of reversible instance normalisation (Kim et al., ICLR 2022): logits have no level
    to restore. `eps` is added to the variance: a feature with a deviation far below 0.003 within a window stays small.
    """

    def __init__(self, features: int, *, eps: float = 1e-5) -> None:
        super().__init__()
        self.eps = eps
        self.gamma = nn.Parameter(torch.ones(features))
        self.beta = nn.Parameter(torch.zeros(features))

    def forward(self, x_BTF: torch.Tensor) -> torch.Tensor:
        """[B, T, F] -> [B, T, F]"""
        variance_B1F, mean_B1F = torch.var_mean(x_BTF, dim=1, correction=0, keepdim=True)
        return (x_BTF - mean_B1F) * torch.rsqrt(variance_B1F + self.eps) * self.gamma + self.beta


def explicit_attention(q_BHNE: torch.Tensor, k_BHNE: torch.Tensor, v_BHNE: torch.Tensor) -> torch.Tensor:
    """Explicit softmax(q·kᵀ / √E)·v: [B, H, N, E] -> [B, H, N, E]"""
    scores_BHNN = (q_BHNE * q_BHNE.shape[-1] ** -0.5) @ k_BHNE.transpose(-2, -1)
    mixed_BHNE: torch.Tensor = scores_BHNN.softmax(dim=-1) @ v_BHNE
    return mixed_BHNE


def attend(q_BHNE: torch.Tensor, k_BHNE: torch.Tensor, v_BHNE: torch.Tensor) -> torch.Tensor:
    """Attention by the faster of two implementations: [B, H, N, E] -> [B, H, N, E]"""
    few = q_BHNE.shape[-2] <= EXPLICIT_UP_TO
    if few and q_BHNE.device.type == "cpu" and q_BHNE.dtype == torch.bfloat16:
        return explicit_attention(q_BHNE, k_BHNE, v_BHNE)
    return F.scaled_dot_product_attention(q_BHNE, k_BHNE, v_BHNE)


class EncoderLayer(nn.Module):
    """Pre-norm encoder layer: x + attention(norm(x)), then x + feed_forward(norm(x)).

    Parameters: 4D² + 4D in attention, 4D in the norms, 2·D·U + U + D in the feed-forward part. Dropout applies to both
    results and after the GELU, not to attention weights: this is PatchTST's default, and allows the fused kernel. The
    initial weights of the two results that each layer adds to the residual stream are divided by √(2·n_layers), as in
    GPT-2, so that the stream's initial variance does not grow with depth. The bias of the keys shifts all scores of a
    query equally, which softmax ignores: its gradient is zero up to rounding.
    """

    def __init__(self, *, d_model: int, n_heads: int, d_ff: int, n_layers: int, dropout: float) -> None:
        super().__init__()
        self.n_heads = n_heads
        self.dropout = dropout
        self.attention_norm = nn.LayerNorm(d_model)
        self.qkv = Linear(d_model, 3 * d_model)  # one matrix product instead of three
        self.attention_out = Linear(d_model, d_model)
        self.feed_forward_norm = nn.LayerNorm(d_model)
        self.up = Linear(d_model, d_ff)
        self.down = Linear(d_ff, d_model)
        residual_gain = (2 * n_layers) ** -0.5
        for linear, gain in (
            (self.qkv, 1.0),
            (self.attention_out, residual_gain),
            (self.up, 1.0),
            (self.down, residual_gain),
        ):
            linear.draw(gain)

    def forward(
        self, x_BND: torch.Tensor, seeds_32: torch.Tensor | None = None, rate: Rate | None = None
    ) -> torch.Tensor:
        """[B, N, D] -> [B, N, D]. Compiled code on a CPU receives the seeds of its three dropouts and their rate."""
        first, second, third = (None, None, None) if seeds_32 is None else seeds_32.unbind(0)
        x_BND = x_BND + self._drop(self._attention(self.attention_norm(x_BND)), first, rate)
        hidden_BNU = self._drop(F.gelu(self.up(self.feed_forward_norm(x_BND))), second, rate)
        return x_BND + self._drop(self.down(hidden_BNU), third, rate)

    def innermost(self, x_DNB: torch.Tensor, seeds_32: torch.Tensor | None, rate: Rate | None) -> torch.Tensor:
        """[D, N, B] -> [D, N, B]: `forward` with the windows innermost, for compiled code on a CPU.

        All operations except matrix products then run over adjacent windows in whole vectors: sums over the few patches
        and over the head width need no shuffling, and attention no tiny matrix products. The residual stream is
        float32, also under autocast.
        """
        first, second, third = (None, None, None) if seeds_32 is None else seeds_32.unbind(0)
        N, B = x_DNB.shape[1:]
        x_DS = x_DNB.reshape(-1, N * B)
        qkv_DS = affine_rows(_norm_columns(x_DS, self.attention_norm), self.qkv)
        q_HENB, k_HENB, v_HENB = (part_DS.view(self.n_heads, -1, N, B).float() for part_DS in qkv_DS.chunk(3, dim=0))
        mixed_DS = attention_innermost(q_HENB, k_HENB, v_HENB).view(-1, N * B)
        x_DS = x_DS + self._drop(affine_rows(mixed_DS, self.attention_out), first, rate)
        hidden_US = self._drop(F.gelu(affine_rows(_norm_columns(x_DS, self.feed_forward_norm), self.up)), second, rate)
        return (x_DS + self._drop(affine_rows(hidden_US, self.down), third, rate)).view(-1, N, B)

    def _attention(self, x_BND: torch.Tensor) -> torch.Tensor:
        B, N, D = x_BND.shape
        # Split before the transpose, so that the backward pass writes the gradient once, in the product's order.
        parts_BNHE = self.qkv(x_BND).view(B, N, 3, self.n_heads, D // self.n_heads).unbind(2)
        mixed_BHNE = attend(*(part_BNHE.transpose(1, 2) for part_BNHE in parts_BNHE))
        out_BND: torch.Tensor = self.attention_out(mixed_BHNE.transpose(1, 2).reshape(B, N, D))
        return out_BND

    def _drop(self, x: torch.Tensor, seeds_2: torch.Tensor | None, rate: Rate | None) -> torch.Tensor:
        if seeds_2 is None or rate is None:
            return dropout(x, self.dropout, training=self.training)
        return x * hashed_mask(tuple(x.shape), rate, seeds_2)


def attention_innermost(q_HENB: torch.Tensor, k_HENB: torch.Tensor, v_HENB: torch.Tensor) -> torch.Tensor:
    """softmax(q·kᵀ / √E)·v as products and sums, which the compiler turns into loops: [H, E, N, B] -> [H, E, N, B]."""
    scores_HNMB = (q_HENB[:, :, :, None] * q_HENB.shape[1] ** -0.5 * k_HENB[:, :, None]).sum(1)
    mixed_HENB: torch.Tensor = (scores_HNMB.softmax(2)[:, None] * v_HENB[:, :, None]).sum(3)
    return mixed_HENB


def _norm_columns(x_DS: torch.Tensor, norm: nn.LayerNorm) -> torch.Tensor:
    """Layer norm of tokens in columns."""
    variance_1S, mean_1S = torch.var_mean(x_DS, dim=0, correction=0, keepdim=True)
    normal_DS = (x_DS - mean_1S) * torch.rsqrt(variance_1S + norm.eps)
    return normal_DS * norm.weight[:, None] + norm.bias[:, None]
