"""Build a plan: read the data, enumerate the shapes, check the machine and query the monitors."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from attrs import evolve

from scalecore.api.data_report import DataReport
from scalecore.api.dataset import DatasetContext
from scalecore.api.errors import DataError, PluginError, ScalecoreError
from scalecore.api.memory_forecast import ForecastContext, MemoryForecast, TrainingSetup
from scalecore.api.model import ClosedForms
from scalecore.api.monitor import MonitorContext
from scalecore.api.panel import Panel
from scalecore.api.plan_report import MemoryRange, MemoryReport, MemoryShapes
from scalecore.api.readings import Finding
from scalecore.api.space import DataShape
from scalecore.api.trainer import LossContext
from scalecore.config.experiment_json import plain_value, to_plain
from scalecore.config.instantiate import create, of_plugin
from scalecore.config.load import LoadedExperiment
from scalecore.config.missing_trainer import UNKNOWN, MissingTrainer
from scalecore.config.resolve import training_choices
from scalecore.config.resolved import Resolved
from scalecore.data.prepare import describe
from scalecore.execution.attempt_spec import AttemptSpec
from scalecore.monitoring.monitors import Monitors
from scalecore.planning.build_spec import attempt_spec
from scalecore.planning.check_names import family_of, hyperparameter_problems, refuse_missing_trainer
from scalecore.planning.conventions import begun_plan, refuse_lost_level
from scalecore.planning.counting import CountedFamily
from scalecore.planning.feasible import Infeasible, feasible_grid
from scalecore.planning.memory_demands import Demands
from scalecore.planning.plan import Plan, data_limits, silent
from scalecore.planning.preflight import (
    device_finding,
    folder_findings,
    forced_findings,
    machine_findings,
    room_finding,
    stopping_findings,
    warmup_findings,
)
from scalecore.planning.runtime import Runtime, new_strategy
from scalecore.planning.slots import slots_and_why
from scalecore.planning.versions import code_versions, file_versions, named_packages, source_hash
from scalecore.store.layout import nearest_folder
from scalecore.store.record_json import proposed
from scalecore.store.study_device import StudyDevice, kind_of


def build_plan(
    loaded: LoadedExperiment,
    resolved: Resolved,
    *,
    folder: Path,
    registry: Mapping[str, Any] | None = None,
    fork_tracer: Callable[[int, int], bool] | None = None,
    say: Callable[[str], None] = silent,
    device: StudyDevice | None = None,
    foresees: bool = False,
) -> tuple[Plan, Runtime]:
    """Read the data, enumerate the shapes, and query the monitors about `folder`, which need not exist yet.

    Writes nothing. `registry` contains the arguments with which other processes build their registry; without it,
    memory is predicted in closed form. `fork_tracer` forks the process that traces memory, if the executor supports
    that. `say` prints one line at the start of each stage. `device` is the device of a study with trials left to run:
    the plan refuses to run without it. With `foresees` nothing will be trained, so that the trainer's package may be
    missing.
    """
    experiment = resolved.experiment
    trainer = resolved.training
    if not foresees:
        refuse_missing_trainer(loaded, resolved)
    with loaded.locating("model"):
        family, parameters = family_of(resolved)
    if problems := [*hyperparameter_problems(loaded, resolved, parameters)]:
        loaded.fail(problems)

    forecast = trainer.forecast(
        ForecastContext(
            folder=folder,
            registry=resolved.registry(registry or {}),
            traces=registry is not None,
            model={"use": resolved.model.use, "options": plain_value(resolved.model.options)},
            code=partial(_code_of_model, resolved),
            fork=fork_tracer,
        )
    )
    forecast.start()
    sized = CountedFamily(
        family,
        partial(_counted, resolved, forecast),
        guard=partial(of_plugin, "model", resolved.model),
        activations=forecast.counts,
    )
    say(f"reading the data: dataset {resolved.dataset.use}")
    with loaded.locating("dataset"):
        panel = _read_panel(resolved)
    say("preparing windows, targets and baselines")
    begun = begun_plan(folder)
    old = begun is not None and begun.data.of_version_0_1
    data = describe(panel, **data_limits(resolved), raw_target=old)
    if not old:
        refuse_lost_level(loaded, resolved, family, task=data.task)
    shape = _head(loaded, resolved, data)
    search = experiment.search
    say(f"finding the architectures of model {resolved.model.use}")
    try:
        with loaded.locating("model"), of_plugin("model", resolved.model, "cannot list its architectures"):
            grid = feasible_grid(sized, shape, budget=search.budget, tolerance=search.tolerance, exclude=search.exclude)
    except Infeasible as error:
        loaded.fail([loaded.problem(error.path, str(error))])
    say("checking this machine")
    # If the study's folder does not exist yet, the monitors check its nearest existing parent.
    monitors = Monitors.create(resolved.monitors, MonitorContext(folder=nearest_folder(folder)))
    for analysis in resolved.analyses:  # used only after the last trial; an error should appear now
        create("analysis", analysis)
    # Components that decide results; executor, loggers and monitors may change during a study.
    deciding = (resolved.dataset, resolved.model, resolved.trainer, resolved.search)
    packages = (
        "scalecore",
        *named_packages(trainer.code()),
        *(component.record.factory.__module__.partition(".")[0] for component in deciding),
    )
    companions = {
        component.provider: component.version
        for component in (resolved.executor, *resolved.monitors, *resolved.loggers)
    }
    counts = data.parts["train"].classes or ()
    plan = Plan(
        resolved=resolved,
        experiment=_located(to_plain(resolved), folder),
        panel=panel,
        data=data,
        shape=shape,
        grid=grid,
        hyperparameters=parameters,
        fixed={
            name: experiment.training.hyperparameters.get(name, parameter.default)
            for name, parameter in parameters.items()
            if name not in search.space
        },
        versions={
            **code_versions(("scalecore", *(one.provider for one in deciding)), packages=packages),
            **{one.provider: one.version for one in deciding if one.provider.endswith(".py")},
            **file_versions(trainer.code()),
            # Without the strategy, which may change during a study.
            "code:results": source_hash(packages[:-1]),
        },
        companions=companions,
        loss=trainer.loss(LossContext(task=data.task, counts=counts)),
        step_size=trainer.step_size(),
        likely_device=kind_of(device) or trainer.device(experiment.training.device),
        conventions=trainer.conventions(begun),
        old=old,
        device=device,
    )
    runtime = Runtime(family=sized, forecast=forecast, monitors=monitors)
    forecast.prepare(training_setup(plan, runtime))
    with loaded.locating("search"), of_plugin("search strategy", resolved.search, "cannot list its planned trials"):
        plan = evolve(plan, planned=[proposed(proposal) for proposal in new_strategy(plan).planned()])
    return _completed(plan, runtime, folder), runtime


def _completed(plan: Plan, runtime: Runtime, folder: Path) -> Plan:
    """Add the memory of the shapes, and the findings of this machine."""
    micro_batch, forecast = plan.step_size.micro_batch, runtime.forecast
    rough = {one.id: forecast.rough(one, micro_batch) for one in plan.grid.architectures}
    plan = evolve(plan, rough=rough)
    extremes = plan.extremes()
    smallest, largest = extremes["smallest"], extremes["largest"]
    memory = MemoryReport(
        micro_batch=micro_batch,
        smallest=rough[smallest.id],
        largest=rough[largest.id],
        floor_of_largest=forecast.rough(largest, 1),
        source=_memory_source(plan, forecast),
        shapes=MemoryShapes(smallest=smallest.id, largest=largest.id),
        range=MemoryRange(
            smallest=forecast.rough_range(smallest, micro_batch), largest=forecast.rough_range(largest, micro_batch)
        ),
    )
    plan = evolve(plan, memory=memory)
    flags = [
        Finding(level="warn", subject="data", message=f"{flag['text']} [{flag['guard']}]") for flag in plan.data.flags
    ]
    machine = _of_machine(plan, folder)
    floor = Demands(plan, forecast).floor()
    return evolve(plan, findings=(*flags, *machine, *runtime.monitors.preflight(floor)))


def _memory_source(plan: Plan, forecast: MemoryForecast) -> str:
    if isinstance(plan.resolved.training, MissingTrainer):
        return UNKNOWN
    return "closed form" if forecast.counts else "as set"


def training_setup(plan: Plan, runtime: Runtime) -> TrainingSetup:
    """Return the training setup for which the forecast predicts memory."""
    return TrainingSetup(
        shape=plan.shape,
        family=runtime.family,
        depth=plan.grid.depth,
        windows={name: part.windows for name, part in plan.data.parts.items()},
        fixed=plan.fixed,
        space=plan.resolved.experiment.search.space,
        versions=plan.versions,
        device=plan.likely_device,
        step_size=plan.step_size,
        spec=partial(_spec_to_ask_of, plan),
    )


def _spec_to_ask_of(plan: Plan, **given: Any) -> AttemptSpec:
    """Return an attempt spec for a query only: no such attempt runs."""
    return attempt_spec(plan, mode="train", attempt="", number=None, seed=0, data=Path(), threads=1, **given)


def _code_of_model(resolved: Resolved) -> dict[str, str]:
    """Return the versions that a cached count of the model depends on."""
    packages = {one.record.factory.__module__.partition(".")[0] for one in (resolved.model, resolved.trainer)}
    providers = ("scalecore", resolved.model.provider, resolved.trainer.provider)
    return code_versions(providers, packages=("scalecore", *packages))


def _counted(
    resolved: Resolved,
    forecast: MemoryForecast,
    architectures: Sequence[Mapping[str, int]],
    data: DataShape,
    forward: bool,
) -> Sequence[Mapping[str, int]]:
    try:
        return forecast.count(architectures, data, forward)
    except ValueError as error:
        model = resolved.model
        who = f"model {model.name!r} ({model.provider} {model.version})"
        if not forecast.counts:
            text = f"{who} cannot be counted: {error}; implement num_parameters and flops in the family"
            raise PluginError(text) from None
        methods = ", ".join(name for name in vars(ClosedForms) if not name.startswith("_"))
        raise PluginError(
            f"{who} cannot be counted: {error}; fix its `build`, or implement {methods} in the family"
        ) from None


def _located(experiment: dict[str, Any], folder: Path) -> dict[str, Any]:
    """Add the study's folder if the file does not set `output`, so that a moved study is recognised later."""
    return experiment | {"output": experiment["output"] or str(folder)}


def _of_machine(plan: Plan, folder: Path) -> list[Finding]:
    experiment = plan.resolved.experiment
    slots, why = slots_and_why(experiment, device=kind_of(plan.device))
    setting = kind_of(plan.device) or experiment.training.device
    data, checkpoints = plan.room(slots=slots)
    warmup, epochs = plan.values("warmup_steps"), plan.values("epochs")
    return [
        *machine_findings(),
        device_finding(experiment.training.device, study=plan.device),
        *plan.resolved.training.findings(device=plan.likely_device, setting=setting, conventions=plan.conventions),
        Finding(level="ok", subject="slots", message=f"up to {slots} at a time ({why}), as memory allows"),
        *forced_findings(planned=len(plan.planned), trials=experiment.search.trials),
        *folder_findings(folder),
        room_finding(folder, data=data, checkpoints=checkpoints),
        *warmup_findings(
            warmup=min(warmup, default=0),
            epochs=max(epochs, default=1),
            steps_per_epoch=-(-plan.data.parts["train"].windows // plan.step_size.effective_batch),
        ),
        *stopping_findings(experiment, plan.data.baselines),
    ]


def _head(loaded: LoadedExperiment, resolved: Resolved, data: DataReport) -> DataShape:
    """Return the data shape with the outputs that the loss needs; refuse a loss for another task (guard G11)."""
    choices = training_choices(resolved.experiment)
    trainer = resolved.training
    for path, text in trainer.problems(choices, task=data.task, classes=data.outputs):
        loaded.fail([loaded.problem(path, text)])
    return evolve(data.shape, outputs=trainer.outputs(data.outputs))


def _read_panel(resolved: Resolved) -> Panel:
    component = resolved.dataset
    dataset = create("dataset", component, DatasetContext(seed=resolved.experiment.seed))
    try:
        panel = dataset.panel()
        if not isinstance(panel, Panel):
            raise TypeError(f"panel() returned {type(panel).__name__}, not a Panel")
    except ScalecoreError:
        raise
    except (Exception, SystemExit) as error:
        raise DataError(
            f"dataset {component.record.name!r} ({component.provider} {component.version}) failed: "
            f"{type(error).__name__}: {error}"
        ) from error
    return panel
