"""The repeated blocks of a module, which are compiled once for all, or recomputed separately to save memory."""

from __future__ import annotations

from functools import partial
from typing import Any

import torch
from torch import nn
from torch.utils.checkpoint import checkpoint


def repeated_blocks(module: nn.Module) -> list[nn.Module]:
    """The blocks that the module's method `repeated_blocks()` returns, in the order of the forward pass; empty without
    it.

    Blocks are submodules of one class and equal shapes, each called once in a forward pass. Raises `TypeError` if the
    method returns anything but submodules.
    """
    method = getattr(module, "repeated_blocks", None)
    if method is None:
        return []
    blocks = list(method())
    known = set(module.modules())
    for block in blocks:
        if not isinstance(block, nn.Module) or block not in known:
            raise TypeError(
                f"{type(module).__name__}.repeated_blocks() returned {block!r}, which is not one of its modules"
            )
    return blocks


def checkpoint_blocks(module: nn.Module) -> int:
    """Store only the inputs of each block for the backward pass and recompute the rest. Returns the number of blocks.

    Results do not change: the same operations run on the same numbers with the same random state. Returns 0 and does
    nothing if the module has no blocks.
    """
    blocks = repeated_blocks(module)
    for block in blocks:
        block.forward = partial(_recomputed, block.forward)
    return len(blocks)


def _recomputed(forward: Any, *args: Any, **kwargs: Any) -> Any:
    if not torch.is_grad_enabled():
        return forward(*args, **kwargs)
    return checkpoint(forward, *args, use_reentrant=False, preserve_rng_state=True, **kwargs)
