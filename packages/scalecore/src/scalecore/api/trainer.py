"""What a trainer does: in the driver, which plans and watches, and in the process of an attempt, which trains.

The *driver* is the process of `scalecore run`: it owns the study and never imports what trains.
An *attempt* is a process that trains one trial.

A trainer has two halves. Its record names the module of an attempt's process, `worker`, started as `python -m WORKER
FOLDER PARENT`; `scalecore.api.attempts` has what such a module is written with. The object that the record's factory
returns is a `Trainer`: it answers the driver's questions from the options alone.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Protocol, runtime_checkable

from attrs import frozen

if TYPE_CHECKING:  # `scalecore check` imports this module: nothing asks for the types of what is not read from a file
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
    "SupportsFurtherHyperparameters",
    "Trainer",
    "TrainingChoices",
]

CompileRule = Literal["flops", "savings"]
"""How a choice of compiled blocks is made: `flops` in studies of version 0.1."""


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
        """The spec of an attempt, in a subclass where the trainer's process needs more than `AttemptSpec` has.

        `compiled` is a folder that attempts of a run share and the driver empties at the end.
        """
        ...

    def forecast(self, context: ForecastContext) -> MemoryForecast:
        """A forecast for one study."""
        ...
