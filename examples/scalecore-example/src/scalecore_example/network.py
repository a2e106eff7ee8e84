"""The TCN itself. Letters in names of tensors: B windows, T time steps, F features, C channels, O outputs."""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional


class Block(nn.Module):
    """Two causal convolutions of one dilation, each with ReLU and dropout, and a residual around them."""

    def __init__(self, inputs: int, channels: int, *, kernel: int, dilation: int, dropout: float) -> None:
        super().__init__()
        self.padding = (kernel - 1) * dilation
        self.first = nn.Conv1d(inputs, channels, kernel, dilation=dilation)
        self.second = nn.Conv1d(channels, channels, kernel, dilation=dilation)
        self.residual = nn.Identity() if inputs == channels else nn.Conv1d(inputs, channels, 1)
        self.dropout = nn.Dropout(dropout)

    def forward(self, x_BCT: torch.Tensor) -> torch.Tensor:
        y_BCT = x_BCT
        for convolution in (self.first, self.second):
            # Padded on the left only: a step never sees the ones after it.
            y_BCT = self.dropout(functional.relu(convolution(functional.pad(y_BCT, (self.padding, 0)))))
        return functional.relu(self.residual(x_BCT) + y_BCT)


class TCN(nn.Module):
    """From x[B, T, F] to logits[B, O], read off the last time step: no sigmoid, scalecore's task applies its own."""

    def __init__(self, *, features: int, channels: int, levels: int, kernel: int, outputs: int, dropout: float) -> None:
        super().__init__()
        self.blocks = nn.Sequential(
            *(
                Block(channels if level else features, channels, kernel=kernel, dilation=2**level, dropout=dropout)
                for level in range(levels)
            )
        )
        self.head = nn.Linear(channels, outputs)

    def forward(self, x_BTF: torch.Tensor) -> torch.Tensor:
        last_BC = self.blocks(x_BTF.transpose(1, 2))[:, :, -1]
        logits_BO: torch.Tensor = self.head(last_BC)
        return logits_BO
