"""What will be run, what it needs, and what cannot be known before.

Everything up to the first training step, without torch.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

from attrs import evolve, frozen

from scalecore.api.data_report import DataReport
from scalecore.api.model import SizedFamily
from scalecore.api.panel import Panel
from scalecore.api.plan_report import (
    GridReport,
    MemoryRange,
    MemoryReport,
    MemoryShapes,
    PlanReport,
    ProductsReport,
    ShapeReport,
)
from scalecore.api.readings import Demand, Finding
from scalecore.api.space import Architecture, DataShape, Hyperparameter, Value
from scalecore.api.strategy import SearchContext, SearchStrategy
from scalecore.config.instantiate import create, of_plugin
from scalecore.config.losses import settled
from scalecore.config.resolved import Resolved
from scalecore.data.prepare import prepare
from scalecore.data.rates import OWN_DENOMINATOR
from scalecore.execution.local.devices import find_gpus
from scalecore.monitoring.monitors import Monitors
from scalecore.planning.feasible import Grid
from scalecore.planning.host_memory import host_memory
from scalecore.planning.memory_model import MemoryModel, Prediction
from scalecore.store.events import FORMAT, StudyBegun
from scalecore.store.identity import Unbound, model_content, training_content, unbound
from scalecore.store.record_json import proposed
from scalecore.store.study_device import StudyDevice, torch_build
from scalecore.training.compile_choice import CompileRule
from scalecore.training.memory import Device


def silent(line: str) -> None:
    """Print nothing: what `say` is where nobody waits for a command."""


@frozen(kw_only=True)
class Plan:
    """A study before its first trial."""

    resolved: Resolved
    experiment: Mapping[str, Any]
    panel: Panel
    data: DataReport
    shape: DataShape
    family: SizedFamily
    grid: Grid
    hyperparameters: Mapping[str, Hyperparameter]
    fixed: Mapping[str, Value]
    versions: Mapping[str, str]
    """Of the code that decides results: it may not change unnoticed within a study (guard G26)."""
    companions: Mapping[str, str]
    """Versions of executor, loggers and monitors."""
    findings: Sequence[Finding]
    monitors: Monitors
    memory: MemoryModel
    device: StudyDevice | None = None
    """That of a study that continues, where it is known."""
    old: bool = False
    """Whether version 0.1 began this study (see `scalecore.planning.conventions`)."""
    products: ProductsReport | None = None
    """Of every trial's float32 products on a CPU; None in a study from before there was a choice."""
    compile_rule: CompileRule = "savings"
    """By which `training.compile: auto` decides."""

    @property
    def min_denominator(self) -> int:
        """Windows that the objective must be over in the best epoch, where a model chooses them (guard G19)."""
        experiment = self.resolved.experiment
        if self.old or experiment.objective.metric not in OWN_DENOMINATOR:
            return 0
        return experiment.guards.min_validation_positives * self.data.target.overlap

    @property
    def identity(self) -> dict[str, Any]:
        """The experiment as what a trial is follows from it: `trial_content` takes it."""
        least = {"min_denominator": self.min_denominator} if self.min_denominator else {}
        named = {**self.experiment, "objective": {**self.experiment["objective"], **least}}
        return {**named, "training": self._training}

    @cached_property
    def _training(self) -> Mapping[str, Any]:
        """The section `training` as it identifies a trial."""
        return training_content(self.resolved) if self.resolved.own.parts else self.experiment["training"]

    @property
    def loss(self) -> dict[str, Any]:
        """What every trial minimises, `auto` weights as numbers of the training split."""
        counts = self.data.parts["train"].classes or ()
        return settled(self.resolved.experiment.training.loss, task=self.data.task, counts=counts)

    @cached_property
    def unbound(self) -> Unbound:
        """The settings that no identity contains."""
        return unbound(self.resolved)

    @cached_property
    def model(self) -> dict[str, Any]:
        """The section `model` of the experiment as it identifies a trial."""
        return model_content(self.resolved)

    def begun(self) -> StudyBegun:
        """The journal's event `study`; `model` only where options of it name files."""
        model = None if self.model == self.experiment["model"] else self.model
        return StudyBegun(format=FORMAT, experiment=self.experiment, plan=self.report(), model=model)

    def write_data(self, folder: Path) -> None:
        """Store the prepared data for the attempts; a folder that holds other data is refused (guard G52)."""
        prepare(self.panel, folder, **data_limits(self.resolved), raw_target=self.data.target_scale is None)

    def strategy(self) -> SearchStrategy:
        """A fresh strategy of the study."""
        search = self.resolved.experiment.search
        context = SearchContext(
            architectures=self.grid.architectures,
            dimensions=self.grid.dimensions,
            space=search.space,
            direction=self.resolved.experiment.objective.direction,
            trials=search.trials,
            seed=self.resolved.experiment.seed,
            roles=self.grid.roles,
        )
        strategy: SearchStrategy = create("search strategy", self.resolved.search, context)
        return strategy

    def demand(self, architecture: Architecture, micro_batch: int) -> Demand:
        """Predicted memory of a trial of this shape, with activations recomputed only where the file says so."""
        found = self.predict(architecture, micro_batch, checkpointing=self.checkpointing == "on")
        return self._demand(found.bytes, micro_batch, num_parameters=architecture.num_parameters)

    def _demand(self, memory: int, micro_batch: int, *, num_parameters: int) -> Demand:
        device = self.likely_device()
        host = host_memory((), num_parameters=num_parameters) if device == "cuda" else None
        return Demand(memory=memory, micro_batch=micro_batch, device=device, host_memory=host)

    def least_demand(self, architecture: Architecture) -> tuple[Demand, bool]:
        """The least memory with which this shape can be trained, and whether activations are recomputed for it."""
        kept = self.demand(architecture, 1)
        if self.checkpointing != "auto":
            return kept, self.checkpointing == "on"
        recomputed = self.predict(architecture, 1, checkpointing=True)
        if not recomputed.blocks or recomputed.bytes >= kept.memory:
            return kept, False
        return evolve(kept, memory=recomputed.bytes), True

    def floor_demand(self) -> Demand:
        """The memory without which some shape cannot be trained in any way that the file allows, in closed form."""
        windows = 1 if self.checkpointing == "off" else 0  # recomputed, activations need next to nothing
        largest = max(self.memory.rough(self, one, windows) for one in self.grid.architectures)
        parameters = max(one.num_parameters for one in self.grid.architectures)
        return self._demand(largest, 1, num_parameters=parameters)

    def predict(self, architecture: Architecture, micro_batch: int, *, checkpointing: bool) -> Prediction:
        """Predicted memory of one way to train this shape, waited for."""
        found = self.memory.predict(
            self, architecture, micro_batch, device=self.likely_device(), checkpointing=checkpointing
        )
        assert found is not None  # when its patience is over, the memory model has the closed form
        return found

    @property
    def checkpointing(self) -> str:
        """`auto`, `on` or `off`."""
        return self.resolved.experiment.training.activation_checkpointing

    def likely_device(self) -> Device:
        """The device of the study or that the file asks for; for `auto` what an attempt will most likely find."""
        setting = self.resolved.experiment.training.device
        if self.device is not None:
            return self.device.kind
        if setting != "auto":
            return setting
        gpus = find_gpus()
        return "cuda" if gpus.names and gpus.problem is None and torch_build() != "cpu" else "cpu"

    def first_micro_batch(self) -> int:
        """What an attempt starts with: the setting, or the largest power of two within the effective batch."""
        training = self.resolved.experiment.training
        if training.micro_batch != "auto":
            return min(training.micro_batch, training.effective_batch)
        return 1 << (training.effective_batch.bit_length() - 1)

    def values(self, name: str) -> tuple[Any, ...]:
        """What a hyper-parameter is fixed at, or the bounds that it varies between."""
        return (self.fixed[name],) if name in self.fixed else self.resolved.experiment.search.space[name].bounds()

    def extremes(self) -> dict[str, Architecture]:
        """The `smallest` and the `largest` shape by the memory of a trial, in closed form."""
        micro_batch = self.first_micro_batch()
        ordered = sorted(
            self.grid.architectures, key=lambda one: (self.memory.rough(self, one, micro_batch), one.num_parameters)
        )
        return {"smallest": ordered[0], "largest": ordered[-1]}

    def report(self) -> PlanReport:
        """What `scalecore plan --json` prints and the journal keeps."""
        micro_batch = self.first_micro_batch()
        with of_plugin("search strategy", self.resolved.search, "cannot tell its planned trials"):
            planned = [proposed(proposal) for proposal in self.strategy().planned()]
        search = self.resolved.experiment.search
        return PlanReport(
            name=self.resolved.experiment.name,
            data=self.data,
            architectures=self._grid_report(micro_batch),
            planned=planned,
            trials=search.trials,
            space=search.space,
            fixed=self.fixed,
            loss=self.loss,
            memory=self._memory_report(micro_batch),
            products=self.products,
            compile_rule=self.compile_rule,
            findings=self.findings,
            versions={**self.companions, **self.versions},
        )

    def _memory_report(self, micro_batch: int) -> MemoryReport:
        """One figure for each extreme, in closed form, and its range; a run's trace replaces it."""
        extremes, rough = self.extremes(), self.memory.rough
        smallest, largest = extremes["smallest"], extremes["largest"]
        return MemoryReport(
            micro_batch=micro_batch,
            smallest=rough(self, smallest, micro_batch),
            largest=rough(self, largest, micro_batch),
            floor_of_largest=rough(self, largest, 1),
            source="closed form",
            shapes=MemoryShapes(smallest=smallest.id, largest=largest.id),
            range=MemoryRange(
                smallest=self.memory.rough_range(self, smallest, micro_batch),
                largest=self.memory.rough_range(self, largest, micro_batch),
            ),
        )

    def _grid_report(self, micro_batch: int) -> GridReport:
        """The grid with the predicted memory of each shape."""
        grid = self.grid
        return GridReport(
            feasible=len(grid.architectures),
            legal=grid.legal,
            excluded=grid.excluded,
            budget=grid.budget,
            range=(grid.low, grid.high),
            gaps=grid.gaps(),
            dimensions=grid.dimensions,
            roles=grid.roles,
            architectures=[
                ShapeReport(
                    values=one.values,
                    id=one.id,
                    num_parameters=one.num_parameters,
                    flops=one.flops,
                    memory=self.memory.rough(self, one, micro_batch),
                )
                for one in grid.architectures
            ],
        )


def data_limits(resolved: Resolved) -> dict[str, int]:
    """How many validation windows the data must have, as `describe` and `prepare` take it."""
    guards = resolved.experiment.guards
    return {
        "min_validation_samples": guards.min_validation_samples,
        "min_validation_positives": guards.min_validation_positives,
    }
