"""Fast dropout on a CPU.

On a CPU, torch draws random numbers for activations one at a time, which takes longer than the matrix products of a
narrow model. Two methods are faster, both reproducible from torch's own generator:

- `dropout` draws 64 bits at once and uses 16 of them for each activation: 3 times as fast.
- `hashed_mask` computes the mask of an activation from its position and two seeds with integer arithmetic, for compiled
  code, which fuses it: nearly free there, and slow elsewhere.

Both keep an activation with a probability that is exact to 2⁻¹⁶ or better, and scale kept activations accordingly.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F  # noqa: N812 - torch's own name for it

__all__ = ["Rate", "draw_seeds", "dropout", "hashed_mask", "mask_rate"]

Rate = tuple[torch.Tensor, torch.Tensor]
"""The result of `mask_rate`."""

BITS = 16
LEVELS = 1 << BITS
# The finaliser of the 32-bit hash murmur3, and the golden ratio, which spreads neighbouring positions.
SPREAD, FIRST, SECOND = -1640531527, -2048144789, -1028477387


def dropout(x: torch.Tensor, rate: float, *, training: bool) -> torch.Tensor:
    """Set activations to zero with probability `rate` in training, and divide the rest by 1 - `rate`."""
    if not training or rate == 0.0:
        return x
    if x.device.type != "cpu" or torch.compiler.is_compiling():
        return F.dropout(x, rate)
    dropped = round(rate * LEVELS)
    count = x.numel()
    words = torch.empty(-(-count * BITS // 64), dtype=torch.int64).random_(-(2**63), None)
    keep = words.view(torch.int16)[:count].view(x.shape) >= dropped - LEVELS // 2
    return x * keep.to(x.dtype).mul_(LEVELS / (LEVELS - dropped))


def draw_seeds(*shape: int) -> torch.Tensor:
    """The two seeds of each mask, int32 [*shape, 2], from torch's generator."""
    return torch.randint(-(2**31), 2**31, (*shape, 2), dtype=torch.int32)


def mask_rate(rate: float) -> Rate:
    """A rate for `hashed_mask`: the number of dropped hashes out of 2²⁴, and the scale of kept activations.

    They are tensors, since a number would be part of the compiled code and every other rate would be recompiled.
    """
    dropped = round(rate * (1 << 24))
    return torch.tensor(dropped, dtype=torch.int32), torch.tensor((1 << 24) / ((1 << 24) - dropped))


def hashed_mask(shape: tuple[int, ...], rate: float | Rate, seeds_2: torch.Tensor) -> torch.Tensor:
    """A mask, float32 [*shape]: 0 with probability `rate`, else 1 / (1 - rate). Equal seeds return equal masks.

    There are two seeds, since masks from one seed would be parts of one long sequence, and some in a run would overlap.
    """
    dropped, scale = mask_rate(rate) if isinstance(rate, float) else rate
    x = torch.arange(math.prod(shape), dtype=torch.int32, device=seeds_2.device) * SPREAD + seeds_2[0]
    x = (x ^ ((x >> 16) & 0xFFFF)) * FIRST + seeds_2[1]
    x = (x ^ ((x >> 13) & 0x7FFFF)) * SECOND
    x = (x ^ ((x >> 16) & 0xFFFF)) & 0xFFFFFF
    return torch.where(x >= dropped, scale, 0.0).view(shape)
