"""The analyses of this package, for `scalecore analyze NAME`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from scalecore import hookimpl
from scalecore.api.components import AnalysisRecord
from scalecore_analysis.options import (
    CalibrationOptions,
    CompareOptions,
    ConfirmOptions,
    CoverageOptions,
    CrossBudgetOptions,
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


def _compare(options: CompareOptions) -> Analysis:
    from scalecore_analysis.compare import CompareAnalysis

    return CompareAnalysis(options)


def _confirm(options: ConfirmOptions) -> Analysis:
    from scalecore_analysis.confirmation.analysis import ConfirmAnalysis

    return ConfirmAnalysis(options)


def _cross_budget(options: CrossBudgetOptions) -> Analysis:
    from scalecore_analysis.cross_budget import CrossBudget

    return CrossBudget(options)


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
            summary="Write pages of studies and campaigns with tables, figures and all trials; they open offline.",
            options=ReportOptions,
            factory=_report,
        ),
        AnalysisRecord(
            name="results",
            summary="Compare studies: best trial with its interval, ties, optimism, collapsed trials, wasted time.",
            options=ResultsOptions,
            factory=_results,
        ),
        AnalysisRecord(
            name="compare",
            summary="Compare studies in pairs, by window: search against a fixed configuration, tiers, model families.",
            options=CompareOptions,
            factory=_compare,
        ),
        AnalysisRecord(
            name="coverage",
            summary="Report which parts of the search space were tried, and whether the best trial is on an edge.",
            options=CoverageOptions,
            factory=_coverage,
        ),
        AnalysisRecord(
            name="calibration",
            summary="Measure the calibration of a trial's probabilities, and whether a calibrator improves it.",
            options=CalibrationOptions,
            factory=_calibration,
        ),
        AnalysisRecord(
            name="confirm",
            summary="Retrain the best trials on fresh seeds and test whether they differ.",
            options=ConfirmOptions,
            factory=_confirm,
        ),
        AnalysisRecord(
            name="cross-budget",
            summary="Train each budget's best configuration at every budget and test whether the ranking carries over.",
            options=CrossBudgetOptions,
            factory=_cross_budget,
            studies=2,
        ),
        AnalysisRecord(
            name="scaling-law",
            summary="Test whether the loss falls with model size, and by which law, over studies of several budgets.",
            options=ScalingLawOptions,
            factory=_scaling_law,
            studies=0,
        ),
        AnalysisRecord(
            name="power",
            summary="Compute which effects a number of budgets and seeds can detect, and how many seeds are needed.",
            options=PowerOptions,
            factory=_power,
            studies=0,
        ),
    ]
