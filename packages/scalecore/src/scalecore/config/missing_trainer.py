"""A substitute for a trainer whose package is not installed, so that data and shapes can still be planned."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

from scalecore.api.components import TrainerRecord
from scalecore.api.memory_forecast import EndedAttempt, ForecastContext, MemoryPrediction, StepSize, TrainingSetup
from scalecore.api.space import Architecture, DataShape, Hyperparameter
from scalecore.api.trainer import CodeFile, Conventions, LossContext, TrainingChoices
from scalecore.config.resolved import ResolvedComponent

if TYPE_CHECKING:
    from scalecore.api.plan_report import PlanReport
    from scalecore.api.readings import Device, Finding

UNKNOWN = "unknown"


class MissingTrainer:
    """Implements `scalecore.api.trainer.Trainer` as far as planning needs it; options are not checked."""

    def __init__(self, message: str) -> None:
        self.message = message

    def hyperparameters(self) -> Sequence[Hyperparameter]:
        return ()

    def problems(
        self, choices: TrainingChoices, *, task: str | None, classes: int | None = None
    ) -> Iterable[tuple[tuple[str | int, ...], str]]:
        return ()

    def outputs(self, outputs: int) -> int:
        return outputs

    def task(self) -> str | None:
        return None

    def loss(self, context: LossContext) -> Mapping[str, Any]:
        return {"kind": UNKNOWN}

    def code(self) -> Sequence[CodeFile]:
        return ()

    def step_size(self) -> StepSize:
        return StepSize()

    def device(self, setting: str) -> Device:
        return "cpu" if setting == "auto" else setting  # type: ignore[return-value]  # a device

    def conventions(self, begun: PlanReport | None) -> Conventions:
        return Conventions()

    def findings(self, *, device: Device, setting: str, conventions: Conventions) -> Iterable[Finding]:
        from scalecore.api.readings import Finding

        yield Finding(level="refuse", subject="trainer", message=self.message)

    def spec(self, spec: Any, *, conventions: Conventions, compiled: Path | None) -> NoReturn:
        raise AssertionError("training requires a trainer")

    def forecast(self, context: ForecastContext) -> NoForecast:
        return NoForecast(self.message)


class NoForecast:
    """Implements `scalecore.api.memory_forecast.MemoryForecast`; values of 0 are not shown."""

    counts = True

    def __init__(self, message: str) -> None:
        self._message = message

    def start(self) -> None: ...

    def prepare(self, setup: TrainingSetup) -> None: ...

    def keep(self) -> None: ...

    def learn(self, ended: Sequence[EndedAttempt]) -> None: ...

    def count(self, architectures: Sequence[Mapping[str, int]], data: DataShape, forward: bool) -> NoReturn:
        raise ValueError(self._message)

    def rough(self, architecture: Architecture, micro_batch: int) -> int:
        return 0

    def rough_range(self, architecture: Architecture, micro_batch: int) -> tuple[int, int]:
        return 0, 0

    def predict(
        self,
        architecture: Architecture,
        micro_batch: int,
        *,
        device: Device,
        checkpointing: bool = False,
        smoke: bool = False,
        wait: float = 0.0,
    ) -> MemoryPrediction:
        return MemoryPrediction(bytes=0, source=UNKNOWN)

    def host_memory(self, num_parameters: int) -> int | None:
        return None


def missing_trainer(name: str, options: Mapping[str, Any], *, provider: str, message: str) -> ResolvedComponent:
    """The substitute for the trainer `name` of a package that is not installed."""
    record = TrainerRecord(name=name, summary="", options=dict, factory=lambda _: MissingTrainer(message), worker="")
    return ResolvedComponent(record=record, options=dict(options), provider=provider, version="not installed", use=name)
