"""The text of `scalecore plan`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from scalecore.api import formatting
from scalecore.api.data_report import DataReport, Steps
from scalecore.api.plan_report import GridReport, MemoryReport, PlanReport, ShapeReport
from scalecore.api.readings import Finding
from scalecore.api.space import Distribution, distribution_plain
from scalecore.config.missing_trainer import UNKNOWN
from scalecore.data.dates import span
from scalecore.data.steps import crossing
from scalecore.planning.continuation import continuation_lines
from scalecore.planning.explain import explain_lines
from scalecore.planning.memory_figures import MemoryFigure, memory_lines
from scalecore.planning.preview import PlannedChanges, PlanPreview
from scalecore.planning.time_estimates import Forecast

MAX_SHAPES = 60


def plan_lines(preview: PlanPreview) -> list[str]:
    """Return the lines of the plan: data, architectures, search, memory, findings, and what only a run can measure."""
    plan = preview.plan
    return [
        f"plan of {plan.name}: {plan.trials} trials",
        "",
        *_data(plan.data),
        f"  loss: {_loss(plan.loss)}",
        "",
        *_architectures(plan.architectures, preview.forecast, memory=plan.memory.source),
        "",
        *_planned(plan),
        "",
        *_changes(preview.changes),
        *_search(preview.search),
        "",
        *_memory(plan.memory, preview.figures),
        "",
        *_findings(plan.findings),
        *_unknown(plan.memory, preview.forecast),
    ]


def _unknown(memory: MemoryReport, forecast: Forecast) -> list[str]:
    """What only a run can measure; nothing once a trial of the study has."""
    if forecast.trials:
        return []
    traced = "traces a step, which replaces the closed form, and " if memory.source == "closed form" else ""
    return [
        "",
        "Unknown until the first trial: the time per trial and the memory of a real step. A run first "
        f"{traced}runs a smoke step on the smallest and the largest shape to check that the model trains.",
    ]


def _data(data: DataReport) -> list[str]:
    split, scale = data.split, data.target_scale
    lines = [
        f"Data: {data.name}, {data.rows:,} rows, {len(data.features)} features, context {data.context}, "
        f"normalise {data.normalise.kind}",
        f"  target: {data.target.text}"
        + (f"; standardised in training {formatting.scale(scale)}, reported in its own unit" if scale else ""),
        f"  split: {' '.join(filter(None, (split.kind, formatting.settings(split.chosen or {}))))}, purge "
        f"{split.purge}, embargo {split.embargo} windows",
    ]
    for name, part in data.parts.items():
        lines.append(f"  {formatting.part_line(name, part)}")
    if data.steps is not None:
        lines.append(f"  steps: {_steps(data.steps)}")
    lines += [f"  note: {note}" for note in data.notes]
    rates = [year for year in data.base_rates_per_year if data.task == "binary"]
    if rates:
        shown = ", ".join(f"{year.year} {year.base_rate:.0%}" for year in rates)
        lines.append(f"  positives by year: {shown}")
    drifting = sorted({row.feature for row in data.drift if row.strong})
    if drifting:
        lines.append(f"  strong drift from train to val or test: {', '.join(drifting)} (table with --json)")
    lines.append("  baselines to beat, validation loss with 95 % interval:")
    lines += [f"    {formatting.baseline_line(baseline)}" for baseline in data.baselines]
    return lines


def _steps(steps: Steps) -> str:
    usual = f"usually {span(steps.usual)}" if steps.regular else f"irregular, median {span(steps.usual)}"
    line = f"{usual}; longest {span(steps.longest)} after row {steps.after_row} ({steps.after})"
    if not steps.long:
        return line
    crossed = f"crossed by {crossing(steps.windows, steps.labels)}"
    are = "is" if steps.long == 1 else "are"
    return f"{line}; {steps.long:,} {are} longer than {span(steps.limit)}, {crossed}"


def _loss(loss: Mapping[str, object]) -> str:
    """Return the training loss as text: `focal gamma=2`. `val_loss` is always the loss of the task."""
    return f"{loss['kind']} {formatting.settings({name: one for name, one in loss.items() if name != 'kind'})}".rstrip()


def _memory(planned: MemoryReport, figures: Mapping[str, MemoryFigure]) -> list[str]:
    if planned.source == UNKNOWN:
        return ["Predicted memory of a trial: unknown without the trainer"]
    return ["Predicted memory of a trial:", *(f"  {line}" for line in memory_lines(figures))]


def _architectures(grid: GridReport, forecast: Forecast, *, memory: str) -> list[str]:
    """Return a table of sizes with predicted memory and time; `memory` is the source of the memory figures."""
    lines = [f"Architectures: {grid.feasible} feasible of {grid.legal} legal"]
    if grid.budget:
        lines[0] += f", budget {formatting.parameters(grid.budget)} ({grid.low:,} to {grid.high:,} parameters)"
    if grid.excluded:
        lines[0] += f", {grid.excluded} excluded"
    for name, values in grid.dimensions.items():
        lines.append(f"  {name}: {', '.join(map(str, values))}")
    # One line per size: its shapes differ only in dimensions that add no parameters, such as the heads.
    sizes: dict[int, list[ShapeReport]] = {}
    for shape in grid.architectures:
        sizes.setdefault(shape.num_parameters, []).append(shape)
    names = list(grid.dimensions)
    lines.append("  parameters  of budget     memory       time  shape")
    for count, same in list(sizes.items())[:MAX_SHAPES]:
        share = f"{count / grid.budget:.1%}" if grid.budget else ""
        described = " ".join(f"{name}={_values(same, name)}" for name in names)
        more = f" ({len(same)} shapes)" if len(same) > 1 else ""
        needed = formatting.size(max(shape.memory or 0 for shape in same)) if memory != UNKNOWN else "unknown"
        time = _time(forecast, same)
        lines.append(f"  {formatting.parameters(count):>10}  {share:>9}  {needed:>9}  {time:>9}  {described}{more}")
    if len(sizes) > MAX_SHAPES:
        lines.append(f"  ... and {len(sizes) - MAX_SHAPES} more sizes (all with --json)")
    for low, high in grid.gaps:
        lines.append(f"  gap: no shape between {low:.0%} and {high:.0%} of the budget")
    if memory == "closed form":
        lines.append("  memory: of a trial at its initial micro-batch, in closed form")
    if forecast.trials:
        lines.append(
            f"  time: a trial of {forecast.epochs} epochs, estimated from FLOPs and the speed of {forecast.trials} "
            "finished trials"
        )
    else:
        lines.append("  time: unknown until a trial of this study finishes")
    return lines


def _values(shapes: Sequence[ShapeReport], name: str) -> str:
    return "|".join(str(value) for value in sorted({shape.values[name] for shape in shapes}))


def _time(forecast: Forecast, shapes: Sequence[ShapeReport]) -> str:
    known = [forecast.seconds[shape.id] for shape in shapes]
    slowest = max((seconds for seconds in known if seconds is not None), default=None)
    return "unknown" if slowest is None else formatting.duration(slowest)


def _changes(found: PlannedChanges) -> list[str]:
    lines = continuation_lines(found.allowed, found.left_out, found.trials)
    if found.refused:
        lines.append("a run refuses these changes, because trials would not be comparable (study -> file):")
        lines += [f"  {change.text()}" for change in found.refused]
    return [*lines, ""] if lines else []


def _search(search: Mapping[str, Any]) -> list[str]:
    if search["last"] is None and not search["imported"]["count"]:
        strategy = search["strategy"]
        return ["Search so far: no trial yet" + (f"; strategy: {strategy['method']}" if strategy else "")]
    return ["Search so far (study in this folder):", *(f"  {line}" for line in explain_lines(search))]


def _planned(plan: PlanReport) -> list[str]:
    lines = ["Forced trials (run first): " + (str(len(plan.planned)) if plan.planned else "none")]
    lines += [
        f"  {one.origin.label}: {formatting.shape(one.architecture)} {formatting.settings(one.hyperparameters)}"
        for one in plan.planned
    ]
    lines.append("Varied:" + ("" if plan.space else " only the architecture"))
    lines += [f"  {name}: {_distribution(one)}" for name, one in plan.space.items()]
    lines.append(f"Fixed: {formatting.settings(plan.fixed)}")
    return lines


def _distribution(distribution: Distribution) -> str:
    return ", ".join(f"{key} {value}" for key, value in distribution_plain(distribution).items())


def _findings(findings: Sequence[Finding]) -> list[str]:
    lines = ["Checks:"]
    for finding in findings:
        remedy = f"; {finding.remedy}" if finding.remedy else ""
        lines.append(f"  {finding.level:6} {finding.subject}: {finding.message}{remedy}")
    return lines
