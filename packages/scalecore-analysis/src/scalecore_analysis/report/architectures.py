"""Results by architecture: by dimension, by scale-independent ratio, and by number of parameters."""

from __future__ import annotations

import statistics
from collections.abc import Callable
from functools import partial
from typing import Any

from scalecore.api.formatting import shape
from scalecore.api.space import Architecture
from scalecore.api.trials import TrialRecord
from scalecore_analysis.report.section import Row, Section, Subject
from scalecore_analysis.studies import ratios
from scalecore_analysis.vega import Point, Series, Spec, figure

__all__ = ["architectures"]

LEVELS = 12
"""Maximum number of values shown one by one; more are grouped into `BINS` ranges with similar numbers of trials."""
BINS = 8

Coordinate = Callable[[Architecture], float | None]


def architectures(subject: Subject) -> Section:
    """One table per dimension and ratio, and figures of the objective against aspect and parameters."""
    known = ratios(subject.study)
    names = subject.study.plan.architectures.dimensions
    coordinates: dict[str, Coordinate] = {name: partial(_size, name) for name in names}
    coordinates |= {f"{title} ({ratio.name})": ratio.of for title, ratio in known.items()}
    tables = {f"By {name}": _by(subject, name, of) for name, of in coordinates.items()}
    aspect = known.get("aspect")
    drawn: dict[str, Coordinate] = {"parameters": lambda architecture: architecture.num_parameters}
    if aspect is not None:
        drawn = {f"aspect ({aspect.name})": aspect.of, **drawn}
    figures = {
        f"{subject.metric} against {name.partition(' (')[0]}": _scatter(subject, name, of)
        for name, of in drawn.items()
        if any(of(trial.architecture) for trial in subject.completed)
    }
    text = [] if aspect is not None else ["The model family declares no width and depth, so no aspect is shown."]
    return Section(title="Architectures", text=text, tables=tables, figures=figures, data=tables)


def _size(name: str, architecture: Architecture) -> float | None:
    return architecture.values.get(name)


def _by(subject: Subject, name: str, of: Coordinate) -> list[Row]:
    """The counted trials by the value of one coordinate."""
    placed = [(value, trial) for trial in subject.study.counted if (value := of(trial.architecture)) is not None]
    levels = sorted({value for value, _ in placed})
    groups: list[tuple[Any, list[TrialRecord]]]
    if len(levels) <= LEVELS:
        groups = [(value, [trial for at, trial in placed if at == value]) for value in levels]
    else:
        groups = _ranges(placed)
    completed = {trial.number for trial in subject.completed}
    rows = []
    for shown, trials in groups:
        values = [float(t.value) for t in trials if t.number in completed and t.value is not None]
        rows.append(
            {
                name: shown,
                "trials": len(trials),
                "completed": len(values),
                "collapsed": sum(trial.collapsed for trial in trials),
                "best": subject.better(values),
                "median": statistics.median(values) if values else None,
                "mean": statistics.fmean(values) if values else None,
            }
        )
    return rows


def _ranges(placed: list[tuple[float, TrialRecord]]) -> list[tuple[str, list[TrialRecord]]]:
    """Ranges with similar numbers of trials; equal values stay in one range."""
    ordered = sorted(placed, key=lambda one: (one[0], one[1].number))
    size = len(ordered) / BINS
    bins: list[list[tuple[float, TrialRecord]]] = [[]]
    for index, one in enumerate(ordered):
        if bins[-1] and index >= size * len(bins) and one[0] != bins[-1][-1][0]:
            bins.append([])
        bins[-1].append(one)
    return [(f"{part[0][0]:.4g} to {part[-1][0]:.4g}", [trial for _, trial in part]) for part in bins]


def _scatter(subject: Subject, name: str, of: Coordinate) -> Spec:
    series = []
    for title, wanted, symbol, colour in (
        ("trials", False, "circle", "#3d8bd4"),
        ("predicts a constant", True, "cross", "#e08a1e"),
    ):
        trials = [trial for trial in subject.completed if trial.collapsed is wanted and of(trial.architecture)]
        points = [
            Point(x=of(t.architecture), y=t.value, text=f"trial {t.number}: {shape(t.architecture)}") for t in trials
        ]
        series += [Series(name=title, points=points, colour=colour, style={"shape": symbol})] if trials else []
    best = subject.best
    if best is not None and of(best.architecture):
        at = [Point(x=of(best.architecture), y=best.value)]
        ring = {"size": 256, "filled": False, "strokeWidth": 3}
        series.append(Series(name=f"best, trial {best.number}", points=at, colour="#d62728", style=ring))
    baseline = subject.study.plan.data.best_baseline
    levels = {}
    if subject.metric == "val_loss" and baseline is not None and baseline.loss is not None:
        levels = {f"best baseline: {baseline.name}": baseline.loss}
    return figure(*series, x=name, y=subject.metric, scale="log", levels=levels)
