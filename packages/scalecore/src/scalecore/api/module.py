"""Optional protocols of the module that a model family builds, each independent of the others.

Called in the process of an attempt.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, Literal, Protocol, runtime_checkable

from attrs import frozen

if TYPE_CHECKING:
    import torch

__all__ = [
    "Compiler",
    "MicroBatchInvariance",
    "Savings",
    "SupportsCompileBlocks",
    "SupportsCompileSavings",
    "SupportsMicroBatchInvariance",
    "SupportsProducts",
    "SupportsRepeatedBlocks",
]


Compiler = Callable[[Callable[..., Any]], Callable[..., Any]]
"""Compile a function for the tensor shapes of its first call."""
MicroBatchInvariance = Literal["exact", "stochastic", "not_invariant"]
"""The effect of splitting a batch into smaller micro-batches. `exact`: the sums are equal up to rounding.
`stochastic`: the model draws random numbers (dropout); another split draws others from the same distribution.
`not_invariant`: the function uses statistics of the micro-batch (batch normalisation); another split is another
model."""


@frozen(kw_only=True)
class Savings:
    """Work that compiled blocks save per training pass of one window: counts over all blocks, on the module's device.

    The core knows the cost of each (`scalecore_torch.training.compile_choice`).
    """

    numbers: int
    """Numbers written by elementwise operations in a forward pass: norms, activations, residual sums, copies."""
    masks: int = 0
    """Numbers written by dropout."""
    heads: int = 0
    """Attention heads that eager code computes with library calls and compiled code in its own loops."""


@runtime_checkable
class SupportsCompileSavings(Protocol):
    """The input of `training.compile: auto`, which otherwise decides by the FLOPs of the trial."""

    def compile_savings(self) -> Savings: ...


@runtime_checkable
class SupportsRepeatedBlocks(Protocol):
    """The core may compile the blocks as one, and recompute them in the backward pass if memory is short."""

    def repeated_blocks(self) -> Sequence[torch.nn.Module]:
        """Return submodules of equal shape in the order of the forward pass."""
        ...


@runtime_checkable
class SupportsCompileBlocks(Protocol):
    """Called instead of compiling the repeated blocks, to compile other code."""

    def compile_blocks(self, compiler: Compiler, *, batch: int) -> None:
        """Replace functions by the results of `compiler`, for training passes of exactly `batch` windows."""
        ...


@runtime_checkable
class SupportsProducts(Protocol):
    """A module that can compute its float32 products on a CPU with more than one library."""

    def use_products(self, library: str) -> Literal["torch", "onednn"]:
        """Use the study's library from now on; return the one in use, which is `torch` if oneDNN is impossible."""
        ...


@runtime_checkable
class SupportsMicroBatchInvariance(Protocol):
    """Declares the effect of splitting a batch; otherwise the trainer looks for random numbers and batch statistics."""

    micro_batch_invariance: MicroBatchInvariance
