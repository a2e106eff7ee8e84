"""The protocol of a trainer's memory forecast: its inputs, its predictions, and the measurements it learns from."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Protocol

from attrs import frozen

if TYPE_CHECKING:  # `scalecore check` imports this module, and no file is read into these types at run time
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
"""Whether activations are recomputed in the backward pass; `auto`: only if a trial does not fit otherwise."""
PATIENCE = 60.0
"""Maximum seconds for a prediction, also on a loaded machine, before the closed form replaces it."""


@frozen(kw_only=True)
class StepSize:
    """Windows per optimizer step and per forward pass, and whether activations may be recomputed.

    `micro_batch` is the initial value of a trial; it is halved if memory runs out.
    """

    effective_batch: int = 1
    micro_batch: int = 1
    checkpointing: Checkpointing = "off"
    depends_on_micro_batch: bool = False
    """True if the loss is not a sum over windows, so that a smaller micro-batch is another loss."""
    counts_steps: bool = True
    """True if the number of steps per epoch is known: training windows divided by the effective batch."""
    checkpoint_bytes: float = 12.0
    """Bytes of a checkpoint per parameter: weights and optimizer state; the default is that of AdamW."""


@frozen(kw_only=True)
class ForecastContext:
    """The input of `Trainer.forecast`, before the data is read."""

    folder: Path
    """The study's folder, which may contain cached results of earlier runs. Nothing is written before
    `MemoryForecast.keep`."""
    registry: Mapping[str, Any]
    """The arguments with which other processes build their registry."""
    traces: bool
    """False for closed forms only: a process starts only to count sizes that the family does not declare."""
    model: Mapping[str, Any]
    """The section `model` of the experiment, with its options."""
    code: Callable[[], Mapping[str, str]]
    """Returns the versions that a cached result for the model depends on."""
    fork: Callable[[int, int], bool] | None = None
    """See `scalecore.api.executor.SupportsTracer`."""


class SpecOf(Protocol):
    """Returns the spec of a hypothetical attempt of the study."""

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
    """The settings of a study that its memory depends on."""

    shape: DataShape
    family: SizedFamily
    depth: str | None
    """The dimension that counts equal blocks."""
    windows: Mapping[str, int]
    """Number of windows by part: `train`, `val`, `test`."""
    fixed: Mapping[str, Value]
    space: Mapping[str, Distribution]
    versions: Mapping[str, str]
    device: Device
    """The device on which trials will most likely train."""
    step_size: StepSize
    spec: SpecOf


@frozen(kw_only=True)
class MemoryPrediction:
    """The predicted peak of an attempt's process in bytes."""

    bytes: int
    source: str
    """The method in a word or two, such as `closed form`."""
    blocks: int | None = None
    """Number of repeated blocks whose activations can be recomputed; None if unknown."""
    observations: int = 0
    """Number of measured peaks used for the prediction."""
    floor: int = 0
    """The part that does not depend on the micro-batch, such as weights and gradients; 0 if unknown."""

    def plain(self) -> dict[str, Any]:
        """Return the entry for the journal, with keys of `scalecore.api.record_parts.MemoryUse`."""
        return {
            "predicted": self.bytes,
            "source": self.source,
            "blocks": self.blocks,
            "observations": self.observations,
        }


@frozen(kw_only=True)
class EndedAttempt:
    """An attempt that ended without being stopped: its predicted and its measured memory."""

    predicted: Mapping[str, Any]
    """`MemoryPrediction.plain` of the attempt; an earlier version may have written fewer keys."""
    peak: int | None
    """Peak bytes on its device; None if not comparable with the prediction because the micro-batch was halved."""
    host_peak: int | None
    """Peak bytes of its process."""
    whole: bool
    """True if it ran to its end; otherwise its peaks are too low."""


class MemoryForecast(Protocol):
    """Predicts the memory of the attempts of a study, and learns from their measured peaks. Called in the driver."""

    counts: bool
    """True if it can count sizes that a family does not declare; it then also needs `saved_activations`."""

    def start(self) -> None:
        """Start slow work, such as a process, while the data is being read."""
        ...

    def prepare(self, setup: TrainingSetup) -> None:
        """Receive the study's setup; called once, before all other methods except `start` and `count`."""
        ...

    def keep(self) -> None:
        """Cache results in the study's folder from now on."""
        ...

    def count(
        self, architectures: Sequence[Mapping[str, int]], data: DataShape, forward: bool
    ) -> Sequence[Mapping[str, int]]:
        """Count `num_parameters` of shapes; with `forward`, also `flops` and `saved_activations`.

        Called for sizes that the family does not declare. Raises `ValueError` with the reason if a shape cannot be
        counted.
        """
        ...

    def rough(self, architecture: Architecture, micro_batch: int) -> int:
        """Return the closed form's prediction in bytes, immediately; at micro-batch 0 the minimum of any training."""
        ...

    def rough_range(self, architecture: Architecture, micro_batch: int) -> tuple[int, int]:
        """Return the bytes between which the result of `predict` will lie."""
        ...

    def learn(self, ended: Sequence[EndedAttempt]) -> None:
        """Learn from the attempts that ended since the last call."""
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
        """Return the prediction after at most `wait` seconds; None if it is not ready, but never after `PATIENCE`.

        `smoke` is True for the smoke step.
        """
        ...

    def host_memory(self, num_parameters: int) -> int | None:
        """Return the bytes of host memory that a trial on a GPU needs; None if unknown."""
        ...
