"""The protocol of trainers, which plan in the driver and train in the process of an attempt.

The *driver* is the process of `scalecore run`: it owns the study and never imports the training library.
An *attempt* is a process that trains one trial.

A trainer has two halves. Its record names the module of an attempt's process, `worker`, started as `python -m WORKER
FOLDER PARENT`; `scalecore.api.worker` provides the functions to write it. The record's factory returns a `Trainer`,
which answers the driver's questions from the options alone.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Protocol, runtime_checkable

from attrs import frozen

if TYPE_CHECKING:  # `scalecore check` imports this module, and no file is read into these types at run time
    from scalecore.api.memory_forecast import ForecastContext, MemoryForecast, StepSize
    from scalecore.api.plan_report import PlanReport, ProductsReport  # noqa: TC004
    from scalecore.api.readings import Device, Finding
    from scalecore.api.space import Hyperparameter, Value
    from scalecore.execution.attempt_spec import AttemptSpec

__all__ = [
    "CodeFile",
    "CompileRule",
    "Conventions",
    "LossContext",
    "SupportsEvaluation",
    "SupportsFurtherHyperparameters",
    "Trainer",
    "TrainingChoices",
]

CompileRule = Literal["flops", "savings"]
"""The rule by which `training.compile: auto` decides: `flops` in studies of version 0.1."""


@frozen(kw_only=True)
class TrainingChoices:
    """Other settings of an experiment that its trainer's options may depend on."""

    metric: str = "val_loss"
    """The metric of the objective."""
    directed: bool = False
    """True if the file sets the direction of the objective."""
    varied: frozenset[str] = frozenset()
    """Names of the hyper-parameters in `search.space`."""
    fixed: frozenset[str] = frozenset()
    """Names of the hyper-parameters in `training.hyperparameters`."""


@frozen(kw_only=True)
class Conventions:
    """Settings that all trials of a study must share to be comparable. The first plan of a study stores them."""

    products: ProductsReport | None = None
    """The library of float32 products on a CPU; None without a choice, and in studies of versions without it."""
    compile_rule: CompileRule = "savings"


@frozen(kw_only=True)
class LossContext:
    """The input of `Trainer.loss`: the task, and the number of training windows of each class (none for a forecast)."""

    task: str
    counts: Sequence[int] = ()


@frozen(kw_only=True)
class CodeFile:
    """Code named by an option: a Python file with the SHA-256 of its content, or an importable module."""

    file: Path | None = None
    sha256: str | None = None
    module: str | None = None


@runtime_checkable
class SupportsFurtherHyperparameters(Protocol):
    """Optional for a `Trainer` that reads hyper-parameters which it cannot declare in advance."""

    def further_hyperparameters(self, given: Mapping[str, Sequence[Value]]) -> Sequence[Hyperparameter]:
        """Return those of the `given` hyper-parameters that the trainer reads.

        `given` maps names to values or bounds: hyper-parameters of the experiment file that neither the trainer nor the
        model family declares.
        """
        ...


@runtime_checkable
class SupportsEvaluation(Protocol):
    """Required of a `Trainer` whose record says `keeps_weights`: a trained model can be evaluated on test data."""

    def evaluation_spec(self, trained: Path, *, precision: Literal["fp32", "tf32"] | None) -> AttemptSpec:
        """Return the spec of the finished attempt in the folder `trained`, to be evaluated in the precision of its
        record (`ComputePolicy.evaluation`). The driver sets mode, part, weights, data and device.
        """
        ...


@runtime_checkable
class Trainer(Protocol):
    """Plans the training of trials. Called in the driver and by `scalecore check`.

    Must not import the training library.
    """

    def hyperparameters(self) -> Sequence[Hyperparameter]:
        """Return the hyper-parameters of the training, in addition to those of the model."""
        ...

    def problems(
        self, choices: TrainingChoices, *, task: str | None, classes: int | None = None
    ) -> Iterable[tuple[tuple[str | int, ...], str]]:
        """Yield problems of the options or the objective with this task: the key in the experiment file, and a message.

        Called before all other methods, while the file is checked; `task` and `classes` are None if not yet known.
        """
        ...

    def outputs(self, outputs: int) -> int:
        """Return the size of the model's head for a target with this many `outputs`."""
        ...

    def task(self) -> str | None:
        """Return the only task that the options allow; None if they allow several."""
        ...

    def loss(self, context: LossContext) -> Mapping[str, Any]:
        """Return the loss that every trial minimises, as stored in its record: `kind` and its settings."""
        ...

    def code(self) -> Sequence[CodeFile]:
        """Return the user's code that the options name, as it was when `problems` read it."""
        ...

    def step_size(self) -> StepSize:
        """Return the batch sizes and the checkpointing with which a trial starts."""
        ...

    def device(self, setting: str) -> Device:
        """Return the device on which an attempt will most likely train; `setting` is `training.device`."""
        ...

    def conventions(self, begun: PlanReport | None) -> Conventions:
        """Return the conventions of the study with the first plan `begun`, or of a new study."""
        ...

    def findings(self, *, device: Device, setting: str, conventions: Conventions) -> Iterable[Finding]:
        """Return findings about this machine before the study; `setting` is `training.device`."""
        ...

    def spec(self, spec: AttemptSpec, *, conventions: Conventions, compiled: Path | None) -> AttemptSpec:
        """Complete the spec of an attempt; return a subclass of `AttemptSpec` if the worker needs further fields.

        `compiled` is a folder that the attempts of a run share; the driver empties it at the end.
        """
        ...

    def forecast(self, context: ForecastContext) -> MemoryForecast:
        """Create the memory forecast of a study."""
        ...
