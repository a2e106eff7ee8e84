"""What the module that a model family builds may offer, each by itself. Called in the process of an attempt."""

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
"""Compiles a function for tensors of any values and of the shapes with which it is first called."""
MicroBatchInvariance = Literal["exact", "stochastic", "not_invariant"]
"""What it means to split a batch into smaller micro-batches. `exact`: the same sums, up to rounding. `stochastic`:
the model draws random numbers (dropout), other ones for another split, of the same distribution. `not_invariant`:
statistics over the micro-batch are part of the function (batch normalisation): another split is another model."""


@frozen(kw_only=True)
class Savings:
    """What compiled blocks save in one pass of training over one window: counts for all blocks, on the module's device.

    The core knows what each costs (`scalecore_torch.training.compile_choice`).
    """

    numbers: int
    """Numbers that operations on single numbers write in a forward pass: norms, activations, residual sums, copies."""
    masks: int = 0
    """Numbers that dropout writes."""
    heads: int = 0
    """Attention heads that eager code computes by a library's calls, and compiled code in its loops."""


@runtime_checkable
class SupportsCompileSavings(Protocol):
    """By it `training.compile: auto` decides; without it the FLOPs of the trial do."""

    def compile_savings(self) -> Savings: ...


@runtime_checkable
class SupportsRepeatedBlocks(Protocol):
    """The core may compile the blocks as one, and recompute them in the backward pass where memory is short."""

    def repeated_blocks(self) -> Sequence[torch.nn.Module]:
        """Submodules of equal shape in the order of the forward pass."""
        ...


@runtime_checkable
class SupportsCompileBlocks(Protocol):
    """Called instead of compiling the repeated blocks, where other code than theirs should be compiled."""

    def compile_blocks(self, compiler: Compiler, *, batch: int) -> None:
        """Replace functions by what `compiler` returns for them, in training passes of exactly `batch` windows."""
        ...


@runtime_checkable
class SupportsProducts(Protocol):
    """A module that can compute its float32 products on a CPU by more than one library."""

    def use_products(self, library: str) -> Literal["torch", "onednn"]:
        """Use the study's choice of library from now on; return the one in use: `torch` if oneDNN is impossible."""
        ...


@runtime_checkable
class SupportsMicroBatchInvariance(Protocol):
    """Declares what splitting a batch means; else the trainer looks for random numbers and batch normalisation."""

    micro_batch_invariance: MicroBatchInvariance
