"""How a plan is made: data read, shapes enumerated, the machine and the monitors asked."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from attrs import evolve

from scalecore.api.data_report import DataReport
from scalecore.api.dataset import DatasetContext
from scalecore.api.errors import DataError, ScalecoreError
from scalecore.api.monitor import MonitorContext
from scalecore.api.panel import Panel
from scalecore.api.readings import Finding
from scalecore.api.space import DataShape
from scalecore.config.instantiate import create, of_plugin
from scalecore.config.load import LoadedExperiment
from scalecore.config.losses import loss_problem, metric_problem, outputs_of
from scalecore.config.plain import to_plain
from scalecore.config.resolved import Resolved
from scalecore.data.prepare import describe
from scalecore.execution.tracing import ForkTracer
from scalecore.monitoring.monitors import Monitors
from scalecore.planning.conventions import conventions_of, refuse_lost_level
from scalecore.planning.counting import CountedFamily
from scalecore.planning.feasible import Infeasible, feasible_grid
from scalecore.planning.memory_model import MemoryModel
from scalecore.planning.names import family_of, hyperparameter_problems
from scalecore.planning.plan import Plan, data_limits, silent
from scalecore.planning.preflight import (
    compile_findings,
    device_finding,
    folder_findings,
    machine_findings,
    optimizer_findings,
    products_findings,
    room_finding,
    stopping_findings,
    warmup_findings,
)
from scalecore.planning.slots import slots_and_why
from scalecore.planning.versions import code_versions, own_packages, own_versions, source_hash
from scalecore.store.layout import nearest_folder
from scalecore.store.study_device import StudyDevice, kind_of

MEMORY_FILE = "memory.json"


def build_plan(
    loaded: LoadedExperiment,
    resolved: Resolved,
    *,
    folder: Path,
    registry: Mapping[str, Any] | None = None,
    fork_tracer: ForkTracer | None = None,
    say: Callable[[str], None] = silent,
    device: StudyDevice | None = None,
) -> Plan:
    """Read the data, enumerate the shapes, ask the monitors about `folder`, which need not be there yet.

    Writes nothing. `registry` are the arguments with which other processes build their registry; without them, memory
    is predicted by the families' closed forms. `fork_tracer` makes the process that predicts it, where there is one to
    fork. `say` prints one line at the beginning of each stage. `device` is that of a study with trials left to run:
    without it they are refused.
    """
    experiment = resolved.experiment
    with loaded.locating("model"):
        family, parameters = family_of(resolved)
    if problems := [*hyperparameter_problems(loaded, resolved, parameters)]:
        loaded.fail(problems)

    memory = MemoryModel(registry=registry, path=folder / MEMORY_FILE, fork_tracer=fork_tracer)
    memory.start()
    sized = CountedFamily(family, partial(memory.count, resolved))
    say(f"reading the data: dataset {resolved.dataset.use}")
    with loaded.locating("dataset"):
        panel = _read_panel(resolved)
    say("preparing windows, targets and baselines")
    began = conventions_of(folder)
    data = describe(panel, **data_limits(resolved), raw_target=began.old)
    if not began.old:
        refuse_lost_level(loaded, resolved, family, task=data.task)
    shape = _head(loaded, resolved, data)
    search = experiment.search
    say(f"finding the architectures of model {resolved.model.use}")
    try:
        with loaded.locating("model"), of_plugin("model", resolved.model, "cannot tell its architectures"):
            grid = feasible_grid(sized, shape, budget=search.budget, tolerance=search.tolerance, exclude=search.exclude)
    except Infeasible as error:
        loaded.fail([loaded.problem(error.path, str(error))])
    say("checking this machine")
    # Where there is no study's folder yet, they look at the one that would hold it.
    monitors = Monitors.create(resolved.monitors, MonitorContext(folder=nearest_folder(folder)))
    for analysis in resolved.analyses:  # what would be used after the last trial only shall not fail then
        create("analysis", analysis)
    # What decides results; executor, loggers and monitors may be swapped in the middle of a study.
    deciding = (resolved.dataset, resolved.model, resolved.search)
    packages = (
        "scalecore",
        *own_packages(resolved.own),
        *(component.record.factory.__module__.partition(".")[0] for component in deciding),
    )
    companions = {
        component.provider: component.version
        for component in (resolved.executor, *resolved.monitors, *resolved.loggers)
    }
    plan = Plan(
        resolved=resolved,
        experiment=_located(to_plain(resolved), folder),
        panel=panel,
        data=data,
        shape=shape,
        family=sized,
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
            **own_versions(resolved.own),
            # Without the strategy, which may be swapped within a study.
            "code:results": source_hash(packages[:-1]),
        },
        companions=companions,
        findings=(),
        monitors=monitors,
        memory=memory,
        device=device,
        old=began.old,
        products=began.products,
        compile_rule=began.compile_rule,
    )
    return _with_findings(plan, [*_of_machine(plan, folder), *monitors.preflight(plan.floor_demand())])


def _located(experiment: dict[str, Any], folder: Path) -> dict[str, Any]:
    """The experiment with the study's folder also where the file does not give it: so a moved study is known later."""
    return experiment | {"output": experiment["output"] or str(folder)}


def _of_machine(plan: Plan, folder: Path) -> list[Finding]:
    experiment = plan.resolved.experiment
    size = 4 * plan.data.rows * (len(plan.data.features) + 4)
    largest = plan.grid.architectures[-1].num_parameters
    slots, why = slots_and_why(experiment, device=kind_of(plan.device))
    return [
        *machine_findings(),
        device_finding(experiment.training.device, study=plan.device),
        *products_findings(kind_of(plan.device) or experiment.training.device, plan.products),
        *compile_findings(experiment.training.compile, device=plan.likely_device()),
        Finding(level="ok", subject="slots", message=f"{slots} at a time ({why}), as far as their memory fits"),
        *folder_findings(folder),
        room_finding(folder, largest=largest, slots=slots, data=size, state=plan.resolved.own.optimizer_state),
        *optimizer_findings(plan.resolved.own),
        *warmup_findings(
            warmup=min(plan.values("warmup_steps")),
            epochs=max(plan.values("epochs")),
            steps_per_epoch=-(-plan.data.parts["train"].windows // experiment.training.effective_batch),
        ),
        *stopping_findings(experiment, plan.data.baselines),
    ]


def _head(loaded: LoadedExperiment, resolved: Resolved, data: DataReport) -> DataShape:
    """What the model sees, with the head that the loss needs; a loss of another task is refused (guard G11)."""
    loss = resolved.experiment.training.loss
    problem = loss_problem(loss, task=data.task, classes=data.outputs)
    if (of_another := resolved.own.loss_problem(task=data.task)) is not None:
        problem = "use", of_another
    if problem is not None:
        loaded.fail([loaded.problem(("training", "loss", problem[0]), problem[1])])
    metric, own = resolved.experiment.objective.metric, resolved.own.metric_names
    unmeasured = metric_problem(loss, metric=metric, task=data.task, own=own)
    if unmeasured is not None:
        loaded.fail([loaded.problem(("objective", "metric"), unmeasured)])
    return evolve(data.shape, outputs=outputs_of(loss, data.outputs))


def _read_panel(resolved: Resolved) -> Panel:
    component = resolved.dataset
    dataset = create("dataset", component, DatasetContext(seed=resolved.experiment.seed))
    try:
        panel = dataset.panel()
        if not isinstance(panel, Panel):
            raise TypeError(f"panel() returned {type(panel).__name__}, no Panel")
    except ScalecoreError:
        raise
    except (Exception, SystemExit) as error:
        raise DataError(
            f"dataset {component.record.name!r} ({component.provider} {component.version}) failed: "
            f"{type(error).__name__}: {error}"
        ) from error
    return panel


def _with_findings(plan: Plan, findings: Sequence[Finding]) -> Plan:
    flags = [
        Finding(level="warn", subject="data", message=f"{flag['text']} [{flag['guard']}]") for flag in plan.data.flags
    ]
    return evolve(plan, findings=(*flags, *findings))
