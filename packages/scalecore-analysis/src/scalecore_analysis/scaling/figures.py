"""Figures of a scaling law: loss against size, what the laws leave over, loss against the shape of the model."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from scalecore_analysis.page import label, new_figure
from scalecore_analysis.scaling.assess import Assessment, FittedLaw, mean_interval
from scalecore_analysis.scaling.budgets import BudgetRuns

if TYPE_CHECKING:
    from plotly.graph_objects import Figure

__all__ = ["scaling_figures"]

COLOURS = {
    "constant": "#7f7f7f",
    "power": "#1f77b4",
    "power with floor": "#2ca02c",
    "quadratic": "#d62728",
    "N and D": "#9467bd",
}
FADED = "rgba(128,128,128,0.45)"


def scaling_figures(budgets: Sequence[BudgetRuns], assessment: Assessment) -> dict[str, Figure]:
    """The figures by their titles; those that would be empty are left out."""
    figures = {"Loss against parameters": loss_figure(budgets, assessment)}
    if any(law.fit is not None for law in assessment.laws):
        figures["Residuals: log of the loss less log of the law"] = residual_figure(budgets, assessment)
    if any(trial["aspect"] is not None for one in budgets for trial in one.others):
        figures["Loss against aspect, log2(width / depth)"] = aspect_figure(budgets)
    return figures


def loss_figure(budgets: Sequence[BudgetRuns], assessment: Assessment) -> Figure:
    """All trials in grey, what was chosen with intervals, the laws with bands, baselines as lines."""
    figure = new_figure(x="parameters N", y="loss", xaxis_type="log")
    trials = [(one, trial) for one in budgets for trial in one.others]
    if trials:
        figure.add_scatter(
            x=[trial["parameters"] for _, trial in trials],
            y=[trial["loss"] for _, trial in trials],
            text=[label(f"{one.label}, trial {trial['number']}") for one, trial in trials],
            mode="markers",
            name="all trials",
            marker={"color": FADED, "size": 6},
        )
    for law in assessment.laws:
        _draw_law(figure, law, budgets)
    for name in sorted({one.baseline[0] for one in budgets if one.baseline}):
        value = next(one.baseline[1] for one in budgets if one.baseline and one.baseline[0] == name)
        figure.add_hline(y=value, line={"dash": "dash", "color": "#808080"}, annotation_text=label(f"baseline {name}"))
    tests = assessment.tests
    widths = [
        mean_interval(one.losses, variance=tests.variance, freedom=tests.freedom)[1] - one.mean if tests else 0.0
        for one in budgets
    ]
    figure.add_scatter(
        x=[one.parameters for one in budgets],
        y=[one.mean for one in budgets],
        error_y={"type": "data", "array": widths, "visible": tests is not None},
        text=[label(f"{one.label}: {one.chosen or ''}") for one in budgets],
        mode="markers",
        name="chosen, mean over seeds, 95 %",
        marker={"color": "#ff7f0e", "size": 10},
    )
    return figure


def _draw_law(figure: Figure, law: FittedLaw, budgets: Sequence[BudgetRuns]) -> None:
    if law.fit is None or law.thetas is None:
        return
    sizes = np.geomspace(min(one.parameters for one in budgets) / 1.5, max(one.parameters for one in budgets) * 3, 80)
    windows = np.full(len(sizes), float(np.exp(np.log(law.fit.points.windows).mean())))
    colour = COLOURS[law.name]
    shown = True if law.weight is not None and law.weight >= 0.1 else "legendonly"
    if not law.misses:
        low, high = np.quantile(law.fit.predict(sizes, windows, theta=law.thetas), (0.025, 0.975), axis=0)
        figure.add_scatter(
            x=[*sizes, *sizes[::-1]],
            y=[*high, *low[::-1]],
            fill="toself",
            line={"width": 0},
            fillcolor=colour,
            opacity=0.15,
            hoverinfo="skip",
            showlegend=False,
            legendgroup=law.name,
            visible=shown,
        )
    figure.add_scatter(
        x=sizes,
        y=law.fit.predict(sizes, windows),
        mode="lines",
        name=law.name,
        line={"color": colour},
        legendgroup=law.name,
        visible=shown,
    )


def residual_figure(budgets: Sequence[BudgetRuns], assessment: Assessment) -> Figure:
    """What each law leaves over of each run: a law that fits leaves no pattern."""
    figure = new_figure(x="parameters N", y="difference of logs", xaxis_type="log")
    for law in assessment.laws:
        if law.fit is None:
            continue
        points = law.fit.points
        predicted = law.fit.predict(points.parameters, points.windows)
        figure.add_scatter(
            x=points.parameters,
            y=np.log(points.losses) - np.log(predicted),
            text=[label(one.label) for one in budgets for cell in (one.runs, *one.longer) for _ in cell],
            mode="markers",
            name=law.name,
            marker={"color": COLOURS[law.name]},
        )
    figure.add_hline(y=0, line={"color": "#808080", "width": 1})
    return figure


def aspect_figure(budgets: Sequence[BudgetRuns]) -> Figure:
    """All trials of each budget: whether wide or deep models do better, and whether the best lie at an end."""
    figure = new_figure(x="aspect, log2(width / depth)", y="loss")
    for one in budgets:
        known = [trial for trial in one.others if trial["aspect"] is not None]
        figure.add_scatter(
            x=[trial["aspect"] for trial in known],
            y=[trial["loss"] for trial in known],
            text=[f"trial {trial['number']}" for trial in known],
            mode="markers",
            name=label(one.label),
        )
    return figure
