"""Which shapes did well: by each dimension, by the ratios that mean the same at every size, and by parameters."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from scalecore.texts import best_baseline, shape
from scalecore.trials import TrialRecord
from scalecore_analysis.page import label, new_figure
from scalecore_analysis.report.section import Row, Section, Subject, finite

if TYPE_CHECKING:
    from plotly.graph_objects import Figure

__all__ = ["architectures", "coordinates_of", "roles_of"]

LEVELS = 12
"""More different values than these are shown as `BINS` ranges of about as many trials each."""
BINS = 8
USUAL = {"width": "d_model", "depth": "n_layers", "heads": "n_heads", "feed_forward": "d_ff"}
"""What the dimensions are called where a study's plan does not tell their roles yet."""


def roles_of(subject: Subject) -> dict[str, str]:
    """The dimension of each role, of those that the family has."""
    grid = subject.study.plan["architectures"]
    told: Mapping[str, str] = grid.get("roles") or USUAL
    return {role: name for role, name in told.items() if name in grid["dimensions"]}


def coordinates_of(subject: Subject) -> dict[str, Callable[[TrialRecord], float | None]]:
    """Each dimension, then aspect, head size and feed-forward ratio where the family has them."""

    def dimension(name: str) -> Callable[[TrialRecord], float | None]:
        return lambda trial: trial.architecture.values.get(name)

    def ratio(above: str, below: str) -> Callable[[TrialRecord], float | None]:
        def found(trial: TrialRecord) -> float | None:
            values = trial.architecture.values
            return values[above] / values[below] if above in values and values.get(below) else None

        return found

    found = {name: dimension(name) for name in subject.study.plan["architectures"]["dimensions"]}
    roles = roles_of(subject)
    for title, above, below in (
        ("aspect", "width", "depth"),
        ("head size", "width", "heads"),
        ("feed-forward ratio", "feed_forward", "width"),
    ):
        if above in roles and below in roles:
            found[f"{title} ({roles[above]} / {roles[below]})"] = ratio(roles[above], roles[below])
    return found


def architectures(subject: Subject) -> Section:
    """One table for each coordinate, and the objective against aspect and parameters."""
    coordinates = coordinates_of(subject)
    tables = {f"By {name}": _by(subject, name, of) for name, of in coordinates.items()}
    figures: dict[str, Callable[[], Figure]] = {}
    text = []
    aspect = next((name for name in coordinates if name.startswith("aspect (")), None)
    if aspect is None:
        text.append("The family tells no width and depth, so there is no aspect.")
    if subject.completed:
        if aspect is not None:
            of_aspect = coordinates[aspect]
            figures[f"{subject.metric} against aspect"] = lambda: _scatter(subject, aspect, of_aspect)
        figures[f"{subject.metric} against parameters"] = lambda: _scatter(
            subject, "parameters", lambda trial: trial.architecture.num_parameters
        )
    return Section(title="Architectures", text=text, tables=tables, figures=figures, data=tables)


def _by(subject: Subject, name: str, of: Callable[[TrialRecord], float | None]) -> list[Row]:
    """Trials that count, by the value of one coordinate."""
    placed = [(value, trial) for trial in subject.study.counted if (value := of(trial)) is not None]
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
    """About equal numbers of trials in each range; equal values are never parted."""
    ordered = sorted(placed, key=lambda one: (one[0], one[1].number))
    size = len(ordered) / BINS
    bins: list[list[tuple[float, TrialRecord]]] = [[]]
    for index, one in enumerate(ordered):
        if bins[-1] and index >= size * len(bins) and one[0] != bins[-1][-1][0]:
            bins.append([])
        bins[-1].append(one)
    return [(f"{part[0][0]:.4g} to {part[-1][0]:.4g}", [trial for _, trial in part]) for part in bins]


def _scatter(subject: Subject, name: str, of: Callable[[TrialRecord], float | None]) -> Figure:
    figure = new_figure(x=label(name), y=label(subject.metric), xaxis_type="log")
    for title, wanted, symbol, colour in (
        ("trials", False, "circle", "#3d8bd4"),
        ("predicts a constant [G09]", True, "x", "#e08a1e"),
    ):
        trials = [t for t in subject.completed if t.collapsed is wanted and of(t)]
        if trials:
            figure.add_scatter(
                x=[of(trial) for trial in trials],
                y=[trial.value for trial in trials],
                text=[label(f"trial {trial.number}: {shape(trial.architecture)}") for trial in trials],
                mode="markers",
                name=title,
                marker={"symbol": symbol, "opacity": 0.8, "color": colour},
            )
    best = subject.best
    if best is not None and of(best):
        ring = {"size": 16, "symbol": "circle-open", "line": {"width": 3}, "color": "#d62728"}
        figure.add_scatter(x=[of(best)], y=[best.value], mode="markers", name=f"best, trial {best.number}", marker=ring)
    baseline = best_baseline(subject.study.plan["data"])
    if subject.metric == "val_loss" and baseline is not None and finite(baseline["loss"]) is not None:
        told = label(f"best baseline: {baseline['name']}")
        figure.add_hline(y=baseline["loss"], line={"dash": "dash", "color": "#808080"}, annotation={"text": told})
    return figure
