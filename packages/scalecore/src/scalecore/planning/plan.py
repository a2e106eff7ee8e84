"""The plan of a study: everything that is known before the first training step, without torch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path
from types import MappingProxyType
from typing import Any

from attrs import frozen

from scalecore.api.data_report import DataReport
from scalecore.api.memory_forecast import StepSize
from scalecore.api.panel import Panel
from scalecore.api.plan_report import GridReport, MemoryReport, PlanReport, ShapeReport
from scalecore.api.readings import Device, Finding
from scalecore.api.space import Architecture, DataShape, Hyperparameter, Value
from scalecore.api.trainer import Conventions
from scalecore.api.trials import Proposal
from scalecore.config.resolved import Resolved
from scalecore.data.prepare import prepare
from scalecore.data.rates import OWN_DENOMINATOR
from scalecore.planning.feasible import FeasibleGrid
from scalecore.store.events import FIRST_FORMAT, StudyBegun
from scalecore.store.identity import Unbound, model_content, training_content, unbound
from scalecore.store.study_device import StudyDevice


def silent(line: str) -> None:
    """Print nothing: the default of `say`."""


@frozen(kw_only=True)
class Plan:
    """A study before its first trial: values only. Live objects are in `scalecore.planning.runtime.Runtime`."""

    resolved: Resolved
    experiment: Mapping[str, Any]
    panel: Panel
    data: DataReport
    shape: DataShape
    grid: FeasibleGrid
    hyperparameters: Mapping[str, Hyperparameter]
    fixed: Mapping[str, Value]
    versions: Mapping[str, str]
    """Versions of the code that decides results, which must not change unnoticed within a study (guard G26)."""
    companions: Mapping[str, str]
    """Versions of executor, loggers and monitors."""
    loss: Mapping[str, Any]
    """The loss that every trial minimises, with `auto` weights as numbers from the training split."""
    step_size: StepSize
    likely_device: Device
    """The device of the study or of the file; for `auto` the one that an attempt will most likely find."""
    conventions: Conventions
    old: bool = False
    """True if version 0.1 started this study (see `scalecore.planning.conventions`)."""
    device: StudyDevice | None = None
    """The device of a resumed study, if known."""
    rough: Mapping[str, int] = MappingProxyType({})
    """Memory of a trial in bytes by shape id, in closed form."""
    memory: MemoryReport | None = None
    """None until `scalecore.planning.build_plan` has computed it."""
    planned: Sequence[Proposal] = ()
    """The proposals of the strategy that do not depend on results."""
    findings: Sequence[Finding] = ()

    @property
    def min_denominator(self) -> int:
        """Minimum number of windows behind the objective in the best epoch, if the model chooses them (guard G19)."""
        experiment = self.resolved.experiment
        if self.old or experiment.objective.metric not in OWN_DENOMINATOR:
            return 0
        return experiment.guards.min_validation_positives * self.data.target.overlap

    @property
    def identity(self) -> dict[str, Any]:
        """The part of the experiment that identifies a trial: the input of `trial_content`."""
        least = {"min_denominator": self.min_denominator} if self.min_denominator else {}
        named = {**self.experiment, "objective": {**self.experiment["objective"], **least}}
        return {**named, "training": self._training}

    @cached_property
    def _training(self) -> Mapping[str, Any]:
        """The section `training` as it identifies a trial."""
        return training_content(self.resolved) if self.resolved.training.code() else self.experiment["training"]

    @cached_property
    def unbound(self) -> Unbound:
        """The settings that are part of no identity."""
        return unbound(self.resolved)

    @cached_property
    def model(self) -> dict[str, Any]:
        """The section `model` of the experiment as it identifies a trial."""
        return model_content(self.resolved)

    def begun(self) -> StudyBegun:
        """Return the journal's event `study`; `model` is set only if its options name files."""
        model = None if self.model == self.experiment["model"] else self.model
        return StudyBegun(format=FIRST_FORMAT, experiment=self.experiment, plan=self.report(), model=model)

    def write_data(self, folder: Path) -> None:
        """Store the prepared data for the attempts; refuse a folder that contains other data (guard G52)."""
        prepare(self.panel, folder, **data_limits(self.resolved), raw_target=self.data.target_scale is None)

    def values(self, name: str) -> tuple[Any, ...]:
        """Return the fixed value of a hyper-parameter, or its bounds; empty if the study does not have it."""
        space = self.resolved.experiment.search.space
        if name in self.fixed:
            return (self.fixed[name],)
        return space[name].bounds() if name in space else ()

    def extremes(self) -> dict[str, Architecture]:
        """Return the `smallest` and the `largest` shape by the memory of a trial, in closed form."""
        ordered = sorted(self.grid.architectures, key=lambda one: (self.rough[one.id], one.num_parameters))
        return {"smallest": ordered[0], "largest": ordered[-1]}

    def room(self, *, slots: int) -> tuple[int, int]:
        """Return the bytes of disk for the prepared data, and for two checkpoints of the largest model per slot."""
        largest = self.grid.architectures[-1].num_parameters
        data = 4 * self.data.rows * (len(self.data.features) + 4)
        return data, int(2.2 * self.step_size.checkpoint_bytes * largest * slots)

    def report(self) -> PlanReport:
        """Return the report that `scalecore plan --json` prints and the journal stores."""
        search, grid = self.resolved.experiment.search, self.grid
        assert self.memory is not None
        return PlanReport(
            name=self.resolved.experiment.name,
            data=self.data,
            architectures=GridReport(
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
                        memory=self.rough[one.id],
                    )
                    for one in grid.architectures
                ],
            ),
            planned=self.planned,
            trials=search.trials,
            space=search.space,
            fixed=self.fixed,
            loss=self.loss,
            memory=self.memory,
            products=self.conventions.products,
            compile_rule=self.conventions.compile_rule,
            findings=self.findings,
            versions={**self.companions, **self.versions},
        )


def data_limits(resolved: Resolved) -> dict[str, int]:
    """Return the minimum numbers of validation windows as arguments of `describe` and `prepare`."""
    guards = resolved.experiment.guards
    return {
        "min_validation_samples": guards.min_validation_samples,
        "min_validation_positives": guards.min_validation_positives,
    }
