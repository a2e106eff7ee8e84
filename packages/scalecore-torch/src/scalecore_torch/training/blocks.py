"""The repeated blocks of a module: what is compiled once for all of them, or recomputed one by one to save memory."""

from __future__ import annotations

from functools import partial
from typing import Any

import torch
from torch import nn
from torch.utils.checkpoint import checkpoint


def repeated_blocks(module: nn.Module) -> list[nn.Module]:
    """What the module's own method `repeated_blocks()` names, in the order of the forward pass; empty without one.

    Blocks are submodules of one class and of equal shapes, each called once in a forward pass. Raises `TypeError` where
    the method names something else than submodules.
    """
    method = getattr(module, "repeated_blocks", None)
    if method is None:
        return []
    blocks = list(method())
    known = set(module.modules())
    for block in blocks:
        if not isinstance(block, nn.Module) or block not in known:
            raise TypeError(f"{type(module).__name__}.repeated_blocks() names {block!r}, which is none of its modules")
    return blocks


def checkpoint_blocks(module: nn.Module) -> int:
    """Keep only the inputs of each block between forward and backward, and compute the rest once more: how many blocks.

    The same operations on the same numbers with the same random state, so results do not change. 0 where the module
    names no blocks, and nothing is done then.
    """
    blocks = repeated_blocks(module)
    for block in blocks:
        block.forward = partial(_recomputed, block.forward)
    return len(blocks)


def _recomputed(forward: Any, *args: Any, **kwargs: Any) -> Any:
    if not torch.is_grad_enabled():
        return forward(*args, **kwargs)
    return checkpoint(forward, *args, use_reentrant=False, preserve_rng_state=True, **kwargs)
