"""What a run of all studies with their analyses takes: trials, trainings, time, memory, disk, and what it can show."""

from __future__ import annotations

import shutil
import statistics
from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path

import psutil
from attrs import asdict, evolve, frozen

from scalecore.api.analysis import AnalysisPlan, PlannedTraining, SupportsPlan
from scalecore.api.errors import ExperimentError, PluginError, ScalecoreError
from scalecore.api.files import plain
from scalecore.api.trials import StudyView
from scalecore.campaign.run import COMPLETE
from scalecore.cgroups import own_cgroups
from scalecore.config.instantiate import make
from scalecore.config.resolved import ResolvedComponent
from scalecore.planning.preview import PlanPreview
from scalecore.planning.slots import slots_of
from scalecore.planning.time_estimates import Forecast, borrowed_forecast, seconds_left
from scalecore.store.layout import StudyFolder, nearest_folder, output_folder
from scalecore.store.study_device import kind_of
from scalecore.study.dry_run import Foreseen
from scalecore.views.read_study import read_study


@frozen(kw_only=True, eq=False)
class PlannedStudy:
    """A study of the plan, which may have begun."""

    label: str
    values: Mapping[str, object]
    """The values of the swept keys."""
    foreseen: Foreseen
    preview: PlanPreview

    @property
    def folder(self) -> StudyFolder:
        return StudyFolder(output_folder(self.foreseen.plan.resolved.experiment))

    @property
    def windows(self) -> int:
        """The number of training windows."""
        return self.foreseen.plan.data.parts["train"].windows

    @cached_property
    def slots(self) -> int:
        """Trials at a time, if memory allows. `auto` may look for GPUs."""
        plan = self.foreseen.plan
        return slots_of(plan.resolved.experiment, device=kind_of(plan.device))

    def view(self) -> StudyView:
        """The study for analyses: as its folder contains it, with the current plan."""
        report, plan, folder = self.preview.plan, self.foreseen.plan, self.folder
        if self.foreseen.state.plan is None:
            return StudyView(
                name=report.name,
                folder=folder.path,
                experiment=plan.experiment,
                plan=report,
                total=report.trials,
                trials=(),
            )
        read = read_study(folder)
        return evolve(read, name=report.name, experiment=plan.experiment, plan=report, total=report.trials)


@frozen(kw_only=True)
class SearchCost:
    """The search of one study. Times are in seconds, None if unknown; memory and disk in bytes."""

    study: str
    values: Mapping[str, object]
    trials: int
    finished: int
    left: int
    shapes: int
    parameters: tuple[int, int]
    memory: int | None
    """Of the shape that needs the most, at its initial micro-batch."""
    memory_floor: int | None
    """The same at micro-batch 1."""
    memory_source: str
    slots: int
    trial_seconds: float | None
    """Mean over the shapes, without early stopping."""
    seconds_left: float | None
    measured: int
    """Number of timed trials behind the times."""
    borrowed: bool
    """Whether these are trials of other studies."""


@frozen(kw_only=True)
class AnalysisCost:
    """The trainings that an analysis adds to those of the analyses before it, and its own text."""

    analysis: str
    trainings: int = 0
    left: int = 0
    shared: int = 0
    """Trainings that an analysis before it needs too."""
    at_most: bool = False
    seconds_left: float | None = 0.0
    lines: Sequence[str] = ()
    data: Mapping[str, object] = {}
    problem: str | None = None
    """Why the analysis has no plan."""


@frozen(kw_only=True)
class WholePlan:
    """The whole of a campaign, or of one study with its analyses."""

    searches: Sequence[SearchCost]
    analyses: Sequence[AnalysisCost]
    seconds_left: float | None
    machine_memory: int
    """The machine's memory or the container's limit, in bytes."""
    disk: int
    """Data, predictions of all trials left, and the checkpoints of the largest study, in bytes."""
    disk_free: int | None
    notes: Sequence[str]

    def plain(self) -> dict[str, object]:
        """Return JSON types."""
        result: dict[str, object] = plain(asdict(self))
        return result


def whole_plan(studies: Sequence[PlannedStudy], analyses: Sequence[ResolvedComponent], *, folder: Path) -> WholePlan:
    """Add up all studies and ask each analysis; `folder` is that of the campaign, or of the only study."""
    forecasts = {id(one): _forecast(one, studies) for one in studies}
    searches = [_search(one, *forecasts[id(one)]) for one in studies]
    costs = _analyses(studies, analyses, {one.preview.plan.name: forecasts[id(one)][0] for one in studies})
    seconds = [*(one.seconds_left for one in searches), *(one.seconds_left for one in costs)]
    try:
        free = shutil.disk_usage(nearest_folder(folder)).free
    except OSError:
        free = None
    return WholePlan(
        searches=searches,
        analyses=costs,
        seconds_left=None if None in seconds else sum(one or 0.0 for one in seconds),
        machine_memory=_machine_memory(),
        disk=_disk(studies, searches, trainings=sum(one.left for one in costs)),
        disk_free=free,
        notes=_other_windows(studies),
    )


def _forecast(study: PlannedStudy, studies: Sequence[PlannedStudy]) -> tuple[Forecast, bool]:
    """The time of a trial by its own trials, or else by those of studies of the same kind; and whether it is borrowed.

    These are studies with the same model family, trainer and device.
    """
    own, plan = study.preview.forecast, study.foreseen.plan
    if own.trials:
        return own, False
    others = [
        (one.foreseen.state.records, one.windows)
        for one in studies
        if one.foreseen.plan.likely_device == plan.likely_device
        and one.foreseen.plan.resolved.model.record == plan.resolved.model.record
        and one.foreseen.plan.resolved.trainer.record == plan.resolved.trainer.record
    ]
    shapes = plan.grid.architectures
    return borrowed_forecast(shapes, others, windows=study.windows, epochs=own.epochs), True


def _search(study: PlannedStudy, forecast: Forecast, borrowed: bool) -> SearchCost:
    plan, state, preview = study.foreseen.plan, study.foreseen.state, study.preview
    trials, finished = preview.plan.trials, len(state.counted)
    left = 0 if state.end in COMPLETE and state.total == trials else max(0, trials - finished)
    each = _typical(forecast)
    seconds = None if each is None else each * left / study.slots
    if not borrowed:
        seconds = seconds_left(state.counted, total=finished + left, slots=study.slots, running=())
    sizes = [one.num_parameters for one in plan.grid.architectures]
    largest = preview.figures.get("largest")
    return SearchCost(
        study=study.label,
        values=dict(study.values),
        trials=trials,
        finished=finished,
        left=left,
        shapes=len(sizes),
        parameters=(min(sizes), max(sizes)),
        memory=None if largest is None else largest.bytes,
        memory_floor=None if largest is None else preview.plan.memory.floor_of_largest,
        memory_source="unknown" if largest is None else largest.source,
        slots=study.slots,
        trial_seconds=each,
        seconds_left=seconds if left else 0.0,
        measured=forecast.trials,
        borrowed=borrowed and forecast.trials > 0,
    )


def _typical(forecast: Forecast) -> float | None:
    known = [seconds for seconds in forecast.seconds.values() if seconds is not None]
    return statistics.fmean(known) if known else None


def _analyses(
    studies: Sequence[PlannedStudy], analyses: Sequence[ResolvedComponent], forecasts: Mapping[str, Forecast]
) -> list[AnalysisCost]:
    """The analyses that can be planned, in order. An error of one is its result, since the studies can run anyway."""
    by_name = {one.preview.plan.name: one for one in studies}
    views: list[StudyView] = []
    wanted: list[PlannedTraining] = []
    found: list[AnalysisCost] = []
    for component in analyses:
        try:
            analysis = make("analysis", component, component.options)
            if not isinstance(analysis, SupportsPlan):
                continue
            views = views or [one.view() for one in studies]
            least = component.record.studies  # type: ignore[attr-defined]  # an AnalysisRecord
            if len(views) < least:
                raise ExperimentError(f"it needs at least {least} studies")
            planned = analysis.plan(views, wanted=tuple(wanted))
            if unknown := {one.study for one in planned.trainings} - {*by_name}:
                who, names = f"{component.provider} {component.version}", " and ".join(by_name)
                raise PluginError(f"{who} planned trainings of a study {min(unknown)!r}, which is none of {names}")
            found.append(_cost(component.use, planned, wanted, by_name, forecasts))
            wanted += planned.trainings
        except ScalecoreError as error:
            found.append(AnalysisCost(analysis=component.use, problem=str(error)))
        except Exception as error:  # a bug of the plugin, which must not hide the rest of the plan
            problem = f"{component.provider} {component.version} failed: {type(error).__name__}: {error}"
            found.append(AnalysisCost(analysis=component.use, problem=problem))
    return found


def _cost(
    name: str,
    planned: AnalysisPlan,
    wanted: Sequence[PlannedTraining],
    studies: Mapping[str, PlannedStudy],
    forecasts: Mapping[str, Forecast],
) -> AnalysisCost:
    """Count each training once; equal ones of analyses before it are shared."""
    before: dict[tuple[str, str], tuple[int, int]] = {}
    for one in wanted:
        key = (one.study, one.configuration)
        seeds, done = before.get(key, (0, 0))
        before[key] = max(seeds, one.seeds), max(done, one.done)
    total = left = shared = 0
    seconds: float | None = 0.0
    for one in planned.trainings:
        key = (one.study, one.configuration)
        seeds, done = before.get(key, (0, 0))
        more = max(0, one.seeds - seeds)
        open_ones = max(0, max(one.seeds, seeds) - max(one.done, done) - (seeds - done))
        before[key] = max(seeds, one.seeds), max(done, one.done)
        total, left, shared = total + more, left + open_ones, shared + one.seeds - more
        each = _seconds(one, forecasts[one.study])
        if open_ones and seconds is not None:
            seconds = None if each is None else seconds + each * open_ones / studies[one.study].slots
    return AnalysisCost(
        analysis=name,
        trainings=total,
        left=left,
        shared=shared,
        at_most=planned.at_most,
        seconds_left=seconds,
        lines=tuple(planned.lines),
        data=plain(dict(planned.data)),
    )


def _seconds(training: PlannedTraining, forecast: Forecast) -> float | None:
    shape = training.architecture
    each = _typical(forecast) if shape is None else forecast.seconds.get(shape.id)
    if each is None or training.epochs is None or not forecast.epochs:
        return each
    return each * training.epochs / forecast.epochs


def _machine_memory() -> int:
    limits = [limit.bytes for group in own_cgroups() if (limit := group.limit()) is not None]
    return min([psutil.virtual_memory().total, *limits])


def _disk(studies: Sequence[PlannedStudy], searches: Sequence[SearchCost], *, trainings: int) -> int:
    """Data and predictions stay; checkpoints are those of the running study. Trainings count as the largest trial."""
    rooms = [one.foreseen.plan.room(slots=one.slots) for one in studies]
    data = sum(room[0] for one, room in zip(studies, rooms, strict=True) if not one.folder.data.exists())
    # Per window: float32 outputs and label, int64 time and row, uncompressed.
    kept = [one.foreseen.plan.data.parts["val"].windows * (4 * one.foreseen.plan.shape.outputs + 20) for one in studies]
    predictions = sum(size * cost.left for size, cost in zip(kept, searches, strict=True))
    return data + predictions + max(kept, default=0) * trainings + max((room[1] for room in rooms), default=0)


def _other_windows(studies: Sequence[PlannedStudy]) -> list[str]:
    """A sentence for each target that studies evaluate on different validation windows."""
    groups: dict[tuple[str, str], dict[tuple[int, str, str], str]] = {}
    for one in studies:
        data = one.preview.plan.data
        part = data.parts["val"]
        windows = (part.windows, str(part.samples[0]), str(part.samples[1]))
        groups.setdefault((data.name, data.target.hash), {}).setdefault(windows, one.label)
    return [
        "validation windows differ between studies of one target, so their losses are not comparable: "
        + "; ".join(f"{label} {count:,} from {first} to {last}" for (count, first, last), label in found.items())
        for found in groups.values()
        if len(found) > 1
    ]
