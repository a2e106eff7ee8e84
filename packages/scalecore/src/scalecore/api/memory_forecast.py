"""What a trainer predicts of memory: what it is asked with, what it answers, and what it learns from."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Protocol

from attrs import frozen

if TYPE_CHECKING:  # `scalecore check` imports this module: nothing asks for the types of what is not read from a file
    from scalecore.api.model import SizedFamily  # noqa: TC004
    from scalecore.api.readings import Device  # noqa: TC004
    from scalecore.api.space import Architecture, DataShape, Distribution, Value  # noqa: TC004
    from scalecore.execution.attempt_spec import AttemptSpec

__all__ = [
    "Checkpointing",
    "EndedAttempt",
    "ForecastContext",
    "MemoryForecast",
    "MemoryPrediction",
    "SpecOf",
    "StepSize",
    "TrainingSetup",
]

Checkpointing = Literal["auto", "off", "on"]
"""Whether activations are computed again in the backward pass; `auto` where a trial does not fit otherwise."""
PATIENCE = 60.0
"""Seconds that a forecast may take, on a loaded machine too, before a rougher one has to do."""


@frozen(kw_only=True)
class StepSize:
    """How many windows an optimizer step takes, how many of them at a time, and whether activations may be computed
    again. `micro_batch` is what a trial begins with; it is halved where memory does not suffice.
    """

    effective_batch: int = 1
    micro_batch: int = 1
    checkpointing: Checkpointing = "off"
    depends_on_micro_batch: bool = False
    """Whether the loss is no sum over windows, so that a smaller micro-batch is another loss."""
    counts_steps: bool = True
    """Whether it is known how many steps an epoch has: the training windows by the effective batch."""
    checkpoint_bytes: float = 12.0
    """Of a checkpoint per parameter: weights and the state of the optimizer; the default is that of AdamW."""


@frozen(kw_only=True)
class ForecastContext:
    """What a forecast is made with, before the data is read."""

    folder: Path
    """Of the study, where answers of earlier runs may lie. Nothing is written before `MemoryForecast.keep`."""
    registry: Mapping[str, Any]
    """The arguments with which other processes build their registry."""
    traces: bool
    """False for closed forms only: no process is started but to count what a family does not say."""
    model: Mapping[str, Any]
    """The section `model` of the experiment, with its options."""
    code: Callable[[], Mapping[str, str]]
    """Versions of what a kept answer about the model follows from."""
    fork: Callable[[int, int], bool] | None = None
    """See `scalecore.api.executor.SupportsTracer`."""


class SpecOf(Protocol):
    """The spec of an attempt of a study that nobody makes."""

    def __call__(
        self,
        *,
        architecture: Mapping[str, int],
        num_parameters: int,
        flops: int,
        hyperparameters: Mapping[str, Value],
        micro_batch: int,
        checkpointing: bool,
        registry: Mapping[str, Any],
    ) -> AttemptSpec: ...


@frozen(kw_only=True)
class TrainingSetup:
    """What a study trains, as far as memory depends on it."""

    shape: DataShape
    family: SizedFamily
    depth: str | None
    """The dimension that counts equal blocks."""
    windows: Mapping[str, int]
    """By part: `train`, `val`, `test`."""
    fixed: Mapping[str, Value]
    space: Mapping[str, Distribution]
    versions: Mapping[str, str]
    device: Device
    """On which trials will most likely train."""
    step_size: StepSize
    spec: SpecOf


@frozen(kw_only=True)
class MemoryPrediction:
    """The predicted peak of an attempt's process in bytes."""

    bytes: int
    source: str
    """How it came about, in a word or two, such as `closed form`."""
    blocks: int | None = None
    """Repeated blocks whose activations can be computed again; None where it is not known."""
    observations: int = 0
    """Measured peaks that went into it."""
    floor: int = 0
    """The part of it that no micro-batch removes, such as weights and gradients; 0 where it is not known."""

    def plain(self) -> dict[str, Any]:
        """For the journal, with keys of `scalecore.api.record_parts.MemoryUse`."""
        return {
            "predicted": self.bytes,
            "source": self.source,
            "blocks": self.blocks,
            "observations": self.observations,
        }


@frozen(kw_only=True)
class EndedAttempt:
    """An attempt that ended by itself: what was predicted of it, and what it took."""

    predicted: Mapping[str, Any]
    """`MemoryPrediction.plain` of it; an earlier version may have written fewer keys."""
    peak: int | None
    """Bytes on its device; None where that says nothing of the prediction, since its micro-batch was halved."""
    host_peak: int | None
    """Bytes of its process."""
    whole: bool
    """Whether it came to its end; else its peaks are too low."""


class MemoryForecast(Protocol):
    """Predicts what attempts of one study need, and learns from what they needed."""

    counts: bool
    """Whether it can count what a family does not say of its shapes; then it asks for their activations too."""

    def start(self) -> None:
        """Begin what takes time, such as a process, while the data is being read."""
        ...

    def prepare(self, setup: TrainingSetup) -> None:
        """Take what the study trains; called once, before anything but `start` and `count`."""
        ...

    def keep(self) -> None:
        """From now on keep answers in the study's folder."""
        ...

    def count(
        self, architectures: Sequence[Mapping[str, int]], data: DataShape, forward: bool
    ) -> Sequence[Mapping[str, int]]:
        """`num_parameters` of shapes whose family does not say them, and where `forward`, `flops` and
        `saved_activations`. Raises `ValueError` with the reason where a shape cannot be counted.
        """
        ...

    def rough(self, architecture: Architecture, micro_batch: int) -> int:
        """The closed form's prediction in bytes, at once; at micro-batch 0 what no way to train can do without."""
        ...

    def rough_range(self, architecture: Architecture, micro_batch: int) -> tuple[int, int]:
        """Between which bytes `predict` will lie."""
        ...

    def learn(self, ended: Sequence[EndedAttempt]) -> None:
        """Take what attempts measured that ended since the last call."""
        ...

    def predict(
        self,
        architecture: Architecture,
        micro_batch: int,
        *,
        device: Device,
        checkpointing: bool = False,
        smoke: bool = False,
        wait: float = PATIENCE,
    ) -> MemoryPrediction | None:
        """The prediction, after at most `wait` seconds; None while it is not known yet, never after `PATIENCE`.

        `smoke` for the one step that tries a study out.
        """
        ...

    def host_memory(self, num_parameters: int) -> int | None:
        """Bytes of the machine's own memory that a trial on a GPU needs; None where it is not known."""
        ...
