"""The analysis of this package, for `scalecore analyze NAME`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from scalecore import hookimpl
from scalecore.api.components import AnalysisRecord
from scalecore_promotion.options import CrossBudgetOptions

if TYPE_CHECKING:
    from scalecore.api.analysis import Analysis


def _cross_budget(options: CrossBudgetOptions) -> Analysis:
    from scalecore_promotion.cross_budget import CrossBudget

    return CrossBudget(options)


@hookimpl
def scalecore_analyses() -> list[AnalysisRecord]:
    return [
        AnalysisRecord(
            name="cross-budget",
            summary="Train each budget's best configuration at every budget and test whether the ranking carries over.",
            options=CrossBudgetOptions,
            factory=_cross_budget,
            studies=2,
        )
    ]
