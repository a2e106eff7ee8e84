"""What a trainer does: in the driver, which plans and watches, and in the process of an attempt, which trains.

The *driver* is the process of `scalecore run`: it owns the study and never imports what trains.
An *attempt* is a process that trains one trial.

A trainer has two halves. Its record names the module of an attempt's process, `worker`, started as `python -m WORKER
FOLDER PARENT`; `scalecore.api.attempts` has what such a module is written with. The object that the record's factory
returns is a `Trainer`: it answers the driver's questions from the options alone.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Protocol, runtime_checkable

from attrs import field, frozen

if TYPE_CHECKING:  # `scalecore check` imports this module: nothing asks for the types of what is not read from a file
    from scalecore.api.model import SizedFamily  # noqa: TC004
    from scalecore.api.plan_report import PlanReport, ProductsReport  # noqa: TC004
    from scalecore.api.readings import Device, Finding  # noqa: TC004
    from scalecore.api.space import Architecture, DataShape, Distribution, Hyperparameter, Value  # noqa: TC004
    from scalecore.execution.attempt_spec import AttemptSpec

__all__ = [
    "Checkpointing",
    "CodeFile",
    "CompileRule",
    "Conventions",
    "Diverged",
    "EndedAttempt",
    "ForecastContext",
    "LossContext",
    "MemoryForecast",
    "Prediction",
    "SpecOf",
    "StepSize",
    "SupportsFurtherHyperparameters",
    "Trainer",
    "TrainingChoices",
    "TrainingMonitor",
    "TrainingPlan",
    "TrainingSetup",
]

Checkpointing = Literal["auto", "off", "on"]
"""Whether activations are computed again in the backward pass; `auto` where a trial does not fit otherwise."""
CompileRule = Literal["flops", "savings"]
"""How a choice of compiled blocks is made: `flops` in studies of version 0.1."""
PATIENCE = 60.0
"""Seconds that a forecast may take, on a loaded machine too, before a rougher one has to do."""


class Diverged(Exception):
    """The loss is not finite or has exploded: a state with a reason, never a value (guard G36)."""


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
class TrainingChoices:
    """What else of an experiment bears on the options of its trainer."""

    metric: str = "val_loss"
    """The objective."""
    directed: bool = False
    """Whether the file says which way it is better."""
    varied: frozenset[str] = frozenset()
    """Hyper-parameters of `search.space`."""
    fixed: frozenset[str] = frozenset()
    """Hyper-parameters of `training.hyperparameters`."""
    plugin_files: Mapping[str, Path] = field(factory=dict)
    """The plugin files of the study by their names, which files of the trainer's options may not share."""


@frozen(kw_only=True)
class Conventions:
    """What all trials of a study share because they could not be compared otherwise. The first plan of a study keeps
    it."""

    products: ProductsReport | None = None
    """The library of float32 products on a CPU; None where there is no choice, and before there was one."""
    compile_rule: CompileRule = "savings"


@frozen(kw_only=True)
class LossContext:
    """What the loss of a trial is chosen by: the task, and the training windows of each class (none of a forecast)."""

    task: str
    counts: Sequence[int] = ()


@frozen(kw_only=True)
class CodeFile:
    """Code that an option names: a Python file with the SHA-256 of its content, or an importable module."""

    file: Path | None = None
    sha256: str | None = None
    module: str | None = None


@frozen(kw_only=True)
class TrainingPlan:
    """How to train, apart from the sampled hyper-parameters.

    From `training:` and `objective:` of the experiment file.
    """

    effective_batch: int
    micro_batch: int
    schedule: str = "constant"
    gradient_clip: float | None = None
    patience: int | None
    min_delta: float
    metric: str
    direction: Literal["minimize", "maximize"]
    reduction: Literal["best", "last"]
    seed: int
    checkpoint_every: float
    checkpoint_epochs: int | None = None
    min_denominator: int = 0
    """Windows that the objective must be over, where it is a rate of windows that the model chooses: an epoch below it
    counts as the worst, and is the best one only where no other is."""


class TrainingMonitor(Protocol):
    """What a training loop reports and asks, once a step and once an epoch."""

    def step(self, *, epoch: int, step: int, phase: str) -> Literal["go_on", "stop", "prune"]:
        """Called before each optimizer step; blocks while the trial is paused."""
        ...

    def epoch(self, line: Mapping[str, Any]) -> None: ...

    def checkpoint(self, state: dict[str, Any]) -> None: ...


# --- memory ---------------------------------------------------------------------------------------------------------


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
class Prediction:
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
    """`Prediction.plain` of it; an earlier version may have written fewer keys."""
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
    ) -> Prediction | None:
        """The prediction, after at most `wait` seconds; None while it is not known yet, never after `PATIENCE`.

        `smoke` for the one step that tries a study out.
        """
        ...

    def host_memory(self, num_parameters: int) -> int | None:
        """Bytes of the machine's own memory that a trial on a GPU needs; None where it is not known."""
        ...


# --- the trainer ----------------------------------------------------------------------------------------------------


@runtime_checkable
class SupportsFurtherHyperparameters(Protocol):
    """What a `Trainer` may offer besides: it reads hyper-parameters that it cannot name before."""

    def further_hyperparameters(self, given: Mapping[str, Sequence[Value]]) -> Sequence[Hyperparameter]:
        """Those among the `given` names that it reads: what the experiment file sets, or varies between values, and
        neither the trainer nor the model family declares.
        """
        ...


@runtime_checkable
class Trainer(Protocol):
    """Trains trials. Called in the driver and by `scalecore check`; must not import what trains."""

    def hyperparameters(self) -> Sequence[Hyperparameter]:
        """The hyper-parameters that training reads, beside those of the model."""
        ...

    def problems(
        self, choices: TrainingChoices, *, task: str | None, classes: int | None = None
    ) -> Iterable[tuple[tuple[str | int, ...], str]]:
        """What is wrong with options or objective for this task: the key in the experiment file, and why.

        Asked first of all, while the file is checked; `task` and `classes` are None where they are not known yet.
        """
        ...

    def outputs(self, outputs: int) -> int:
        """Size of the model's head for a target of this many `outputs`."""
        ...

    def task(self) -> str | None:
        """The one task that the options allow; None where they leave it open."""
        ...

    def loss(self, context: LossContext) -> Mapping[str, Any]:
        """What every trial minimises, `kind` and its settings, as its record says it."""
        ...

    def code(self) -> Sequence[CodeFile]:
        """The code of the user's that the options name, as it was when `problems` looked at it."""
        ...

    def step_size(self) -> StepSize:
        """What a trial begins with."""
        ...

    def device(self, setting: str) -> Device:
        """Where an attempt will most likely train, if the experiment file says `setting`: `auto` or a device."""
        ...

    def conventions(self, begun: PlanReport | None) -> Conventions:
        """Those of a study whose first plan is `begun`, or of a new one."""
        ...

    def findings(self, *, device: Device, setting: str, conventions: Conventions) -> Iterable[Finding]:
        """What a user should know of this machine before the study; `setting` is `training.device`."""
        ...

    def spec(self, spec: AttemptSpec, *, conventions: Conventions, compiled: Path | None) -> AttemptSpec:
        """The spec of an attempt with what the trainer's process needs besides: of a class of its own where it needs
        more. `compiled` is a folder that attempts of a run share and the driver empties at the end.
        """
        ...

    def forecast(self, context: ForecastContext) -> MemoryForecast:
        """A forecast for one study."""
        ...
