"""The trainer `function` as the driver knows it: training by a function of the user's."""

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
"""What is predicted from a measured peak, as its multiple: of other shapes nothing is known."""

EPOCHS = "epochs"
"""The one name of which the study makes something: how far a trial is."""

Problem = tuple[tuple[str | int, ...], str]


@frozen(kw_only=True)
class FunctionSpec(AttemptSpec):
    """One attempt of the trainer `function`."""

    name: str
    module: str | None = None
    file: str | None = None
    sha256: str | None = None
    """Of the file, as it was checked."""

    @property
    def target(self) -> ImportPath:
        """The function's import path."""
        return ImportPath(name=self.name, module=self.module, file=None if self.file is None else Path(self.file))


class FunctionTrainer:
    """Satisfies `scalecore.api.trainer.Trainer`."""

    def __init__(self, options: FunctionOptions) -> None:
        self._options = options
        self._code: CodeFile | None = None
        """The function's, imported once."""

    def hyperparameters(self) -> Sequence[Hyperparameter]:
        return ()

    def further_hyperparameters(self, given: Mapping[str, Sequence[Value]]) -> Sequence[Hyperparameter]:
        """All of them: what a function reads is known when it runs."""
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
                f"{choices.metric} is a metric of your own: say which way is better with objective.direction",
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
        text = f"a trial is expected to need {first} (training.memory_gb) until one has been measured"
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
    """Satisfies `scalecore.api.memory_forecast.MemoryForecast`: one number for all shapes, then what was measured."""

    counts = False

    def __init__(self, first: int) -> None:
        self._first = first
        self._peaks: list[int] = []
        self._least = 0
        """What an attempt took that did not come to its end."""

    def start(self) -> None:
        """Nothing takes time."""

    def prepare(self, setup: TrainingSetup) -> None:
        """Nothing depends on it."""

    def keep(self) -> None:
        """Nothing is kept: the journal has the peaks."""

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
            return None  # on little data it says nothing of a trial
        measured = int(MARGIN * max(self._peaks, default=0))
        source = "measured" if measured else "training.memory_gb"
        return MemoryPrediction(
            bytes=max(measured or self._first, self._least), source=source, observations=len(self._peaks)
        )

    def host_memory(self, num_parameters: int) -> int | None:
        return None


def _parameter(name: str, values: Sequence[Value]) -> Hyperparameter:
    """One that the experiment gives `values`, or sets or varies it between them."""
    help_text = "Read by the function."
    if name == EPOCHS:
        return Hyperparameter(name=name, default=1, low=1, help="Epochs at most, for estimates of time.")
    if all(isinstance(one, int | float) and not isinstance(one, bool) for one in values):
        return Hyperparameter(name=name, default=float(values[0]), help=help_text)
    return Hyperparameter(name=name, default=values[0] if isinstance(values[0], bool) else "", help=help_text)


def _call_problem(found: Any, *, label: str) -> str | None:
    """Why it is no function of one trial; None where it is."""
    if not callable(found):
        return f"{label} cannot be called: it is of type {type(found).__name__}"
    try:
        inspect.signature(found).bind(None)
    except TypeError as error:
        return f"{label} is to be called with the trial alone: {error}"
    except ValueError:
        return None  # one in C, whose signature nobody knows
    return None
