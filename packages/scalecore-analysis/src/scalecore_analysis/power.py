"""Analysis `power`: which effects a design of budgets and seeds can detect, before it is run."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from scalecore.api.analysis import AnalysisResult
from scalecore.api.errors import DataError
from scalecore.api.trials import StudyView
from scalecore_analysis.groups import budget_groups
from scalecore_analysis.options import PowerOptions
from scalecore_analysis.scaling.assess import pooled_variance
from scalecore_analysis.scaling.budgets import from_studies
from scalecore_analysis.scaling.power import TRUTHS, Design
from scalecore_analysis.scaling.verdict import smallest_effect

__all__ = ["PowerAnalysis"]


class PowerAnalysis:
    """Power of the verdict on a scaling claim; spread and margin come from the studies unless given."""

    def __init__(self, options: PowerOptions) -> None:
        self._options = options

    def run(self, studies: Sequence[StudyView]) -> AnalysisResult:
        """The power of one design, or of each group of comparable studies."""
        groups = budget_groups(studies)
        if len(groups) < 2:
            return self._design(groups[0].studies if groups else ())
        found: dict[str, AnalysisResult] = {}
        refused: list[DataError] = []
        for group in groups:
            try:
                found[group.label] = self._design(group.studies)
            except DataError as error:
                refused.append(DataError(group.titled(str(error))))
        if not found:
            raise refused[0]
        first = next(iter(found.values()))
        return AnalysisResult(
            title=f"{first.title}, {len(groups)} groups",
            summary=[
                *(f"{label}: {line}" for label, one in found.items() for line in one.summary),
                *(f"{error}." for error in refused),
            ],
            tables={
                name: [{"group": label, **row} for label, one in found.items() for row in one.tables[name]]
                for name in first.tables
            },
            data={"groups": [{"group": label, **one.data} for label, one in found.items()]},
            notes=first.notes,
        )

    def _design(self, studies: Sequence[StudyView]) -> AnalysisResult:
        options = self._options
        budgets, spread, margin, origin = options.budgets, options.spread, options.margin, "given"
        if studies:
            runs = from_studies(studies, metric=options.metric, seeds=2)
            budgets = len(studies)
            if spread is None:
                variance, freedom = pooled_variance(runs)
                if not freedom or variance <= 0:
                    raise DataError(
                        "no study has a configuration with two seeds, so the spread over seeds is unknown: give "
                        "spread=..., or run `scalecore confirm` first"
                    )
                spread, origin = variance**0.5, f"from {freedom + len(runs)} runs of these studies"
            declared = {one.margin for one in runs}
            margin = margin if margin is not None or len(declared) > 1 else next(iter(declared))
        if budgets < 3:
            raise DataError(f"a scaling claim needs at least 3 budgets, one study each; studies given: {budgets}")
        unit = spread or 1.0
        relative = (margin / unit) if margin is not None else 1.0
        design = Design(budgets=budgets, margin=relative)
        rows = _rates(design, options.effects, options.seeds, unit=unit)
        needed = _needed(design, options.effects, unit=unit)
        measure = f"{spread:.4g} ({origin})" if spread is not None else "unknown (all results are in units of it)"
        summary = [
            f"{budgets} budgets; spread over seeds {measure}; margin {relative * unit:.4g}"
            + ("" if margin is not None else " (one spread: no margin is given or declared equally by all studies)")
            + ".",
            f"Seeds per budget for a power of 80 %: {'; '.join(_needed_text(row) for row in needed)}.",
        ]
        return AnalysisResult(
            title="Power of a scaling claim",
            summary=summary,
            tables={
                "Rates of the verdicts": rows,
                "Fewest seeds of each budget for a power of 80 %": needed,
                "Smallest difference of two budgets that is found in 4 of 5 cases": [
                    {"seeds": seeds, "difference": smallest_effect(seeds=[seeds] * budgets, variance=unit**2)}
                    for seeds in options.seeds
                ],
            },
            data={"budgets": budgets, "spread": spread, "margin": margin, "rates": rows, "needed": needed},
            notes=[f"{kind}: {text}." for kind, text in TRUTHS.items()]
            + ["An effect within the margin results in the verdict flat, whatever the number of seeds."]
            + ["More budgets often help more than more seeds: a power law with floor needs at least 4, better 5."],
        )


def _truths(effects: Sequence[float]) -> list[tuple[str, float]]:
    return [(kind, step) for kind in TRUTHS for step in (effects if kind != "flat" else (0.0,))]


def _rates(design: Design, effects: Sequence[float], seeds: Sequence[int], *, unit: float) -> list[dict[str, Any]]:
    rows = []
    for kind, step in _truths(effects):
        for count in seeds:
            power, found = design.rates(kind, step, seeds=count)
            rows.append({"truth": kind, "step": step * unit, "step / spread": step, "seeds": count, "power": power})
            rows[-1] |= {"holds": found.holds, "violated": found.violated, "flat": found.flat}
            rows[-1]["inconclusive"] = found.inconclusive
    return rows


def _needed(design: Design, effects: Sequence[float], *, unit: float) -> list[dict[str, Any]]:
    return [
        {"truth": kind, "step": step * unit, "step / spread": step, "seeds": design.seeds_for(kind, step)}
        for kind, step in _truths(effects)
    ]


def _needed_text(row: dict[str, Any]) -> str:
    step = f" by {row['step']:.3g}" if row["step"] else ""
    return f"{row['truth']}{step}: {row['seeds']}"
