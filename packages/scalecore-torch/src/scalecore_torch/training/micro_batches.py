"""When memory runs out within a step: half the micro-batch, and the step again as if it had not been tried."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, get_args

import torch
from torch import Tensor, nn

from scalecore.api.module import MicroBatchInvariance


class StepOutOfMemory(MemoryError):
    """Memory ran out where no smaller micro-batch helps; `batching` tells what was tried, as the record has it."""

    def __init__(self, message: str, *, batching: dict[str, Any]) -> None:
        super().__init__(message)
        self.batching = batching
        self.measured = {"memory": {"micro_batch": batching["micro_batch"]}, "batching": batching}
        """What the result of the attempt says besides."""


def invariance(module: nn.Module, *, drew: bool) -> MicroBatchInvariance:
    """What the module declares as `micro_batch_invariance`; else found from its parts and whether a training pass drew.

    Raises `ValueError` for a declaration that is none of the three.
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
    """The state of torch's generators that a module on `device` may draw from."""
    return {
        "cpu": torch.get_rng_state(),
        "cuda": torch.cuda.get_rng_state_all() if device.type == "cuda" else [],
        "mps": torch.mps.get_rng_state() if device.type == "mps" else None,
    }


def restore_random_state(state: dict[str, Any], device: torch.device) -> None:
    """Set what `random_state` returned."""
    torch.set_rng_state(state["cpu"])
    if device.type == "cuda":
        torch.cuda.set_rng_state_all(state["cuda"])
    if device.type == "mps":
        torch.mps.set_rng_state(state["mps"])


def same_random_state(first: dict[str, Any], second: dict[str, Any]) -> bool:
    """Whether nothing was drawn between two calls of `random_state`: a module on a GPU draws from its generator."""
    pairs = [(first["cpu"], second["cpu"]), *zip(first["cuda"], second["cuda"], strict=True)]
    if first["mps"] is not None:
        pairs.append((first["mps"], second["mps"]))
    return all(torch.equal(before, after) for before, after in pairs)


def step_state(
    module: nn.Module, sums: Sequence[Tensor], device: torch.device, *, normalised: Sequence[nn.Module]
) -> Callable[[], None]:
    """What a step changes before the optimizer does: call the result to undo it and try the step again.

    Torch's random state (numpy's would take longer than all the rest), gradients, running statistics of the modules
    `normalised`, and `sums` over steps. A few microseconds a step on a CPU.
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
    """Its parts whose function depends on all windows of a batch."""
    return [part for part in module.modules() if isinstance(part, nn.modules.batchnorm._BatchNorm)]
