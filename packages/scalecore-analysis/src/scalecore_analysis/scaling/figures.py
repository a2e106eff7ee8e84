"""Figures of a scaling law: loss against size, residuals of the laws, loss against aspect."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from attrs import evolve

from scalecore_analysis.scaling.assess import Assessment, FittedLaw, difference_width, mean_interval
from scalecore_analysis.scaling.budgets import BudgetRuns
from scalecore_analysis.scaling.group_verdict import GroupVerdict
from scalecore_analysis.vega import GREY, UNSEEN, Point, Series, Spec, figure

__all__ = ["comparison_figure", "scaling_figures"]

COLOURS = {
    "constant": "#7f7f7f",
    "power": "#1f77b4",
    "power with floor": "#2ca02c",
    "quadratic": "#d62728",
    "N and D": "#9467bd",
}


def scaling_figures(budgets: Sequence[BudgetRuns], assessment: Assessment) -> dict[str, Spec]:
    """The figures by title, without empty ones."""
    figures = {"Loss against parameters": loss_figure(budgets, assessment)}
    if any(law.fit is not None for law in assessment.laws):
        figures["Residuals: log of the loss minus log of the law"] = residual_figure(budgets, assessment)
    if any(trial["aspect"] is not None for one in budgets for trial in one.others):
        figures["Loss against aspect, log2(width / depth)"] = aspect_figure(budgets)
    return figures


def loss_figure(budgets: Sequence[BudgetRuns], assessment: Assessment) -> Spec:
    """All trials in grey, selected configurations with intervals, laws with bands, baselines as lines."""
    trials = [
        Point(x=trial["parameters"], y=trial["loss"], text=f"{one.label}, trial {trial['number']}")
        for one in budgets
        for trial in one.others
    ]
    series = [Series(name="all trials", points=trials, colour=GREY, style={"opacity": 0.45})] if trials else []
    series += [found for law in assessment.laws if (found := _law(law, budgets)) is not None]
    tests = assessment.tests
    chosen = []
    for one in budgets:
        low, high = mean_interval(one.losses, variance=tests.variance, freedom=tests.freedom) if tests else (None, None)
        text = f"{one.label}: {one.chosen or ''}"
        chosen.append(Point(x=one.parameters, y=one.mean, low=low, high=high, text=text))
    series.append(
        Series(
            name="selected, mean over seeds, 95 % interval",
            points=chosen,
            marks=["rule", "point"],
            colour="#ff7f0e",
            style={"size": 100},
        )
    )
    baselines = dict(one.baseline for one in reversed(budgets) if one.baseline)
    levels = {f"baseline {name}": baselines[name] for name in sorted(baselines)}
    return figure(*series, x="parameters N", y="loss", scale="log", levels=levels)


def comparison_figure(found: Sequence[GroupVerdict]) -> Spec:
    """For each group the difference of each budget's mean from that of the smallest, as a share of the latter."""
    series = []
    for one in found:
        tests = one.found.tests if one.found is not None else None
        if not one.budgets:
            continue
        first, points = one.budgets[0], []
        for runs in one.budgets:
            change = (runs.mean - first.mean) / first.mean
            width = 0.0
            if tests is not None and runs is not first:
                width = difference_width(first.losses, runs.losses, tests=tests) / first.mean
            text = f"{one.group.label}: {runs.label}"
            points.append(Point(x=runs.parameters, y=change, low=change - width, high=change + width, text=text))
        series.append(Series(name=one.group.label, points=points, marks=["rule", "line", "point"]))
    return figure(
        *series, x="parameters N", y="relative difference of the loss, 95 % interval", scale="log", levels={"": 0.0}
    )


def _law(law: FittedLaw, budgets: Sequence[BudgetRuns]) -> Series | None:
    """The curve over the budgets and beyond, with its band unless there is a lack of fit."""
    if law.fit is None or law.thetas is None:
        return None
    sizes = np.geomspace(min(one.parameters for one in budgets) / 1.5, max(one.parameters for one in budgets) * 3, 80)
    windows = np.full(len(sizes), float(np.exp(np.log(law.fit.points.windows).mean())))
    points = [Point(x=x, y=y) for x, y in zip(sizes, law.fit.predict(sizes, windows), strict=True)]
    if not law.misses:
        band = np.quantile(law.fit.predict(sizes, windows, theta=law.thetas), (0.025, 0.975), axis=0)
        points = [evolve(point, low=low, high=high) for point, low, high in zip(points, *band, strict=True)]
    return Series(
        name=law.name,
        points=points,
        marks=["line", "point"] if law.misses else ["area", "line", "point"],
        colour=COLOURS[law.name],
        style=UNSEEN,
        hidden=law.weight is None or law.weight < 0.1,
    )


def residual_figure(budgets: Sequence[BudgetRuns], assessment: Assessment) -> Spec:
    """The residuals of each law by run: a law that fits leaves no pattern."""
    labels = [one.label for one in budgets for cell in (one.runs, *one.longer) for _ in cell]
    series = []
    for law in assessment.laws:
        if law.fit is None:
            continue
        runs = law.fit.points
        left = np.log(runs.losses) - np.log(law.fit.predict(runs.parameters, runs.windows))
        points = [Point(x=x, y=y, text=label) for x, y, label in zip(runs.parameters, left, labels, strict=True)]
        series.append(Series(name=law.name, points=points, colour=COLOURS[law.name]))
    return figure(*series, x="parameters N", y="difference of logs", scale="log", levels={"": 0.0})


def aspect_figure(budgets: Sequence[BudgetRuns]) -> Spec:
    """All trials of each budget against aspect: whether wide or deep models are better, and whether the best are at
    an end."""
    series = []
    for one in budgets:
        known = [trial for trial in one.others if trial["aspect"] is not None]
        points = [Point(x=trial["aspect"], y=trial["loss"], text=f"trial {trial['number']}") for trial in known]
        series.append(Series(name=one.label, points=points))
    return figure(*series, x="aspect, log2(width / depth)", y="loss")
