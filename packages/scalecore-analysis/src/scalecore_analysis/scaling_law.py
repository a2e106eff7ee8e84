"""Analysis `scaling-law`: does the loss fall with model size, and by which law? One verdict for each target."""

from __future__ import annotations

from collections.abc import Sequence

import attrs

from scalecore.api.analysis import AnalysisPlan, AnalysisResult, PlannedTraining
from scalecore.api.errors import ExperimentError
from scalecore.api.trials import StudyView
from scalecore_analysis.groups import Group, budget_groups
from scalecore_analysis.options import ScalingLawOptions
from scalecore_analysis.report.html import figure_files, figure_page, section_page
from scalecore_analysis.report.section import Row, Section
from scalecore_analysis.scaling.budgets import RATES
from scalecore_analysis.scaling.figures import comparison_figure, scaling_figures
from scalecore_analysis.scaling.group_rows import SHOWN, comparison_row, group_data, group_tables, need_row
from scalecore_analysis.scaling.group_text import group_notes, group_summary, needs_text, no_law, verdict_text
from scalecore_analysis.scaling.group_verdict import GroupVerdict, judge, judge_budgets
from scalecore_analysis.scaling.planned_verdict import planned_verdict, verdict_lines
from scalecore_analysis.scaling.table import PointsTable, read_table
from scalecore_analysis.studies import listed, plural
from scalecore_analysis.vega import Spec

__all__ = ["ScalingLawAnalysis"]

DATA = ("features", "split", "values")
"""Properties in which the budgets of one verdict may differ if the precondition `data` is waived."""
WINDOWS = (
    "The tests of the verdict include the variation over seeds (other trainings on the same windows) and over windows, "
    "paired over the budgets. Intervals of single means, and the power, include the seeds only."
)


class ScalingLawAnalysis:
    """A verdict over the budgets of each group of comparable studies."""

    def __init__(self, options: ScalingLawOptions) -> None:
        self._options = options

    def run(self, studies: Sequence[StudyView]) -> AnalysisResult:
        options = self._options
        if (options.points is None) == (not studies):
            raise ExperimentError(
                "a scaling law needs either studies, one per budget, or points=FILE with the columns parameters and "
                "loss: scalecore analyze scaling-law STUDY..."
            )
        if options.points is not None:
            table = read_table(options.points)
            one = judge_budgets(table.cells, options)
            runs = 0 if one.points is None else len(one.points.losses)
            return self._single(one, over=f"{plural(runs, 'run')} of a table", table=table)
        found = judge(self._groups(studies), options)
        if len(found) == 1:
            return self._single(found[0], over=plural(len(found[0].budgets), "budget"))
        return self._several(found)

    def _single(self, one: GroupVerdict, *, over: str, table: PointsTable | None = None) -> AnalysisResult:
        figures = scaling_figures(one.budgets, one.found) if one.found is not None else {}
        return AnalysisResult(
            title=f"Scaling law over {over}, {self._loss_name()}",
            summary=group_summary(one),
            tables={**group_tables(one), **_needs_table([one])},
            data={**group_data(one), "groups": [group_data(one)]},
            notes=[*_windows([one]), *group_notes(one), *_table_notes(table)],
            files={"figures.html": figure_page("Scaling law", figures), **figure_files(figures, self._options.figures)},
        )

    def _several(self, found: Sequence[GroupVerdict]) -> AnalysisResult:
        title = f"Scaling laws of {len(found)} groups, {self._loss_name()}"
        summary = [one.group.titled(verdict_text(one)) for one in found]
        summary += [one.group.titled(line) for one in found for line in needs_text(one)]
        summary += [multiplicity(found)]
        comparison = {"Comparison of the groups": [comparison_row(one) for one in found], **_needs_table(found)}
        figures: dict[str, Spec] = {}
        compared = {"Loss relative to the smallest budget": comparison_figure(found)}
        sections = [Section(title="Comparison of the groups", text=summary, tables=comparison, figures=compared)]
        tables: dict[str, Sequence[Row]] = dict(comparison)
        for one in found:
            drawn = scaling_figures(one.budgets, one.found) if one.found is not None else {}
            figures |= {one.group.titled(name): figure for name, figure in drawn.items()}
            tables |= {one.group.titled(name): rows for name, rows in group_tables(one).items()}
            text = [*group_summary(one), *group_notes(one)]
            sections.append(Section(title=one.group.label, text=text, tables=group_tables(one), figures=drawn))
        notes = _windows(found)
        notes += [one.group.titled(note) for one in found for note in (*no_law(one), *group_notes(one))]
        return AnalysisResult(
            title=title,
            summary=summary,
            tables=tables,
            data={"verdicts": {one.group.label: one.verdict for one in found}, "groups": list(map(group_data, found))},
            notes=notes,
            files={
                "figures.html": section_page(title, "", sections),
                **figure_files({**compared, **figures}, self._options.figures),
            },
        )

    def plan(self, studies: Sequence[StudyView], *, wanted: Sequence[PlannedTraining]) -> AnalysisPlan:
        if self._options.points is not None:
            return AnalysisPlan(lines=["fits the runs of a table, and needs no study"])
        verdicts = [planned_verdict(one, wanted=wanted, options=self._options) for one in self._groups(studies)]
        return AnalysisPlan(lines=verdict_lines(verdicts), data={"verdicts": [attrs.asdict(one) for one in verdicts]})

    def _groups(self, studies: Sequence[StudyView]) -> list[Group]:
        return budget_groups(studies, allow=DATA if "data" in self._options.waive else ())

    def _loss_name(self) -> str:
        metric = self._options.metric
        return f"1 - {metric} (experimental)" if metric in RATES else metric


def multiplicity(found: Sequence[GroupVerdict]) -> str:
    """How many verdicts are given, and what their error rates are."""
    count = sum(one.assessable for one in found)
    text = f"{plural(len(found), 'group')}, {plural(count, 'verdict')}"
    if count < 2:
        return f"{text}."
    different = [one.group.label for one in found if one.found is not None and one.found.adjusted != one.verdict]
    return (
        f"{text}: each has its own error rates (at most 5 % for a false `holds` and for a false `violated`). With "
        f"those rates for all {count} together (Bonferroni), "
        + (f"the verdict changes for {listed(different)}." if different else "no verdict changes.")
    )


def _windows(found: Sequence[GroupVerdict]) -> list[str]:
    """What the tests include, if it is known for a group; other groups have the reason among their notes."""
    tests = [one.found.tests for one in found if one.found is not None and one.found.tests is not None]
    return [WINDOWS] if any(one.trend.windows is None for one in tests) else []


def _needs_table(found: Sequence[GroupVerdict]) -> dict[str, list[Row]]:
    rows = [{**one.group.head, **need_row(need)} for one in found for need in one.needs]
    return {"What is missing": rows} if rows else {}


def _table_notes(table: PointsTable | None) -> list[str]:
    notes = []
    if table is not None and table.weighted:
        notes.append("Weights apply to the laws only; the means of the cells are unweighted.")
    if table is not None and table.ignored:
        notes.append(f"Ignored columns of the table: {listed(table.ignored)}.")
    if table is not None and len(table.cells) > SHOWN:
        notes.append(f"{SHOWN} of {len(table.cells)} cells are listed; `budgets` in the JSON has all.")
    return notes
