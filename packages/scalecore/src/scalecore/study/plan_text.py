"""The plan as people read it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from scalecore.api import formatting
from scalecore.data.dates import span
from scalecore.data.steps import crossing
from scalecore.study.continuation import Change, continuation_lines
from scalecore.study.explain import explain_lines
from scalecore.study.memory_figures import memory_figures, memory_lines
from scalecore.study.record import proposal_from

__all__ = ["plan_lines"]

MAX_SHAPES = 60


def plan_lines(plan: Mapping[str, Any]) -> list[str]:
    """Data, search, needs, findings, and what cannot be known before; from the plan's JSON form."""
    return [
        f"plan of {plan['name']}: {plan['trials']} trials",
        "",
        *_data(plan["data"]),
        f"  loss: {_loss(plan['loss'])}",
        "",
        *_architectures(plan["architectures"], plan["forecast"]),
        "",
        *_planned(plan),
        "",
        *_changes(plan["changes"]),
        *_search(plan),
        "",
        *_needs(plan),
        "",
        *_findings(plan["findings"]),
        "",
        "Unknown until the first trial: the time per trial, and the memory of a real step. A run first traces a step, "
        "which replaces the closed form, and makes a smoke step on the smallest and the largest shape, which checks "
        "that the model trains.",
    ]


def _data(data: Mapping[str, Any]) -> list[str]:
    split = data["split"]
    scale = data.get("target_scale")  # plans of earlier versions have none
    lines = [
        f"Data: {data['name']}, {data['rows']:,} rows, {len(data['features'])} features, context {data['context']}, "
        f"normalise {data['normalise']['kind']}",
        f"  target: {data['target']['text']}"
        + (f"; trained standardised {formatting.scale(scale)}, reported in its own unit" if scale else ""),
        f"  split: {' '.join(filter(None, (split['kind'], formatting.settings(split.get('chosen', {})))))}, purge "
        f"{split['purge']}, embargo {split['embargo']} windows",
    ]
    for name, part in split["parts"].items():
        lines.append(f"  {formatting.part_line(name, part)}")
    if data.get("steps"):  # plans of earlier versions have none
        lines.append(f"  steps: {_steps(data['steps'])}")
    lines += [f"  note: {note}" for note in data["details"].get("notes", ())]
    rates = [year for year in data["base_rates_per_year"] if data["task"] == "binary"]
    if rates:
        shown = ", ".join(f"{year['year']} {year['base_rate']:.0%}" for year in rates)
        lines.append(f"  positives by year: {shown}")
    drifting = sorted({row["feature"] for row in data["drift"] if row["strong"]})
    if drifting:
        lines.append(f"  strong drift from train to val or test: {', '.join(drifting)} (table with --json) [G08]")
    lines.append("  baselines, validation loss with its 95 % interval: the numbers to beat")
    lines += [f"    {formatting.baseline_line(baseline)}" for baseline in data["baselines"]]
    return lines


def _steps(steps: Mapping[str, Any]) -> str:
    usual = f"usually {span(steps['usual'])}" if steps["regular"] else f"irregular, median {span(steps['usual'])}"
    line = f"{usual}; longest {span(steps['longest'])} after row {steps['after_row']} ({steps['after']})"
    if not steps["long"]:
        return line
    crossed = f"crossed by {crossing(steps['windows'], steps['labels'])}"
    are = "is" if steps["long"] == 1 else "are"
    return f"{line}; {steps['long']:,} {are} longer than {span(steps['limit'])}, {crossed} [G56]"


def _loss(loss: Mapping[str, Any]) -> str:
    """`focal gamma=2`; whatever it is, `val_loss` is the task's own."""
    return f"{loss['kind']} {formatting.settings({name: one for name, one in loss.items() if name != 'kind'})}".rstrip()


def _architectures(grid: Mapping[str, Any], forecast: Mapping[str, Any]) -> list[str]:
    shapes = grid["architectures"]
    lines = [f"Architectures: {grid['feasible']} feasible of {grid['legal']} legal ones"]
    if grid["budget"]:
        low, high = grid["range"]
        lines[0] += f", budget {formatting.parameters(grid['budget'])} ({low:,} to {high:,} parameters)"
    if grid["excluded"]:
        lines[0] += f", {grid['excluded']} excluded"
    for name, values in grid["dimensions"].items():
        lines.append(f"  {name}: {', '.join(map(str, values))}")
    # Shapes of one size differ in dimensions that cost no parameters, such as the heads; one line stands for all of
    # them.
    sizes: dict[int, list[Mapping[str, Any]]] = {}
    for shape in shapes:
        sizes.setdefault(shape["num_parameters"], []).append(shape)
    names = list(grid["dimensions"])
    lines.append("  parameters  of budget     memory       time  shape")
    for count, same in list(sizes.items())[:MAX_SHAPES]:
        share = f"{count / grid['budget']:.1%}" if grid["budget"] else ""
        described = " ".join(f"{name}={_values(same, name)}" for name in names)
        more = f" ({len(same)} shapes)" if len(same) > 1 else ""
        memory = formatting.size(max(shape["memory"] for shape in same))
        time = _time(forecast, same)
        lines.append(f"  {formatting.parameters(count):>10}  {share:>9}  {memory:>9}  {time:>9}  {described}{more}")
    if len(sizes) > MAX_SHAPES:
        lines.append(f"  ... and {len(sizes) - MAX_SHAPES} more sizes (all with --json)")
    for low, high in grid["gaps"]:
        lines.append(f"  gap: no shape has between {low:.0%} and {high:.0%} of the budget")
    lines.append("  memory: of a trial at its first micro-batch, in closed form")
    if forecast["trials"]:
        lines.append(
            f"  time: a trial of all {forecast['epochs']} epochs, from FLOPs and the speed of {forecast['trials']} "
            "measured trials"
        )
    else:
        lines.append("  time: not known before a trial of this study was measured")
    return lines


def _values(shapes: Sequence[Mapping[str, Any]], name: str) -> str:
    return "|".join(str(value) for value in sorted({shape[name] for shape in shapes}))


def _time(forecast: Mapping[str, Any], shapes: Sequence[Mapping[str, Any]]) -> str:
    known = [forecast["seconds"][shape["id"]] for shape in shapes]
    slowest = max((seconds for seconds in known if seconds is not None), default=None)
    return "not known" if slowest is None else formatting.duration(slowest)


def _changes(found: Mapping[str, Any]) -> list[str]:
    changes = [Change(**change) for change in found["allowed"]]
    lines = continuation_lines(changes, found["left_out"], found["trials"])
    if found["refused"]:
        lines.append("refused by a run, since trials would not be comparable (in the study -> in the file):")
        lines += [f"  {Change(**change).text()}" for change in found["refused"]]
    return [*lines, ""] if lines else []


def _search(plan: Mapping[str, Any]) -> list[str]:
    if plan["search"]["last"] is None and not plan["search"]["imported"]["count"]:
        told = plan["search"]["strategy"]
        return ["Search so far: no trial yet" + (f"; strategy: {told['method']}" if told else "")]
    return ["Search so far, of the study in this folder:", *(f"  {line}" for line in explain_lines(plan["search"]))]


def _planned(plan: Mapping[str, Any]) -> list[str]:
    proposals = [proposal_from(content) for content in plan["planned"]]
    lines = ["Forced trials, first: " + (str(len(proposals)) if proposals else "none")]
    lines += [
        f"  {one.origin.label}: {formatting.shape(one.architecture)} {formatting.settings(one.hyperparameters)}"
        for one in proposals
    ]
    lines.append("Varied:" + ("" if plan["space"] else " nothing but the architecture"))
    lines += [f"  {name}: {_distribution(content)}" for name, content in plan["space"].items()]
    lines.append(f"Fixed: {formatting.settings(plan['fixed'])}")
    return lines


def _distribution(content: Mapping[str, Any]) -> str:
    return ", ".join(f"{key} {value}" for key, value in content.items())


def _needs(plan: Mapping[str, Any]) -> list[str]:
    figures = plan.get("figures") or memory_figures(plan["memory"], None)
    return ["Memory of a trial, predicted:", *(f"  {line}" for line in memory_lines(figures))]


def _findings(findings: list[Mapping[str, Any]]) -> list[str]:
    lines = ["Checks:"]
    for finding in findings:
        remedy = f"; {finding['remedy']}" if finding["remedy"] else ""
        lines.append(f"  {finding['level']:6} {finding['subject']}: {finding['message']}{remedy}")
    return lines
