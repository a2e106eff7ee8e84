"""Figures of comparisons: the differences with their intervals, and the loss against the number of features."""

from __future__ import annotations

from collections.abc import Sequence
from typing import get_args

from scalecore_analysis.comparing.judged import JudgedComparison
from scalecore_analysis.comparing.tables import feature_groups, feature_rows
from scalecore_analysis.comparing.verdicts import StudyVerdict
from scalecore_analysis.vega import Point, Series, Spec, figure

__all__ = ["BY_FEATURES", "DIFFERENCES", "comparison_figures"]

DIFFERENCES = "Differences with intervals"
BY_FEATURES = "Loss by number of features"
COLOURS = {"better": "#2ca02c", "equivalent": "#1f77b4", "worse": "#d62728", "inconclusive": "#7f7f7f"}


def comparison_figures(found: Sequence[JudgedComparison]) -> dict[str, Spec]:
    """The figures by title."""
    figures = {DIFFERENCES: _differences(found)}
    if groups := feature_groups(found):
        figures[BY_FEATURES] = _features(list(groups.values()))
    return figures


def _differences(found: Sequence[JudgedComparison]) -> Spec:
    """In the order of the table; a point is a difference."""
    series = []
    for verdict in get_args(StudyVerdict):
        points = []
        for number, one in enumerate(found, 1):
            low, high = one.interval or (None, None)
            text = f"{one.contrast}{f' at {one.where}' if one.where else ''}"
            if one.verdict == verdict:
                points.append(Point(x=number, y=one.compared.estimate.value, low=low, high=high, text=text))
        if points:
            series.append(
                Series(
                    name=verdict,
                    points=points,
                    marks=["rule", "point"],
                    colour=COLOURS[verdict],
                    style={"size": 100},
                )
            )
    margins = {one.compared.margin for one in found}
    levels = {"": 0.0}
    if len(margins) == 1:
        (margin,) = margins
        levels |= {"margin": margin, "-margin": -margin}
    metric = found[0].compared.metric
    return figure(*series, x="comparison, as numbered in the table", y=f"difference of {metric}", levels=levels)


def _features(groups: Sequence[Sequence[JudgedComparison]]) -> Spec:
    """One line per group, such as a budget."""
    series = []
    for group in groups:
        metric = group[0].compared.metric
        points = [
            Point(x=row["features"], y=row[metric], low=row["low"], high=row["high"], text=row["study"])
            for row in feature_rows(group)
        ]
        series.append(
            Series(name=group[0].where or metric, points=points, marks=["rule", "line", "point"], style={"size": 100})
        )
    return figure(*series, x="number of features", y=groups[0][0].compared.metric)
