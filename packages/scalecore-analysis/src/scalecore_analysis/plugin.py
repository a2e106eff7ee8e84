"""The analyses of this package, for `scalecore analyze NAME`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from scalecore import hookimpl
from scalecore.records import AnalysisRecord
from scalecore_analysis.options import CoverageOptions

if TYPE_CHECKING:
    from scalecore.protocols import Analysis


def _coverage(options: CoverageOptions) -> Analysis:
    from scalecore_analysis.coverage import CoverageAnalysis

    return CoverageAnalysis(options)


@hookimpl
def scalecore_analyses() -> list[AnalysisRecord]:
    return [
        AnalysisRecord(
            name="coverage",
            summary="What of the search space was tried and what not; whether the best trial lies on an edge.",
            options=CoverageOptions,
            factory=_coverage,
        ),
    ]
