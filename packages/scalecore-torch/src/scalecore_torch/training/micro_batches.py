"""Undoes a step in which memory ran out, so that it can be repeated with half the micro-batch."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, get_args

import torch
from torch import Tensor, nn

from scalecore.api.module import MicroBatchInvariance


class StepOutOfMemory(MemoryError):
    """Memory ran out and no smaller micro-batch is possible; `batching` is the record of the attempts."""

    def __init__(self, message: str, *, batching: dict[str, Any]) -> None:
        super().__init__(message)
        self.batching = batching
        self.measured = {"memory": {"micro_batch": batching["micro_batch"]}, "batching": batching}
        """Additional content of the attempt's result."""


def invariance(module: nn.Module, *, drew: bool) -> MicroBatchInvariance:
    """The module's `micro_batch_invariance`; without it, derived from its parts and from random draws in a training
    pass.

    Raises `ValueError` for another value than the three.
    """
    declared = getattr(module, "micro_batch_invariance", None)
    if declared is not None:
        if declared not in get_args(MicroBatchInvariance):
            raise ValueError(
                f"{type(module).__name__}.micro_batch_invariance is {declared!r}, not one of "
                f"{', '.join(get_args(MicroBatchInvariance))}"
            )
        kind: MicroBatchInvariance = declared
        return kind
    if with_batch_statistics(module):
        return "not_invariant"
    return "stochastic" if drew else "exact"


def random_state(device: torch.device) -> dict[str, Any]:
    """The state of torch's generators that a module on `device` may use."""
    return {
        "cpu": torch.get_rng_state(),
        "cuda": torch.cuda.get_rng_state_all() if device.type == "cuda" else [],
        "mps": torch.mps.get_rng_state() if device.type == "mps" else None,
    }


def restore_random_state(state: dict[str, Any], device: torch.device) -> None:
    """Restore the result of `random_state`."""
    torch.set_rng_state(state["cpu"])
    if device.type == "cuda":
        torch.cuda.set_rng_state_all(state["cuda"])
    if device.type == "mps":
        torch.mps.set_rng_state(state["mps"])


def same_random_state(first: dict[str, Any], second: dict[str, Any]) -> bool:
    """Whether no random number was drawn between two calls of `random_state`, on the host or a GPU."""
    pairs = [(first["cpu"], second["cpu"]), *zip(first["cuda"], second["cuda"], strict=True)]
    if first["mps"] is not None:
        pairs.append((first["mps"], second["mps"]))
    return all(torch.equal(before, after) for before, after in pairs)


def step_state(
    module: nn.Module, sums: Sequence[Tensor], device: torch.device, *, normalised: Sequence[nn.Module]
) -> Callable[[], None]:
    """Save what a step changes before the optimizer runs. Call the result to restore it, to repeat the step.

    Saved are torch's random state (numpy's would take longer than all the rest), running statistics of the modules
    `normalised`, and `sums` over steps; gradients are cleared. This takes a few microseconds per step on a CPU.
    """
    before, totals = random_state(device), [one.clone() for one in sums]
    buffers = [(b, b.clone()) for part in normalised for b in part.buffers(recurse=False)]

    def undo() -> None:
        restore_random_state(before, device)
        for one, total in zip(sums, totals, strict=True):
            one.copy_(total)
        for buffer, value in buffers:
            buffer.copy_(value)
        for parameter in module.parameters():
            parameter.grad = None
        if device.type == "cuda":
            torch.cuda.empty_cache()  # cached blocks of the larger micro-batch do not fit the smaller one

    return undo


def with_batch_statistics(module: nn.Module) -> list[nn.Module]:
    """Submodules with outputs that depend on all windows of a batch."""
    return [part for part in module.modules() if isinstance(part, nn.modules.batchnorm._BatchNorm)]
