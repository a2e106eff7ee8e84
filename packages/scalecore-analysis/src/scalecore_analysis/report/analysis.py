"""Analysis `report`: a page per study, one of the campaign, the same as tables and data, files for papers."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from attrs import frozen

from scalecore.api.analysis import AnalysisResult
from scalecore.api.formatting import number
from scalecore.api.trials import StudyView
from scalecore_analysis.coverage import study_coverage
from scalecore_analysis.options import CoverageOptions, ReportOptions
from scalecore_analysis.report.architectures import architectures
from scalecore_analysis.report.best import best_trial_section
from scalecore_analysis.report.campaign.ledger import absent_studies
from scalecore_analysis.report.campaign.page import campaign_report
from scalecore_analysis.report.hardware import hardware
from scalecore_analysis.report.html import figure_files, file_name, report_page
from scalecore_analysis.report.paper import TableFormat, table_files
from scalecore_analysis.report.section import Section, Subject
from scalecore_analysis.report.setup import baselines, notes, setup, versions
from scalecore_analysis.report.training import distribution, learning_curves, sensitivity
from scalecore_analysis.report.trials import all_trials, flags, origins, states
from scalecore_analysis.studies import labelled
from scalecore_analysis.vega import FileFormat, Spec

__all__ = ["ReportAnalysis"]

CHAPTERS: tuple[Callable[[Subject], Section], ...] = (
    states,
    best_trial_section,
    baselines,
    setup,
    architectures,
    sensitivity,
    distribution,
    learning_curves,
    origins,
)


FIGURES: tuple[FileFormat, ...] = ("svg", "png", "pdf")
TABLES: tuple[TableFormat, ...] = ("csv", "tex")
WHOLE = "whole campaign"
"""The key of the campaign in the data; no study can have a name with a space."""
OPTIMISTIC = (
    "The best trial's value is optimistic, because it selected the trial. `scalecore confirm` (fresh seeds) and "
    "`scalecore evaluate` (test windows) estimate its performance."
)


@frozen(kw_only=True)
class _StudyReport:
    """The report of one study."""

    sentence: str
    sections: Sequence[Section]
    page: str

    @property
    def plain(self) -> dict[str, Any]:
        return {one.title: one.data for one in self.sections}

    @property
    def figures(self) -> dict[str, Spec]:
        return {title: spec for one in self.sections for title, spec in one.figures.items()}


class ReportAnalysis:
    """Reports each study separately, so the studies need not be comparable; several studies also together."""

    def __init__(self, options: ReportOptions) -> None:
        self._options = options

    def run(self, studies: Sequence[StudyView]) -> AnalysisResult:
        if len(studies) > 1:
            return self._several(studies)
        (study,) = studies
        found = self._study(study.name, study)
        return AnalysisResult(
            title="Report",
            summary=[found.sentence, *(f"{one.title}: {text}" for one in found.sections for text in one.text if text)],
            tables={f"{one.title}: {title}": rows for one in found.sections for title, rows in one.tables.items()},
            data={study.name: found.plain},
            notes=[OPTIMISTIC, *_without_result(study)],
            files={
                "report.html": found.page,
                **figure_files(found.figures, self._options.figures or ()),
                **table_files(found.sections, self._options.tables or (), source=found.sentence),
            },
        )

    def _several(self, studies: Sequence[StudyView]) -> AnalysisResult:
        """The page of the campaign, and the pages of its studies."""
        whole = campaign_report(studies)
        found = {name: self._study(name, study) for name, study in labelled(studies).items()}
        files: dict[str, str | bytes] = {"report.html": ""}
        pages: dict[str, str] = {}
        for name, one in found.items():
            pages[name] = file_name(name, "html", files)
            files[pages[name]] = one.page
            figures = {f"{name}: {title}": spec for title, spec in one.figures.items()}
            files |= figure_files(figures, self._options.figures or (), files)
        files["report.html"] = whole.page(pages)
        files |= whole.figure_files(FIGURES if self._options.figures is None else self._options.figures)
        tables = TABLES if self._options.tables is None else self._options.tables
        files |= table_files(whole.sections, tables, source=whole.title)
        return AnalysisResult(
            title=whole.title,
            summary=whole.summary,
            tables=whole.tables,
            data={WHOLE: whole.plain, **{name: one.plain for name, one in found.items()}},
            notes=[OPTIMISTIC],
            files=files,
        )

    def _study(self, name: str, study: StudyView) -> _StudyReport:
        subject = Subject.of(study)
        sections = [*notes(subject), *(one(subject) for one in CHAPTERS)]
        sections += [self._coverage(study), hardware(subject), flags(subject), versions(subject)]
        shown, rows = all_trials(subject)
        sentence = _sentence(name, subject)
        return _StudyReport(
            sentence=sentence,
            sections=(*sections, shown),
            page=report_page(f"{study.name}, budget {study.budget}", sentence, [*sections, shown], rows),
        )

    def _coverage(self, study: StudyView) -> Section:
        found = study_coverage(study, CoverageOptions())
        overview = [{"what": name, "value": value} for name, value in found["overview"].items()]
        titles = {"Pairs of dimensions": "pairwise", "Hyper-parameters": "hyperparameters", "Edges": "edges"}
        titles |= {"Gaps of the grid": "gaps", "Architectures tried more than once": "repeated"}
        tables = {title: found[key][: self._options.rows] for title, key in titles.items() if found[key]}
        return Section(title="Coverage", tables={"Overview": overview, **tables}, data=found)


def _without_result(study: StudyView) -> list[str]:
    """A note about studies of the same campaign that failed or were not begun: a campaign may have one result only."""
    rows = [row for row in absent_studies([study]) if row["state"] != "not named"]
    shown = [f"{row['study']} {row['state']}" + (f" ({row['reason']})" if row["reason"] else "") for row in rows]
    return [f"Studies of the campaign without a result: {'; '.join(shown)}."] if shown else []


def _sentence(name: str, subject: Subject) -> str:
    study, best = subject.study, subject.best
    text = f"{name}: {study.state}, {len(study.trials)} of {study.total} trials finished"
    if best is None:
        return f"{text}; no trial has completed."
    return f"{text}; best: trial {best.number}, {subject.metric} {number(best.value)}."
