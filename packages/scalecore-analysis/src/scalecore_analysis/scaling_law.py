"""Analysis `scaling-law`: does the loss fall with model size, and by which law?"""

from __future__ import annotations

import statistics
from collections.abc import Container, Sequence
from typing import Any

import attrs
from threadpoolctl import threadpool_limits

from scalecore.api.analysis import AnalysisPlan, AnalysisResult, PlannedTraining
from scalecore.api.errors import DataError, ExperimentError
from scalecore.api.trials import StudyView
from scalecore_analysis.groups import budget_groups
from scalecore_analysis.options import ScalingLawOptions
from scalecore_analysis.report.html import figure_files, figure_page
from scalecore_analysis.scaling.assess import MISFIT, UNLIKELY, Assessment, FittedLaw, assess, mean_interval
from scalecore_analysis.scaling.budgets import RATES, BudgetRuns, from_studies, points_of
from scalecore_analysis.scaling.figures import scaling_figures
from scalecore_analysis.scaling.law_comparison import D_SPAN
from scalecore_analysis.scaling.laws import Points
from scalecore_analysis.scaling.planned_verdict import planned_verdict, verdict_lines
from scalecore_analysis.scaling.power import Design
from scalecore_analysis.scaling.preconditions import preconditions
from scalecore_analysis.scaling.table import PointsTable, read_table
from scalecore_analysis.scaling.verdict import ScalingVerdict
from scalecore_analysis.studies import listed

__all__ = ["ScalingLawAnalysis"]

RESAMPLES = 1000
SHOWN = 50
"""Maximum number of listed cells of a table."""
OF_STUDIES = ("searched", "best baseline", "confirmed", "chosen")
"""Columns that only studies have."""
PROPER = ("val_loss",)
SPREAD = 3.0
"""Maximum ratio of the standard deviations over seeds between budgets for which the error rates were simulated."""


class ScalingLawAnalysis:
    """A verdict over studies with different budgets."""

    def __init__(self, options: ScalingLawOptions) -> None:
        self._options = options

    def run(self, studies: Sequence[StudyView]) -> AnalysisResult:
        options = self._options
        if (options.points is None) == (not studies):
            raise ExperimentError(
                "a scaling law needs either studies, one per budget, or points=FILE with the columns parameters and "
                "loss: scalecore analyze scaling-law STUDY..."
            )
        table = read_table(options.points) if options.points is not None else None
        budgets = (
            table.cells if table is not None else from_studies(studies, metric=options.metric, seeds=options.min_seeds)
        )
        points = points_of(budgets)
        if (points.losses <= 0).any():
            raise DataError(
                f"some values of {options.metric} are not above zero, so no law can be fitted to their logs"
            )
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
        with threadpool_limits(1):  # small matrices: threads would only add overhead
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

    def plan(self, studies: Sequence[StudyView], *, wanted: Sequence[PlannedTraining]) -> AnalysisPlan:
        if self._options.points is not None:
            return AnalysisPlan(lines=["fits the runs of a table, and needs no study"])
        verdicts = [planned_verdict(one, wanted=wanted, options=self._options) for one in budget_groups(studies)]
        return AnalysisPlan(lines=verdict_lines(verdicts), data={"verdicts": [attrs.asdict(one) for one in verdicts]})

    def _loss_name(self) -> str:
        metric = self._options.metric
        return f"1 - {metric} (experimental)" if metric in RATES else metric

    def _notes(self, found: Assessment, budgets: Sequence[BudgetRuns]) -> list[str]:
        notes = [
            "The tests include the variation over seeds (other trainings on the same windows), not the variation over "
            "windows; the records of the trials contain confidence intervals over windows.",
        ]
        if found.tests is not None and min(found.tests.spreads) > 0:
            ratio = max(found.tests.spreads) / min(found.tests.spreads)
            if ratio > SPREAD:
                notes.append(
                    f"The standard deviations over seeds of the budgets differ by a factor of {ratio:.1f}; above "
                    f"{SPREAD:g} the error rates of the verdict are unknown."
                )
        missing = [law.name for law in found.laws if law.fit and law.misses]
        if missing:
            notes.append(
                f"No intervals for the parameters of {', '.join(missing)}: a law with a lack of fit (p of {MISFIT:g} "
                f"or less) or a weight below {UNLIKELY:g} does not describe these losses."
            )
        if any((one.confirmed or 0) > 1 for one in budgets):
            counts = listed([f"{one.label} {one.confirmed}" for one in budgets])
            notes.append(
                f"Retrained configurations: {counts}. Of each budget, the verdict uses the one that the search ranked "
                "best; selecting by the replicates would be optimistic, and more so with more configurations."
            )
        known = [one.efforts for one in budgets if one.efforts is not None]
        if known and max(known) > 1.5 * min(known):
            notes.append(
                f"The searches have {min(known)} to {max(known)} completed trials: budgets with more trials have an "
                "advantage that is independent of their size."
            )
        if any(one.fresh is False for one in budgets):
            notes.append(
                "Budgets without fresh seeds use the losses of the search, which are optimistic; `scalecore confirm` "
                "retrains the best configurations."
            )
        return notes


def _plural(count: int, what: str) -> str:
    return f"{count} {what}{'s' * (count != 1)}"


def _fitted(found: Assessment, points: Points, table: PointsTable | None) -> list[str]:
    """Describe the points and means, and why no law is fitted (guard G16)."""
    if table is None:
        means = "the runs of one configuration in each study"
    else:
        means = f"the rows of one N, D and configuration ({_plural(len(table.cells), 'cell')})"
    lines = [
        f"Laws are fitted to {_plural(len(points.losses), 'run')}, each with its own N"
        + (", D" if points.known else "")
        + f" and weight, not to means. Means and spreads over seeds are over {means}."
    ]
    if not any(law.fit for law in found.laws):
        reasons: dict[str, list[str]] = {}
        for law in found.laws:
            reasons.setdefault(str(law.reason), []).append(law.name)
        text = "; ".join(f"{reason} ({', '.join(names)})" for reason, names in reasons.items())
        lines.append(f"No law is fitted: {text}.")
    return lines


def _data_notes(found: Assessment, points: Points) -> list[str]:
    """A caution about laws in N alone if D varies too."""
    span = float(points.windows.max() / points.windows.min())
    if span < D_SPAN or any(law.fit and law.fit.law.uses_windows for law in found.laws):
        return []
    return [
        f"D spans a factor of {span:.3g}, but no law in N and D is fitted: a law in N describes these runs with their "
        "amounts of data, not the effect of N at a fixed amount of data."
    ]


def _table_notes(table: PointsTable | None) -> list[str]:
    notes = []
    if table is not None and table.weighted:
        notes.append("Weights apply to the laws only; the means of the cells are unweighted.")
    if table is not None and table.ignored:
        notes.append(f"Ignored columns of the table: {listed(table.ignored)}.")
    if table is not None and len(table.cells) > SHOWN:
        notes.append(f"{SHOWN} of {len(table.cells)} cells are listed; `budgets` in the JSON has all.")
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
        problems += [f"not recorded: {unknown}"] if unknown else []
        return f"{head}. Missing: {'; '.join(problems) or 'variation between seeds'}."
    meaning = {
        ScalingVerdict.HOLDS: "the loss falls with model size, and no step to a larger budget is worse by the margin",
        ScalingVerdict.HOLDS_WITH_POWER_LAW: "the loss falls with model size, and a power law describes it",
        ScalingVerdict.FLAT: "all budgets differ by less than the margin",
        ScalingVerdict.VIOLATED: "the loss rises with model size between some budgets",
        ScalingVerdict.INCONCLUSIVE: "these seeds are not sufficient for a decision",
    }[found.verdict]
    exploratory = f" EXPLORATORY: {'; '.join(found.exploratory)}." if found.exploratory else ""
    return f"{head}: {meaning}.{exploratory}"


def _assessed(found: Assessment, budgets: Sequence[BudgetRuns], margin: float | None) -> list[str]:
    tests = found.tests
    if tests is None:
        return []
    lines = [
        f"Test of equal means against falling means: p = {tests.equal_p:.4f}. Test of falling means against any: "
        f"p = {tests.ordered_p:.4f}. Largest 95 % upper bound of a step: {max(tests.bounds):.4g}"
        + (f"; margin: {margin:.4g}." if margin is not None else "."),
        f"Power law: {found.power_law}.",
        f"Spread over seeds: {tests.variance**0.5:.4g}. Smallest difference detected with a power of 80 %: "
        f"{tests.smallest_effect:.4g}.",
    ]
    if found.verdict is ScalingVerdict.INCONCLUSIVE and margin is not None:
        spread = tests.variance**0.5
        slope = abs(budgets[-1].mean - budgets[0].mean) / len(tests.steps) / spread
        needed = Design(budgets=len(budgets), margin=margin / spread).seeds_for("falling", slope)
        lines.append(
            f"To detect a fall of {slope * spread:.4g} per budget with a power of 80 %, {needed} seeds per budget are "
            "required."
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
    """The amount of data of these runs: one number, or the range."""
    known = [one for one in windows if one is not None]
    if len(known) < len(windows):
        return None
    return known[0] if len(set(known)) == 1 else f"{min(known):,.6g} to {max(known):,.6g}"


def _law_row(law: FittedLaw) -> dict[str, Any]:
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


def _law_data(law: FittedLaw) -> dict[str, Any]:
    parameters = {name: dict(zip(("value", "low", "high"), one, strict=True)) for name, one in law.intervals().items()}
    return {**_law_row(law), "parameters": parameters}
