"""The trainer `torch` in the driver; this module does not import torch."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from attrs import evolve, fields

from scalecore.api.memory_forecast import ForecastContext, MemoryForecast, StepSize
from scalecore.api.options import Imported
from scalecore.api.space import Hyperparameter
from scalecore.api.trainer import CodeFile, CompileRule, Conventions, LossContext, TrainingChoices
from scalecore_torch.hyperparameters import CORE_HYPERPARAMETERS
from scalecore_torch.loss_options import (
    TASKS,
    SoftAuc,
    loss_problem,
    metric_problem,
    objective_problem,
    outputs_of,
    settled,
)
from scalecore_torch.options import TorchOptions
from scalecore_torch.user_code import NO_USER_CODE, UserCode, find_user_code, name_of

if TYPE_CHECKING:
    from scalecore.api.attempts import AttemptSpec
    from scalecore.api.plan_report import PlanReport
    from scalecore.api.readings import Device, Finding
    from scalecore_torch.spec import TorchSpec
    from scalecore_torch.training.policies import Evaluation

WEIGHT_BYTES = 4
"""Bytes per parameter; a checkpoint also contains the optimizer's state."""
STATE_OF_ADAMW = 8
"""Bytes per parameter: two moments in float32."""


class TorchTrainer:
    """Satisfies `scalecore.api.trainer.Trainer`."""

    def __init__(self, options: TorchOptions) -> None:
        self._options = options
        self._found: tuple[UserCode, list[tuple[tuple[str | int, ...], str]]] | None = None
        """The code that the options name by import path, imported once."""

    def hyperparameters(self) -> Sequence[Hyperparameter]:
        return CORE_HYPERPARAMETERS

    def problems(
        self, choices: TrainingChoices, *, task: str | None, classes: int | None = None
    ) -> Iterator[tuple[tuple[str | int, ...], str]]:
        options, loss, metric = self._options, self._options.loss, choices.metric
        if self._found is None:
            self._found = find_user_code(options, choices, task=task)
            yield from self._found[1]
        elif task is not None and (elsewhere := self.own.loss_problem(task=task)) is not None:
            yield ("training", "loss", "use"), elsewhere
        wrong = objective_problem(loss, metric=metric)
        if wrong is not None:
            yield ("training", "loss"), wrong
        if task is not None and (problem := loss_problem(loss, task=task, classes=classes)) is not None:
            yield ("training", "loss", problem[0]), problem[1]
            return  # a loss of another task has other metrics
        named = [name_of(one) for one in options.metrics]  # also those that could not be found
        unmeasured = metric_problem(loss, metric=metric, task=task, own=named)
        if wrong is None and unmeasured is not None:
            yield ("objective", "metric"), unmeasured

    @property
    def own(self) -> UserCode:
        """The code that the options name by import path, imported by `problems`."""
        return NO_USER_CODE if self._found is None else self._found[0]

    def code(self) -> Sequence[CodeFile]:
        return [CodeFile(file=one.use.file, sha256=one.sha256, module=one.use.module) for one in self.own.parts]

    def outputs(self, outputs: int) -> int:
        return outputs_of(self._options.loss, outputs)

    def task(self) -> str | None:
        loss = self._options.loss
        tasks = () if loss is None else self.own.tasks if isinstance(loss, Imported) else TASKS[loss.kind]
        return tasks[0] if len(tasks) == 1 else None

    def loss(self, context: LossContext) -> Mapping[str, Any]:
        return settled(self._options.loss, task=context.task, counts=context.counts)

    def step_size(self) -> StepSize:
        """The configured micro-batch, or the largest power of two within the effective batch."""
        options = self._options
        if options.micro_batch != "auto":
            micro_batch = min(options.micro_batch, options.effective_batch)
        else:
            micro_batch = 1 << (options.effective_batch.bit_length() - 1)
        return StepSize(
            effective_batch=options.effective_batch,
            micro_batch=micro_batch,
            checkpointing=options.activation_checkpointing,
            depends_on_micro_batch=isinstance(options.loss, SoftAuc) or not self.own.over_windows,
            checkpoint_bytes=WEIGHT_BYTES + (STATE_OF_ADAMW if self._state is None else self._state),
        )

    @property
    def _state(self) -> float | None:
        """Bytes per parameter of the state of a user's optimizer."""
        return self.own.optimizer_state

    def device(self, setting: str) -> Device:
        from scalecore_torch.likely_device import likely_device

        return likely_device(setting)

    def conventions(self, begun: PlanReport | None) -> Conventions:
        if begun is None:
            from scalecore_torch.training.product_library import choose_library, read_cpuinfo

            return Conventions(products=choose_library(read_cpuinfo()))
        rule: CompileRule = "savings" if begun.compile_rule == "savings" else "flops"
        return Conventions(products=begun.products, compile_rule=rule)

    def findings(self, *, device: Device, setting: str, conventions: Conventions) -> Iterator[Finding]:
        from scalecore_torch.findings import compile_findings, optimizer_findings, products_findings

        yield from products_findings(setting, conventions.products)
        yield from compile_findings(self._options.compile, device=device)
        yield from optimizer_findings(self.own)

    def spec(self, spec: AttemptSpec, *, conventions: Conventions, compiled: Path | None) -> TorchSpec:
        from scalecore.api.attempts import AttemptSpec
        from scalecore_torch.spec import TorchSpec

        options, schedule = self._options, self._options.schedule
        given: dict[str, Any] = {one.name: getattr(spec, one.name) for one in fields(AttemptSpec)}
        given["plan"] = evolve(
            spec.plan,
            schedule=schedule if isinstance(schedule, str) else schedule.label,
            gradient_clip=options.gradient_clip,
        )
        return TorchSpec(
            **given,
            precision=options.precision,
            compile=options.compile,
            launches=options.launches,
            products=conventions.products,
            compile_rule=conventions.compile_rule,
            compiled=None if compiled is None else str(compiled),
            own=self.own if self.own.parts else None,
        )

    def evaluation_spec(self, trained: Path, *, precision: Evaluation | None) -> TorchSpec:
        from scalecore.api.attempts import AttemptFolder
        from scalecore_torch.spec import TorchSpec

        spec = AttemptFolder(trained).read_own_spec(TorchSpec)
        # Files of code by import path may have moved.
        return evolve(spec, evaluation=precision or "fp32", own=self.own if self.own.parts else None)

    def forecast(self, context: ForecastContext) -> MemoryForecast:
        from scalecore_torch.memory.forecast import TorchForecast

        return TorchForecast(context, self._options, state=self._state)
