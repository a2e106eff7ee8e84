"""The analyses of this package, for `scalecore analyze NAME`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from scalecore import hookimpl
from scalecore.api.components import AnalysisRecord
from scalecore_analysis.options import (
    CalibrationOptions,
    CoverageOptions,
    PowerOptions,
    ReportOptions,
    ResultsOptions,
    ScalingLawOptions,
)

if TYPE_CHECKING:
    from scalecore.api.analysis import Analysis


def _calibration(options: CalibrationOptions) -> Analysis:
    from scalecore_analysis.calibration import CalibrationAnalysis

    return CalibrationAnalysis(options)


def _coverage(options: CoverageOptions) -> Analysis:
    from scalecore_analysis.coverage import CoverageAnalysis

    return CoverageAnalysis(options)


def _power(options: PowerOptions) -> Analysis:
    from scalecore_analysis.power import PowerAnalysis

    return PowerAnalysis(options)


def _report(options: ReportOptions) -> Analysis:
    from scalecore_analysis.report.analysis import ReportAnalysis

    return ReportAnalysis(options)


def _results(options: ResultsOptions) -> Analysis:
    from scalecore_analysis.results import ResultsAnalysis

    return ResultsAnalysis(options)


def _scaling_law(options: ScalingLawOptions) -> Analysis:
    from scalecore_analysis.scaling_law import ScalingLawAnalysis

    return ScalingLawAnalysis(options)


@hookimpl
def scalecore_analyses() -> list[AnalysisRecord]:
    return [
        AnalysisRecord(
            name="report",
            summary="Everything about each study: tables, figures, and all trials on one page that opens offline.",
            options=ReportOptions,
            factory=_report,
        ),
        AnalysisRecord(
            name="results",
            summary="What studies found: the best with its interval, what is tied with it, luck, collapse and waste.",
            options=ResultsOptions,
            factory=_results,
        ),
        AnalysisRecord(
            name="coverage",
            summary="What of the search space was tried and what not; whether the best trial lies on an edge.",
            options=CoverageOptions,
            factory=_coverage,
        ),
        AnalysisRecord(
            name="calibration",
            summary="Whether the probabilities of a trial can be believed, and whether a calibrator helps.",
            options=CalibrationOptions,
            factory=_calibration,
        ),
        AnalysisRecord(
            name="scaling-law",
            summary="Whether the loss falls with the size of the model, and by which law; studies of several budgets.",
            options=ScalingLawOptions,
            factory=_scaling_law,
            studies=0,
        ),
        AnalysisRecord(
            name="power",
            summary="What a design of so many budgets and seeds can find, and how many seeds a finding needs.",
            options=PowerOptions,
            factory=_power,
            studies=0,
        ),
    ]
