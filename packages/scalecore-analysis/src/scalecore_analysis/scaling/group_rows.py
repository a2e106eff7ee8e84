"""The verdict of one group as tables of budgets, preconditions and laws, and as plain JSON types."""

from __future__ import annotations

import statistics
from collections.abc import Sequence

import attrs

from scalecore_analysis.report.section import Row
from scalecore_analysis.scaling.assess import FittedLaw, mean_interval
from scalecore_analysis.scaling.group_verdict import RESAMPLES, GroupVerdict
from scalecore_analysis.scaling.needs import Need, total_cost

__all__ = ["SHOWN", "comparison_row", "group_data", "group_tables", "need_row"]

SHOWN = 50
"""Maximum number of listed cells of a table."""
OF_STUDIES = ("searched", "best baseline", "confirmed", "chosen")
"""Columns that only studies have."""


def group_tables(one: GroupVerdict) -> dict[str, list[Row]]:
    """The tables of a group by title; none without an assessment."""
    if one.found is None:
        return {}
    found, budgets, tests = one.found, one.budgets, one.found.tests
    hidden = () if one.group.studies else OF_STUDIES
    rows = []
    for index, runs in enumerate(budgets[:SHOWN]):
        span = mean_interval(runs.losses, variance=tests.variance, freedom=tests.freedom) if tests else (None, None)
        rows.append(
            {
                "budget": runs.label,
                "parameters": int(runs.parameters) if float(runs.parameters).is_integer() else runs.parameters,
                "D": _span([run.windows for run in runs.runs]),
                "seeds": len(runs.losses),
                "mean": runs.mean,
                "low": span[0],
                "high": span[1],
                "spread": statistics.stdev(runs.losses) if len(runs.losses) > 1 else None,
                "non-increasing fit": tests.isotonic[index] if tests else None,
                "step": tests.steps[index - 1] if tests and index else None,
                "at most": tests.bounds[index - 1] if tests and index else None,
                "searched": runs.searched,
                "best baseline": runs.baseline[1] if runs.baseline else None,
                "confirmed": runs.confirmed,
                "chosen": runs.chosen,
            }
        )
    tables: dict[str, list[Row]] = {
        "Budgets": [{name: value for name, value in row.items() if name not in hidden} for row in rows],
        "Preconditions": [condition.row() for condition in found.preconditions],
    }
    if any(law.fit for law in found.laws):
        tables["Laws"] = [_law_row(law) for law in found.laws]
        tables["Parameters of the laws, 95 % intervals"] = [
            {"law": law.name, "parameter": name, "value": value, "low": low, "high": high}
            for law in found.laws
            for name, (value, low, high) in law.intervals().items()
        ]
    return tables


def _span(windows: Sequence[float | None]) -> float | str | None:
    """The amount of data of these runs: one number, or the range."""
    known = [one for one in windows if one is not None]
    if len(known) < len(windows):
        return None
    return known[0] if len(set(known)) == 1 else f"{min(known):,.6g} to {max(known):,.6g}"


def _law_row(law: FittedLaw) -> Row:
    predicted = dict.fromkeys(("largest foretold", "low", "high", "observed", "error", "inside"))
    if (one := law.prediction) is not None:
        values = (one.predicted, one.low, one.high, one.observed, one.error, one.covered)
        predicted = dict(zip(predicted, values, strict=True))
    return {
        "law": law.name,
        "form": law.text,
        "weight (AICc)": law.weight,
        "AICc": law.aicc,
        "objective": law.fit.objective if law.fit else None,
        "lack of fit p": law.goodness,
        **predicted,
        "not testable": law.reason,
    }


def _law_data(law: FittedLaw) -> Row:
    parameters = {name: dict(zip(("value", "low", "high"), one, strict=True)) for name, one in law.intervals().items()}
    return {**_law_row(law), "parameters": parameters}


def group_data(one: GroupVerdict) -> Row:
    """Everything about a group, for programs."""
    found = one.found
    return {
        "group": one.group.label,
        "studies": [study.name for study in one.group.studies],
        "verdict": one.verdict,
        "verdict, all groups together": found.adjusted if found is not None else one.verdict,
        "reason": one.reason,
        "exploratory": list(found.exploratory) if found is not None else [],
        "missing": [condition.name for condition in found.missing] if found is not None else [],
        "needs": [{**attrs.asdict(need), "hours": need.hours} for need in one.needs],
        "margin": one.margin,
        "preconditions": [attrs.asdict(condition) for condition in one.conditions],
        "budgets": [
            {**attrs.asdict(runs), "parameters": runs.parameters, "losses": runs.losses} for runs in one.budgets
        ],
        "tests": None if found is None or found.tests is None else attrs.asdict(found.tests),
        "laws": [_law_data(law) for law in found.laws] if found is not None else [],
        "power law": found.power_law if found is not None else None,
        "resamples": RESAMPLES,
    }


def need_row(need: Need) -> Row:
    """A row of the table of what is missing."""
    row: Row = {"for": need.what, "missing": need.text, "trainings": need.runs, "hours": need.hours}
    return row | {"command": need.command}


def comparison_row(one: GroupVerdict) -> Row:
    """The row of a group in the comparison over groups. Change: of the loss per tenfold number of parameters."""
    budgets, tests = one.budgets, one.found.tests if one.found is not None else None
    trend = tests.trend if tests is not None else None
    runs, seconds = total_cost(one.needs)
    row: Row = {
        "group": one.group.label,
        "verdict": one.verdict,
        "all groups together": one.found.adjusted if one.found is not None else one.verdict,
        "budgets": len(budgets),
        "parameters": f"{budgets[0].parameters:,.0f} to {budgets[-1].parameters:,.0f}" if budgets else None,
        "seeds": min((len(runs.losses) for runs in budgets), default=None),
        "change per decade": trend.per_decade if trend else None,
        "low": trend.low if trend else None,
        "high": trend.high if trend else None,
        "relative": trend.relative if trend else None,
        "other windows": trend.over_windows if trend else None,
        "p equal": tests.equal_p if tests is not None else None,
        "p falling": tests.ordered_p if tests is not None else None,
        "detectable": tests.smallest_effect if tests is not None else None,
        "margin": one.margin,
    }
    unmet = [condition.name for condition in one.found.missing] if one.found is not None else []
    row |= {"not met": ", ".join(unmet) or one.reason, "missing trainings": runs}
    return row | {"missing hours": None if seconds is None else seconds / 3600}
