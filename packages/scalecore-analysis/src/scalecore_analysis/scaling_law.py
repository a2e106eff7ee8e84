"""`scaling-law`: does the loss fall with the size of the model, and by which law?"""

from __future__ import annotations

import statistics
from collections.abc import Container, Sequence
from typing import Any

import attrs
from threadpoolctl import threadpool_limits

from scalecore.api.analysis import AnalysisResult
from scalecore.api.errors import DataError, ExperimentError
from scalecore.api.trials import StudyView
from scalecore_analysis.options import ScalingLawOptions
from scalecore_analysis.report.html import figure_files, figure_page
from scalecore_analysis.scaling.assess import MISFIT, UNLIKELY, Assessment, FittedLaw, assess, mean_interval
from scalecore_analysis.scaling.budgets import RATES, BudgetRuns, from_studies, points_of
from scalecore_analysis.scaling.figures import scaling_figures
from scalecore_analysis.scaling.law_comparison import D_SPAN
from scalecore_analysis.scaling.laws import Points
from scalecore_analysis.scaling.power import Design
from scalecore_analysis.scaling.preconditions import preconditions
from scalecore_analysis.scaling.table import PointsTable, read_table
from scalecore_analysis.scaling.verdict import ScalingVerdict
from scalecore_analysis.studies import listed

__all__ = ["ScalingLawAnalysis"]

RESAMPLES = 1000
SHOWN = 50
"""So many cells of a table are listed."""
OF_STUDIES = ("searched", "best baseline", "confirmed", "chosen")
"""Columns of which a table knows nothing."""
PROPER = ("val_loss",)
SPREAD = 3.0
"""So many times may the seeds of one budget spread as much as those of another, for the rates of error to hold."""


class ScalingLawAnalysis:
    """One verdict over studies that differ in their budgets."""

    def __init__(self, options: ScalingLawOptions) -> None:
        self._options = options

    def run(self, studies: Sequence[StudyView]) -> AnalysisResult:
        options = self._options
        if (options.points is None) == (not studies):
            raise ExperimentError(
                "a scaling law needs either studies, one for each budget, or points=FILE with columns parameters and "
                "loss: scalecore analyze scaling-law STUDY..."
            )
        table = read_table(options.points) if options.points is not None else None
        budgets = (
            table.cells if table is not None else from_studies(studies, metric=options.metric, seeds=options.min_seeds)
        )
        points = points_of(budgets)
        if (points.losses <= 0).any():
            raise DataError(f"some values of {options.metric} are not above zero: a law of their logs cannot be fitted")
        margin = options.margin if options.margin is not None else _declared(budgets)
        conditions = preconditions(
            budgets,
            margin=margin,
            seeds=options.min_seeds,
            samples=options.min_samples,
            positives=options.min_positives,
            proper=options.metric in PROPER or options.experimental,
            grained=options.metric in RATES,
            waived=options.waive,
        )
        with threadpool_limits(1):  # matrices of a few rows: threads would only wait for each other
            found = assess(budgets, points, conditions, margin=margin, resamples=RESAMPLES, seed=options.seed)
        figures = scaling_figures(budgets, found)
        over = _plural(len(budgets), "budget") if table is None else f"{_plural(len(points.losses), 'run')} of a table"
        return AnalysisResult(
            title=f"Scaling law over {over}, {self._loss_name()}",
            summary=[sentence(found), *_fitted(found, points, table), *_assessed(found, budgets, margin)],
            tables=_tables(found, budgets, hidden=() if table is None else OF_STUDIES),
            data={
                "verdict": found.verdict,
                "exploratory": list(found.exploratory),
                "missing": [one.name for one in found.missing],
                "margin": margin,
                "preconditions": [attrs.asdict(one) for one in found.preconditions],
                "budgets": [
                    {**attrs.asdict(one), "parameters": one.parameters, "losses": one.losses} for one in budgets
                ],
                "tests": None if found.tests is None else attrs.asdict(found.tests),
                "laws": [_law_data(law) for law in found.laws],
                "power law": found.power_law,
                "resamples": RESAMPLES,
            },
            notes=[*self._notes(found, budgets), *_data_notes(found, points), *_table_notes(table)],
            files={"figures.html": figure_page("Scaling law", figures), **figure_files(figures, options.figures)},
        )

    def _loss_name(self) -> str:
        metric = self._options.metric
        return f"1 - {metric} (experimental)" if metric in RATES else metric

    def _notes(self, found: Assessment, budgets: Sequence[BudgetRuns]) -> list[str]:
        notes = [
            "The tests speak of seeds: another training on the same windows. How far the losses depend on which "
            "windows there were is not in them; intervals over windows are in the records of the trials.",
        ]
        if found.tests is not None and min(found.tests.spreads) > 0:
            ratio = max(found.tests.spreads) / min(found.tests.spreads)
            if ratio > SPREAD:
                notes.append(
                    f"The seeds of one budget spread {ratio:.1f} times as much as those of another: beyond {SPREAD:g} "
                    "the rates of error are not known."
                )
        missing = [law.name for law in found.laws if law.fit and law.misses]
        if missing:
            notes.append(
                f"No intervals for the parameters of {', '.join(missing)}: with a lack of fit (p of {MISFIT:g} or "
                f"less), or a weight below {UNLIKELY:g} beside the other laws, a law is not what made these losses."
            )
        if any((one.confirmed or 0) > 1 for one in budgets):
            counts = listed([f"{one.label} {one.confirmed}" for one in budgets])
            notes.append(
                f"Configurations that were trained again: {counts}. Of each budget the one is judged that the search "
                "found best: the best by the judged runs themselves would be too good, the more so the more there are."
            )
        known = [one.efforts for one in budgets if one.efforts is not None]
        if known and max(known) > 1.5 * min(known):
            notes.append(
                f"The budgets were searched with {min(known)} to {max(known)} completed trials: a budget that was "
                "searched harder has an advantage that is not its size."
            )
        if any(one.fresh is False for one in budgets):
            notes.append(
                "Where no configuration has fresh seeds, the losses are those of the search, which were chosen for "
                "being low: `scalecore confirm` trains the best ones again."
            )
        return notes


def _plural(count: int, what: str) -> str:
    return f"{count} {what}{'s' * (count != 1)}"


def _fitted(found: Assessment, points: Points, table: PointsTable | None) -> list[str]:
    """What a point is, what is averaged, and why there is no law (guard G16)."""
    if table is None:
        means = "the runs of one configuration in each study"
    else:
        means = f"the rows of one N, D and configuration ({_plural(len(table.cells), 'cell')})"
    lines = [
        f"Points of the laws: {_plural(len(points.losses), 'run')}, each with its own N"
        + (", D" if points.known else "")
        + f" and weight. Means and spreads of seeds are over {means}; no law is fitted to a mean."
    ]
    if not any(law.fit for law in found.laws):
        reasons: dict[str, list[str]] = {}
        for law in found.laws:
            reasons.setdefault(str(law.reason), []).append(law.name)
        told = "; ".join(f"{reason} ({', '.join(names)})" for reason, names in reasons.items())
        lines.append(f"No law is fitted: {told}.")
    return lines


def _data_notes(found: Assessment, points: Points) -> list[str]:
    """What a law in N alone means where D varies too."""
    span = float(points.windows.max() / points.windows.min())
    if span < D_SPAN or any(law.fit and law.fit.law.uses_windows for law in found.laws):
        return []
    return [
        f"D spans a factor of {span:.3g}, and no law in N and D is fitted: a law in N describes these runs with the "
        "data that each had, and not what N does at one amount of data."
    ]


def _table_notes(table: PointsTable | None) -> list[str]:
    notes = []
    if table is not None and table.weighted:
        notes.append("Weights count in the laws; the means of the cells are those of their rows without weights.")
    if table is not None and table.ignored:
        notes.append(f"Ignored columns of the table: {listed(table.ignored)}.")
    if table is not None and len(table.cells) > SHOWN:
        notes.append(f"Of {len(table.cells)} cells {SHOWN} are listed; `budgets` in the JSON has all.")
    return notes


def _declared(budgets: Sequence[BudgetRuns]) -> float | None:
    declared = {one.margin for one in budgets}
    return next(iter(declared)) if len(declared) == 1 else None


def sentence(found: Assessment) -> str:
    """The verdict in one sentence."""
    head = f"Verdict: {found.verdict}"
    if found.verdict is ScalingVerdict.NOT_ASSESSABLE:
        problems = [f"{one.name}: {one.text}" for one in found.missing if one.met is False]
        unknown = ", ".join(one.name for one in found.missing if one.met is None)
        problems += [f"not recorded at all: {unknown}"] if unknown else []
        return f"{head}. Missing: {'; '.join(problems) or 'any spread between seeds'}."
    meaning = {
        ScalingVerdict.HOLDS: "the loss falls with the size of the model, and no step to a larger budget is worse",
        ScalingVerdict.HOLDS_WITH_POWER_LAW: "the loss falls with the size of the model, and a power law describes how",
        ScalingVerdict.FLAT: "every two budgets differ by less than the margin",
        ScalingVerdict.VIOLATED: "the loss rises somewhere with the size of the model",
        ScalingVerdict.INCONCLUSIVE: "these seeds cannot tell",
    }[found.verdict]
    exploratory = f" EXPLORATORY: {'; '.join(found.exploratory)}." if found.exploratory else ""
    return f"{head}: {meaning}.{exploratory}"


def _assessed(found: Assessment, budgets: Sequence[BudgetRuns], margin: float | None) -> list[str]:
    tests = found.tests
    if tests is None:
        return []
    lines = [
        f"Equal means against falling ones: p = {tests.equal_p:.4f}. Falling means against any: "
        f"p = {tests.ordered_p:.4f}. The largest 95 % upper bound of a step is {max(tests.bounds):.4g}"
        + (f", the margin {margin:.4g}." if margin is not None else "."),
        f"Power law: {found.power_law}.",
        f"With this spread of seeds ({tests.variance**0.5:.4g}), differences of {tests.smallest_effect:.4g} are found "
        "in 4 of 5 cases.",
    ]
    if found.verdict is ScalingVerdict.INCONCLUSIVE and margin is not None:
        spread = tests.variance**0.5
        slope = abs(budgets[-1].mean - budgets[0].mean) / len(tests.steps) / spread
        needed = Design(budgets=len(budgets), margin=margin / spread).seeds_for("falling", slope)
        lines.append(
            f"If the loss really falls by {slope * spread:.4g} from budget to budget, {needed} seeds of each are "
            "needed to see it in 4 of 5 cases."
        )
    return lines


def _tables(
    found: Assessment, budgets: Sequence[BudgetRuns], *, hidden: Container[str]
) -> dict[str, list[dict[str, Any]]]:
    tests = found.tests
    rows = []
    for index, one in enumerate(budgets[:SHOWN]):
        span = mean_interval(one.losses, variance=tests.variance, freedom=tests.freedom) if tests else (None, None)
        rows.append(
            {
                "budget": one.label,
                "parameters": int(one.parameters) if float(one.parameters).is_integer() else one.parameters,
                "D": _span([run.windows for run in one.runs]),
                "seeds": len(one.losses),
                "mean": one.mean,
                "low": span[0],
                "high": span[1],
                "spread": statistics.stdev(one.losses) if len(one.losses) > 1 else None,
                "non-increasing fit": tests.isotonic[index] if tests else None,
                "step": tests.steps[index - 1] if tests and index else None,
                "at most": tests.bounds[index - 1] if tests and index else None,
                "searched": one.searched,
                "best baseline": one.baseline[1] if one.baseline else None,
                "confirmed": one.confirmed,
                "chosen": one.chosen,
            }
        )
    tables: dict[str, list[dict[str, Any]]] = {
        "Budgets": [{name: value for name, value in row.items() if name not in hidden} for row in rows],
        "Preconditions": [one.row() for one in found.preconditions],
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
    """The amount of data of these runs: one number, or the least and the most."""
    known = [one for one in windows if one is not None]
    if len(known) < len(windows):
        return None
    return known[0] if len(set(known)) == 1 else f"{min(known):,.6g} to {max(known):,.6g}"


def _law_row(law: FittedLaw) -> dict[str, Any]:
    foretold = dict.fromkeys(("largest foretold", "low", "high", "observed", "error", "inside"))
    if (one := law.prediction) is not None:
        values = (one.predicted, one.low, one.high, one.observed, one.error, one.covered)
        foretold = dict(zip(foretold, values, strict=True))
    return {
        "law": law.name,
        "form": law.text,
        "weight (AICc)": law.weight,
        "AICc": law.aicc,
        "objective": law.fit.objective if law.fit else None,
        "lack of fit p": law.goodness,
        **foretold,
        "not testable": law.reason,
    }


def _law_data(law: FittedLaw) -> dict[str, Any]:
    parameters = {name: dict(zip(("value", "low", "high"), one, strict=True)) for name, one in law.intervals().items()}
    return {**_law_row(law), "parameters": parameters}
