"""Analysis `report`: one page per study, and the same content as tables and data."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from scalecore.api.analysis import AnalysisResult
from scalecore.api.formatting import number
from scalecore.api.trials import StudyView
from scalecore_analysis.coverage import study_coverage
from scalecore_analysis.options import CoverageOptions, ReportOptions
from scalecore_analysis.report.architectures import architectures
from scalecore_analysis.report.best import best_trial_section
from scalecore_analysis.report.hardware import hardware
from scalecore_analysis.report.html import figure_files, file_name, report_page
from scalecore_analysis.report.section import Section, Subject
from scalecore_analysis.report.setup import baselines, notes, setup, versions
from scalecore_analysis.report.training import distribution, learning_curves, sensitivity
from scalecore_analysis.report.trials import all_trials, flags, origins, states
from scalecore_analysis.studies import labelled

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


class ReportAnalysis:
    """Reports each study separately, so the studies need not be comparable."""

    def __init__(self, options: ReportOptions) -> None:
        self._options = options

    def run(self, studies: Sequence[StudyView]) -> AnalysisResult:
        tables: dict[str, Sequence[Mapping[str, Any]]] = {}
        data: dict[str, Any] = {}
        files: dict[str, str | bytes] = {}
        summary: list[str] = []
        for name, study in labelled(studies).items():
            subject = Subject.of(study)
            sections = [*notes(subject), *(one(subject) for one in CHAPTERS)]
            sections += [self._coverage(study), hardware(subject), flags(subject), versions(subject)]
            shown, rows = all_trials(subject)
            sentence = _sentence(name, subject)
            page = report_page(f"{study.name}, budget {study.budget}", sentence, [*sections, shown], rows)
            file = "report.html" if len(studies) == 1 else file_name(name, "html", files)
            files[file] = page
            prefix = "" if len(studies) == 1 else f"{name}: "
            figures = {f"{prefix}{title}": one for section in sections for title, one in section.figures.items()}
            files |= figure_files(figures, self._options.figures, files)
            summary.append(sentence)
            data[name] = {one.title: one.data for one in (*sections, shown)}
            for one in (*sections, shown):
                summary += [f"{prefix}{one.title}: {text}" for text in one.text if text]
                tables |= {f"{prefix}{one.title}: {title}": rows for title, rows in one.tables.items()}
        return AnalysisResult(
            title="Report" if len(studies) == 1 else f"Reports of {len(studies)} studies",
            summary=summary,
            tables=tables,
            data=data,
            notes=[
                "The best trial's value is optimistic, because it selected the trial. `scalecore confirm` (fresh "
                "seeds) and `scalecore evaluate` (test windows) estimate its performance.",
            ],
            files=files,
        )

    def _coverage(self, study: StudyView) -> Section:
        found = study_coverage(study, CoverageOptions())
        overview = [{"what": name, "value": value} for name, value in found["overview"].items()]
        titles = {"Pairs of dimensions": "pairwise", "Hyper-parameters": "hyperparameters", "Edges": "edges"}
        titles |= {"Gaps of the grid": "gaps", "Architectures tried more than once": "repeated"}
        tables = {title: found[key][: self._options.rows] for title, key in titles.items() if found[key]}
        return Section(title="Coverage", tables={"Overview": overview, **tables}, data=found)


def _sentence(name: str, subject: Subject) -> str:
    study, best = subject.study, subject.best
    text = f"{name}: {study.state}, {len(study.trials)} of {study.total} trials finished"
    if best is None:
        return f"{text}; no trial has completed."
    return f"{text}; best: trial {best.number}, {subject.metric} {number(best.value)}."
