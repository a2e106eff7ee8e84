"""The driver's side of the trainer `function`, which trains by calling a function of the user."""

from __future__ import annotations

import inspect
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from attrs import fields, frozen

from scalecore.api import formatting
from scalecore.api.memory_forecast import (
    PATIENCE,
    EndedAttempt,
    ForecastContext,
    MemoryPrediction,
    StepSize,
    TrainingSetup,
)
from scalecore.api.metrics import LARGE_IS_GOOD, SMALL_IS_GOOD
from scalecore.api.options import ImportPath
from scalecore.api.plan_report import PlanReport
from scalecore.api.readings import Device, Finding
from scalecore.api.space import Architecture, DataShape, Hyperparameter, Value
from scalecore.api.trainer import CodeFile, Conventions, LossContext, TrainingChoices
from scalecore.builtin.options import FunctionOptions
from scalecore.execution.attempt_spec import AttemptSpec
from scalecore.plugins.imports import ImportPathError, import_code

MARGIN = 1.25
"""Predicted memory as a multiple of the largest measured peak; the size of other shapes is unknown."""

EPOCHS = "epochs"
"""The only hyper-parameter that the study itself uses: for the progress of a trial."""

Problem = tuple[tuple[str | int, ...], str]


@frozen(kw_only=True)
class FunctionSpec(AttemptSpec):
    """One attempt of the trainer `function`."""

    name: str
    module: str | None = None
    file: str | None = None
    sha256: str | None = None
    """Checksum of the file when it was checked."""

    @property
    def target(self) -> ImportPath:
        """The function's import path."""
        return ImportPath(name=self.name, module=self.module, file=None if self.file is None else Path(self.file))


class FunctionTrainer:
    """Satisfies `scalecore.api.trainer.Trainer`."""

    def __init__(self, options: FunctionOptions) -> None:
        self._options = options
        self._code: CodeFile | None = None
        """The function's file; None before it was imported."""

    def hyperparameters(self) -> Sequence[Hyperparameter]:
        return ()

    def further_hyperparameters(self, given: Mapping[str, Sequence[Value]]) -> Sequence[Hyperparameter]:
        """Accept every name: the values that a function reads are known only when it runs."""
        return [_parameter(name, values) for name, values in given.items()]

    def problems(self, choices: TrainingChoices, *, task: str | None, classes: int | None = None) -> Iterator[Problem]:
        if self._code is not None:
            return
        target = self._options.target
        self._code = CodeFile(file=target.file, module=target.module)
        try:
            code = import_code(target)
        except ImportPathError as error:
            yield ("training", "target"), str(error)
            return
        self._code = CodeFile(file=target.file, module=target.module, sha256=code.sha256)
        if (wrong := _call_problem(code.found, label=target.label)) is not None:
            yield ("training", "target"), wrong
        if choices.metric not in (*SMALL_IS_GOOD, *LARGE_IS_GOOD) and not choices.directed:
            yield (
                ("objective", "metric"),
                f"{choices.metric} is a custom metric: set objective.direction",
            )

    def outputs(self, outputs: int) -> int:
        return outputs

    def task(self) -> str | None:
        return None

    def loss(self, context: LossContext) -> Mapping[str, Any]:
        return {"kind": self._options.target.label}

    def code(self) -> Sequence[CodeFile]:
        return [] if self._code is None else [self._code]

    def step_size(self) -> StepSize:
        return StepSize(counts_steps=False)

    def device(self, setting: str) -> Device:
        return "cpu" if setting == "auto" else setting  # type: ignore[return-value]  # a device

    def conventions(self, begun: PlanReport | None) -> Conventions:
        return Conventions()

    def findings(self, *, device: Device, setting: str, conventions: Conventions) -> Iterator[Finding]:
        first = formatting.size(self._options.memory_gb * 1e9)
        text = f"expecting {first} per trial (training.memory_gb) until one has been measured"
        yield Finding(level="ok", subject="memory", message=text)

    def spec(self, spec: AttemptSpec, *, conventions: Conventions, compiled: Path | None) -> FunctionSpec:
        target = self._options.target
        return FunctionSpec(
            **{one.name: getattr(spec, one.name) for one in fields(AttemptSpec)},
            name=target.name,
            module=target.module,
            file=None if target.file is None else str(target.file),
            sha256=None if self._code is None else self._code.sha256,
        )

    def forecast(self, context: ForecastContext) -> FunctionForecast:
        return FunctionForecast(int(self._options.memory_gb * 1e9))


class FunctionForecast:
    """Satisfies `scalecore.api.memory_forecast.MemoryForecast`: the same prediction for all shapes."""

    counts = False

    def __init__(self, first: int) -> None:
        self._first = first
        self._peaks: list[int] = []
        self._least = 0
        """Largest peak of an attempt that did not finish: a lower bound."""

    def start(self) -> None:
        """Do nothing: no process is needed."""

    def prepare(self, setup: TrainingSetup) -> None:
        """Do nothing: predictions do not depend on the setup."""

    def keep(self) -> None:
        """Do nothing: the journal contains the peaks."""

    def count(
        self, architectures: Sequence[Mapping[str, int]], data: DataShape, forward: bool
    ) -> Sequence[Mapping[str, int]]:
        raise ValueError("the trainer function builds no models before they are trained")

    def rough(self, architecture: Architecture, micro_batch: int) -> int:
        return self._first

    def rough_range(self, architecture: Architecture, micro_batch: int) -> tuple[int, int]:
        return self._first, self._first

    def learn(self, ended: Sequence[EndedAttempt]) -> None:
        for one in ended:
            if one.peak is None:
                continue
            if one.whole:
                self._peaks.append(one.peak)
            else:
                self._least = max(self._least, one.peak)

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
        if smoke:
            return None  # the smoke step uses little data and says nothing about a trial
        measured = int(MARGIN * max(self._peaks, default=0))
        source = "measured" if measured else "training.memory_gb"
        return MemoryPrediction(
            bytes=max(measured or self._first, self._least), source=source, observations=len(self._peaks)
        )

    def host_memory(self, num_parameters: int) -> int | None:
        return None


def _parameter(name: str, values: Sequence[Value]) -> Hyperparameter:
    """The hyper-parameter that the experiment sets to one of `values`, or varies between them."""
    help_text = "Read by the function."
    if name == EPOCHS:
        return Hyperparameter(name=name, default=1, low=1, help="Maximum number of epochs, for time estimates.")
    if all(isinstance(one, int | float) and not isinstance(one, bool) for one in values):
        return Hyperparameter(name=name, default=float(values[0]), help=help_text)
    return Hyperparameter(name=name, default=values[0] if isinstance(values[0], bool) else "", help=help_text)


def _call_problem(found: Any, *, label: str) -> str | None:
    """Return why `found` cannot be called with one trial; None if it can."""
    if not callable(found):
        return f"{label} is not callable: its type is {type(found).__name__}"
    try:
        inspect.signature(found).bind(None)
    except TypeError as error:
        return f"{label} must accept the trial as its only argument: {error}"
    except ValueError:
        return None  # implemented in C, without a signature
    return None
