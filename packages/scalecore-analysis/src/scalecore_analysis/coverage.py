"""Analysis `coverage`: the tried and untried parts of a search space.

All finished trials count, whatever their state: a failed trial has visited its point too.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from itertools import combinations, pairwise
from typing import Any

from scalecore.api.analysis import AnalysisResult
from scalecore.api.space import Choice, levels
from scalecore.api.trials import StudyView, TrialRecord, TrialState
from scalecore_analysis.edges import edges_of, is_numeric
from scalecore_analysis.groups import comparable_groups, labelled_groups
from scalecore_analysis.options import CoverageOptions
from scalecore_analysis.studies import SEARCHED

__all__ = ["CoverageAnalysis", "study_coverage"]

Shape = tuple[int, ...]


class CoverageAnalysis:
    """Coverage of each study."""

    def __init__(self, options: CoverageOptions) -> None:
        self._options = options

    def run(self, studies: Sequence[StudyView]) -> AnalysisResult:
        groups = comparable_groups(studies)
        known = labelled_groups(groups)
        found = {name: study_coverage(study, self._options) for name, (study, _) in known.items()}
        columns = {name: {**group.head, "study": name} for name, (_, group) in known.items()}
        tables: dict[str, list[dict[str, Any]]] = {
            "Overview": [{**columns[name], **one["overview"]} for name, one in found.items()],
            "Where trials came from": [{**columns[name], **one["origins"]} for name, one in found.items()],
        }
        for title, key in (
            ("Values of each dimension", "marginal"),
            ("Pairs of dimensions", "pairwise"),
            ("Hyper-parameters", "hyperparameters"),
            ("The best trial and the edges", "edges"),
            ("Gaps of the grid", "gaps"),
            ("Architectures tried more than once", "repeated"),
        ):
            tables[title] = [{**columns[name], **row} for name, one in found.items() for row in one[key]]
        return AnalysisResult(
            title=f"Coverage of {len(studies)} studies in {len(groups)} groups" if len(groups) > 1 else "Coverage",
            summary=[known[name][1].titled(_sentence(name, one)) for name, one in found.items()],
            tables=tables,
            data={name: {**known[name][1].head, **one} for name, one in found.items()},
            notes=[
                "A cell is a combination of low, middle and high thirds of the dimensions that contains a feasible "
                "architecture.",
                "An optimum on an edge may lie beyond it: widen the range or dimension and search again.",
            ],
        )


def study_coverage(study: StudyView, options: CoverageOptions) -> dict[str, Any]:
    """All numbers of one study, as plain JSON types."""
    grid = study.plan.architectures
    names = list(grid.dimensions)
    feasible: list[Shape] = [tuple(shape.values[name] for name in names) for shape in grid.architectures]
    known = set(feasible)
    tried = [tuple(trial.architecture.values.get(name, 0) for name in names) for trial in study.trials]
    visits = Counter(shape for shape in tried if shape in known)
    cells, visited = _cells(feasible, visits)
    repeats = [count for count in Counter(_point(trial) for trial in study.trials).values() if count > 1]
    edges = edges_of(study, study.best, edge=options.edge) if study.best is not None else []
    return {
        "overview": {
            "trials": len(study.trials),
            "of": study.total,
            "feasible architectures": len(feasible),
            "tried": len(visits),
            "share": len(visits) / len(feasible) if feasible else None,
            "cells": len(cells),
            "cells tried": len(visited),
            "same point again": sum(count - 1 for count in repeats),
            "duplicates avoided": study.duplicates_avoided,
            "redirected": sum(trial.origin.kind == "redirected" for trial in study.trials),
            "best on an edge": None if study.best is None else any(row["on edge"] for row in edges),
        },
        "origins": {kind: sum(trial.origin.kind == kind for trial in study.trials) for kind in SEARCHED},
        "marginal": _marginal(study, names, feasible),
        "pairwise": _pairwise(names, feasible, visits),
        "hyperparameters": _hyperparameters(study, options.bins),
        "edges": edges,
        "gaps": [
            {
                "from": round(low * (grid.budget or 0)),
                "to": round(high * (grid.budget or 0)),
                "share of budget": f"{low:.0%} to {high:.0%}",
            }
            for low, high in grid.gaps
        ],
        "repeated": _repeated(study),
    }


def _point(trial: TrialRecord) -> tuple[Any, ...]:
    """A trial's configuration, without its seed."""
    return trial.architecture.id, tuple(sorted(trial.hyperparameters.items()))


def _cells(feasible: Sequence[Shape], visits: Mapping[Shape, int]) -> tuple[set[Shape], set[Shape]]:
    """Combinations of thirds that contain a feasible architecture, and the tried ones."""
    levels = [sorted(set(column)) for column in zip(*feasible, strict=True)]

    def cell(shape: Shape) -> Shape:
        return tuple(3 * values.index(value) // len(values) for values, value in zip(levels, shape, strict=True))

    return {cell(shape) for shape in feasible}, {cell(shape) for shape in visits}


def _marginal(study: StudyView, names: Sequence[str], feasible: Sequence[Shape]) -> list[dict[str, Any]]:
    rows = []
    for index, name in enumerate(names):
        for value in sorted({shape[index] for shape in feasible}):
            trials = [trial for trial in study.trials if trial.architecture.values.get(name) == value]
            rows.append(
                {
                    "dimension": name,
                    "value": value,
                    "feasible": sum(shape[index] == value for shape in feasible),
                    "tried": len({trial.architecture.id for trial in trials}),
                    "trials": len(trials),
                    "completed": sum(trial.state is TrialState.COMPLETED for trial in trials),
                }
            )
    return rows


def _pairwise(names: Sequence[str], feasible: Sequence[Shape], visits: Mapping[Shape, int]) -> list[dict[str, Any]]:
    """How many of the pairs of values that occur in a feasible architecture were tried."""
    rows = []
    for first, second in combinations(range(len(names)), 2):
        possible = {(shape[first], shape[second]) for shape in feasible}
        seen = {(shape[first], shape[second]) for shape in visits}
        share = len(seen) / len(possible) if possible else None
        rows.append({"pair": f"{names[first]}, {names[second]}", "feasible": len(possible), "tried": len(seen)})
        rows[-1]["share"] = share
    return rows


def _hyperparameters(study: StudyView, bins: int) -> list[dict[str, Any]]:
    """How many bins of each range (equal width on its own scale), or values of each choice, were tried."""
    rows = []
    for name, distribution in study.plan.space.items():
        values = [trial.hyperparameters[name] for trial in study.trials if name in trial.hyperparameters]
        inside = [value for value in values if distribution.contains(value)]
        units = [distribution.unit(value) for value in inside]
        count = levels(distribution)
        if isinstance(distribution, Choice):
            parts, seen = count, len(set(inside))
            widest = None
        else:
            parts = min(bins, count or bins)
            seen = len({min(int(unit * parts), parts - 1) for unit in units})
            widest = max((b - a for a, b in pairwise([0.0, *sorted(units), 1.0])), default=None)
        rows.append(
            {
                "name": name,
                "values": len(set(values)),
                "low": min(values, default=None) if is_numeric(values) else None,
                "high": max(values, default=None) if is_numeric(values) else None,
                "parts": parts,
                "tried": seen,
                "widest gap": widest,
            }
        )
    return rows


def _repeated(study: StudyView) -> list[dict[str, Any]]:
    groups: dict[str, list[TrialRecord]] = {}
    for trial in study.trials:
        groups.setdefault(trial.architecture.id, []).append(trial)
    rows = []
    for shape, trials in groups.items():
        if len(trials) > 1:
            points = len({_point(trial) for trial in trials})
            rows.append({"architecture": shape, "trials": len(trials), "different points": points})
            rows[-1]["numbers"] = ", ".join(str(trial.number) for trial in trials)
    return sorted(rows, key=lambda row: (-row["trials"], row["architecture"]))


def _sentence(name: str, found: Mapping[str, Any]) -> str:
    overview = found["overview"]
    edges = [f"{row['name']} {row['on edge']} ({row['value']})" for row in found["edges"] if row["on edge"]]
    text = (
        f"{name}: {overview['tried']} of {overview['feasible architectures']} feasible architectures and "
        f"{overview['cells tried']} of {overview['cells']} cells tried in {overview['trials']} trials"
    )
    never = [f"{row['dimension']}={row['value']}" for row in found["marginal"] if not row["trials"]]
    text += f"; never tried: {', '.join(never)}" if never else ""
    if overview["best on an edge"] is None:
        return f"{text}. No trial has completed."
    return f"{text}. " + (f"The best trial has {' and '.join(edges)}." if edges else "The best trial is on no edge.")
