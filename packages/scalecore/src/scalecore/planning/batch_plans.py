"""The ways in which a trial can be made to fit into memory, and what is said when there is none."""

from __future__ import annotations

from attrs import frozen

from scalecore.api import formatting
from scalecore.api.memory_forecast import MemoryPrediction
from scalecore.api.readings import Demand

RECOMPUTED_AS_MUCH = 4
"""Recomputation keeps less than a quarter of the activations of a model of a dozen blocks and more (measured: a seventh
at 48 blocks); fewer blocks are seldom too large."""


@frozen(kw_only=True)
class Way:
    """How a trial is run: windows per forward pass, and whether activations are recomputed in the backward pass."""

    micro_batch: int
    checkpointing: bool

    def smaller_than(self, other: Way) -> bool:
        """Whether it needs less memory than `other`."""
        if self.checkpointing == other.checkpointing:
            return self.micro_batch < other.micro_batch
        return self.checkpointing and self.micro_batch <= RECOMPUTED_AS_MUCH * other.micro_batch

    @property
    def text(self) -> str:
        """For people."""
        return f"a micro-batch of {self.micro_batch}" + (" and recomputed activations" if self.checkpointing else "")


@frozen(kw_only=True)
class BatchPlan:
    """A way with its predicted memory."""

    way: Way
    prediction: MemoryPrediction
    demand: Demand


def halvings(first: int) -> list[int]:
    """`first`, its half, and so on down to 1."""
    sizes = [first]
    while sizes[-1] > 1:
        sizes.append(sizes[-1] // 2)
    return sizes


def never_fits(reason: str, smallest: BatchPlan) -> str:
    """What to say of a trial that the monitors refuse in every way, to the `smallest`."""
    text = f"does not fit even with {smallest.way.text}: {reason}"
    if smallest.prediction.floor:
        floor = formatting.size(smallest.prediction.floor)
        text += f"; weights, gradients and moments of the optimizer alone take {floor}, which no micro-batch removes"
        return f"{text}: leave such shapes out (search.exclude), take a smaller budget, or a machine with more memory"
    return f"{text}; leave such shapes out (search.exclude), take a smaller budget, or a machine with more memory"
