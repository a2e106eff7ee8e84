"""Ways to fit a trial into memory, and the message if there is none."""

from __future__ import annotations

from attrs import frozen

from scalecore.api import formatting
from scalecore.api.memory_forecast import MemoryPrediction
from scalecore.api.readings import Demand

RECOMPUTED_AS_MUCH = 4
"""With a dozen blocks or more, recomputation keeps less than a quarter of the activations (measured: a seventh at 48
blocks); models with fewer blocks rarely need it."""


@frozen(kw_only=True)
class Way:
    """How a trial is run: windows per forward pass, and whether activations are recomputed in the backward pass."""

    micro_batch: int
    checkpointing: bool

    def smaller_than(self, other: Way) -> bool:
        """Return True if this way needs less memory than `other`."""
        if self.checkpointing == other.checkpointing:
            return self.micro_batch < other.micro_batch
        return self.checkpointing and self.micro_batch <= RECOMPUTED_AS_MUCH * other.micro_batch

    @property
    def text(self) -> str:
        """The way as text: `a micro-batch of 4 and recomputed activations`."""
        return f"a micro-batch of {self.micro_batch}" + (" and recomputed activations" if self.checkpointing else "")


@frozen(kw_only=True)
class BatchPlan:
    """A way with its predicted memory."""

    way: Way
    prediction: MemoryPrediction
    demand: Demand


def halvings(first: int) -> list[int]:
    """Return `first`, its half, and so on down to 1."""
    sizes = [first]
    while sizes[-1] > 1:
        sizes.append(sizes[-1] // 2)
    return sizes


def never_fits(reason: str, smallest: BatchPlan) -> str:
    """Return the message for a trial that the monitors refuse in every way, down to the `smallest`."""
    text = f"does not fit even with {smallest.way.text}: {reason}"
    if smallest.prediction.floor:
        floor = formatting.size(smallest.prediction.floor)
        text += f"; weights, gradients and optimizer moments alone need {floor} at any micro-batch"
    return f"{text}; exclude such shapes (search.exclude), set a smaller budget, or use a machine with more memory"
