"""The verdict of each group, the loss against size with fits, the residuals, and the laws."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from scalecore.api.errors import DataError
from scalecore_analysis.options import ScalingLawOptions
from scalecore_analysis.report.campaign.members import CampaignView
from scalecore_analysis.report.measured import Measured, flattened
from scalecore_analysis.report.section import Row, Section
from scalecore_analysis.scaling.assess import FittedLaw, mean_interval
from scalecore_analysis.scaling.budgets import BudgetRuns
from scalecore_analysis.scaling.figures import comparison_figure, scaling_figures
from scalecore_analysis.scaling.group_rows import need_row
from scalecore_analysis.scaling.group_text import group_notes, no_law, verdict_text
from scalecore_analysis.scaling.group_verdict import GroupVerdict, judge
from scalecore_analysis.scaling.needs import cost_text, total_cost
from scalecore_analysis.vega import Spec

__all__ = ["assessed", "laws", "paragraph", "short", "verdicts"]


def assessed(view: CampaignView) -> list[GroupVerdict]:
    """The assessment of each group with the default options of the analysis `scaling-law`."""
    try:
        return judge(view.groups, ScalingLawOptions())
    except DataError as error:  # no group has a result
        return [GroupVerdict(group=group, reason=str(error)) for group in view.groups]


def verdicts(view: CampaignView, found: Sequence[GroupVerdict]) -> Section:
    """One paragraph and one row for each group, what is missing, and the comparison of the groups."""
    rows, tests = [_verdict(one) for one in found], [_tests(one) for one in found]
    text = [view.shortened(one.group, paragraph(one)) for one in found]
    if view.separate is not None:
        text.append(f"Some studies cannot be separated into one per budget: {view.separate}.")
    conditions = [
        ({**_head(one), **condition.row(), "found": view.shortened(one.group, condition.text)}, bool(condition.met))
        for one in found
        for condition in one.conditions
    ]
    needs = [
        {**_head(one), **need_row(need), "missing": view.shortened(one.group, need.text)}
        for one in found
        for need in one.needs
    ]
    tables = {
        "Verdicts": rows,
        "Tests": tests,
        "Preconditions that are not met": [row for row, met in conditions if not met],
        "What is missing": needs,
    }
    drawn = [one for one in found if one.budgets]
    title = "Relative difference of the loss from the smallest budget"
    return Section(
        title="Verdict",
        text=text,
        tables={name: shown for name, shown in tables.items() if shown or name == "Preconditions that are not met"},
        figures={title: comparison_figure(drawn)} if len(drawn) > 1 else {},
        captions={
            "Verdicts": "Claim: the loss falls with the number of parameters N. Loss: mean over the runs of the "
            "configuration that the verdict uses, with the 95 % interval over seeds from the pooled spread. Change: of "
            "the loss per tenfold N, with the 95 % interval over what the table of tests names.",
            "Tests": "p equal: equal means against falling ones. p falling: falling means against any. Margin: the "
            "smallest relevant difference, declared before the studies. Effect: the smallest difference between two "
            "budgets that these seeds detect with a power of 80 %. All groups together: the verdict if the error "
            "rates of all groups together are those of one (Bonferroni).",
            title: "Selected configurations, 95 % intervals over seeds.",
        },
        data={
            "verdicts": flattened(rows),
            "tests": tests,
            "preconditions": [row for row, _ in conditions],
            "missing": needs,
            "text": {one.group.label or "all": sentences for one, sentences in zip(found, text, strict=False)},
        },
    )


def short(one: GroupVerdict) -> str:
    """For example `horizon 3: holds`."""
    return one.group.titled("no result" if one.found is None else str(one.verdict))


def paragraph(one: GroupVerdict) -> str:
    """The verdict of a group in a few sentences."""
    parts = [verdict_text(one)]
    if len(one.budgets) > 1:
        first, last = one.budgets[0], one.budgets[-1]
        parts.append(
            f"Over {len(one.budgets)} budgets from {first.parameters:,.0f} to {last.parameters:,.0f} parameters, the "
            f"loss goes from {_mean(one, first)} to {_mean(one, last)}, {_seeds(one.budgets)}."
        )
    tests = one.found.tests if one.found is not None else None
    if one.found is not None and tests is not None:
        margin = "not declared" if one.margin is None else f"{one.margin:.4g}"
        parts.append(
            f"It changes by {_change(one)} per tenfold number of parameters. Equal means against falling ones: p = "
            f"{tests.equal_p:.3g}; falling ones against any: p = {tests.ordered_p:.3g}; margin {margin}; smallest "
            f"effect detected with a power of 80 %: {tests.smallest_effect:.3g}. Power law: {one.found.power_law}."
        )
    runs, seconds = total_cost(one.needs)
    if runs:
        parts.append(f"The table below names what is missing: {cost_text(runs, seconds)}.")
    return one.group.titled(" ".join(parts))


def _seeds(budgets: Sequence[BudgetRuns]) -> str:
    counts = sorted({len(one.losses) for one in budgets})
    stale = sum(one.fresh is False for one in budgets)
    text = f"{counts[0]} runs each" if len(counts) == 1 else f"{counts[0]} to {counts[-1]} runs each"
    text = text.replace("1 runs each", "1 run each")
    return f"{text}; {stale} of them only as the search found them, which is optimistic" if stale else text


def _head(one: GroupVerdict) -> Row:
    return {"group": one.group.label} if one.group.label else {}


def _mean(one: GroupVerdict, budget: BudgetRuns) -> Measured | None:
    tests = one.found.tests if one.found is not None else None
    within = mean_interval(budget.losses, variance=tests.variance, freedom=tests.freedom) if tests else None
    return Measured.of(budget.mean, within)


def _change(one: GroupVerdict) -> Measured | None:
    """The change of the loss per tenfold N."""
    tests = one.found.tests if one.found is not None else None
    return None if tests is None else Measured.of(tests.trend.per_decade, (tests.trend.low, tests.trend.high))


def _verdict(one: GroupVerdict) -> Row:
    row: Row = {**_head(one), "verdict": str(one.verdict), "budgets": len(one.budgets), "N": None}
    row |= dict.fromkeys(("loss at smallest N", "loss at largest N", "change"))
    if one.budgets:
        first, last = one.budgets[0], one.budgets[-1]
        row["N"] = f"{first.parameters:,.0f} to {last.parameters:,.0f}"
        row |= {"loss at smallest N": _mean(one, first), "loss at largest N": _mean(one, last)}
    return row | {"change": _change(one)}


def _tests(one: GroupVerdict) -> Row:
    tests = one.found.tests if one.found is not None else None
    return {
        **_head(one),
        "p equal": tests.equal_p if tests else None,
        "p falling": tests.ordered_p if tests else None,
        "margin": one.margin,
        "spread over seeds": tests.variance**0.5 if tests else None,
        "effect": tests.smallest_effect if tests else None,
        "all groups together": str(one.found.adjusted) if one.found is not None else None,
        "interval of the change": _covered(one),
    }


def _covered(one: GroupVerdict) -> str | None:
    """What the interval of the change covers."""
    tests = one.found.tests if one.found is not None else None
    if tests is None:
        return None
    return "seeds and windows" if tests.trend.windows is None else f"seeds only: {tests.trend.windows}"


def _whole(value: float) -> float | int:
    return int(value) if float(value).is_integer() else value


def laws(view: CampaignView, found: Sequence[GroupVerdict]) -> Section:
    """The losses that enter the fits, the laws with their parameters, and the figures."""
    points: list[Row] = []
    fits: list[Row] = []
    parameters: list[Row] = []
    figures: dict[str, Spec] = {}
    text: list[str] = []
    for one in found:
        text += [one.group.titled(view.shortened(one.group, note)) for note in (*no_law(one), *group_notes(one))]
        if one.found is None:
            continue
        points += _points(view, one)
        fits += [{**_head(one), **_law(law)} for law in one.found.laws]
        parameters += [
            {**_head(one), "law": law.name, "parameter": name, "value": Measured.of(value, (low, high))}
            for law in one.found.laws
            for name, (value, low, high) in law.intervals().items()
        ]
        drawn = scaling_figures(one.budgets, one.found)
        figures |= {one.group.titled(title): spec for title, spec in drawn.items() if "aspect" not in title}
    tables = {"Losses of the verdict": points, "Laws": fits}
    if parameters:
        tables["Parameters of the laws"] = parameters
    return Section(
        title="Loss against size",
        text=text,
        tables=tables,
        figures=figures,
        captions={
            "Losses of the verdict": "D: training windows seen up to the best epoch. Mean: over runs with fresh seeds "
            "where they exist, with the 95 % interval from the pooled spread over seeds. Step: difference from the "
            "budget before, and its one-sided 95 % upper bound.",
            "Laws": "Weight: Akaike weight by AICc over the laws that can be tested. Predicted: loss of the largest "
            "budget from the others, with its 95 % interval.",
            "Parameters of the laws": "95 % intervals from bootstrap resamples of the runs.",
        },
        data={"points": flattened(points), "laws": flattened(fits), "parameters": flattened(parameters)},
    )


def _points(view: CampaignView, one: GroupVerdict) -> list[Row]:
    assert one.found is not None
    tests, labels = one.found.tests, {view.name(member): member.budget for member in view.of_group(one.group)}
    rows = []
    for index, budget in enumerate(one.budgets):
        windows = [run.windows for run in budget.runs if run.windows is not None]
        seen: Any = None
        if windows:
            seen = f"{min(windows):,.0f} to {max(windows):,.0f}" if min(windows) < max(windows) else int(windows[0])
        rows.append(
            {
                **_head(one),
                "budget": labels.get(budget.label, budget.label),
                "N": _whole(budget.parameters),
                "D": seen,
                "runs": len(budget.losses),
                "fresh seeds": budget.fresh,
                "mean": _mean(one, budget),
                "spread": tests.spreads[index] if tests and len(budget.losses) > 1 else None,
                "step": tests.steps[index - 1] if tests and index else None,
                "at most": tests.bounds[index - 1] if tests and index else None,
                "records": budget.chosen.rpartition("; ")[2] if budget.chosen else None,
            }
        )
    return rows


def _law(law: FittedLaw) -> Row:
    predicted = law.prediction
    return {
        "law": law.name,
        "form": law.text,
        "weight": law.weight,
        "lack of fit p": law.goodness,
        "predicted": None if predicted is None else Measured.of(predicted.predicted, (predicted.low, predicted.high)),
        "observed": None if predicted is None else predicted.observed,
        "inside": None if predicted is None else predicted.covered,
        "not testable": law.reason,
    }
