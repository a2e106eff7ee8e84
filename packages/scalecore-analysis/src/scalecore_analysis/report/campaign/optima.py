"""Where the best trials of the budgets are: learning rate and other hyper-parameters, depth, aspect."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from attrs import frozen

from scalecore.api.space import Choice, LogUniform
from scalecore.api.trials import TrialRecord
from scalecore_analysis.edges import edges_of
from scalecore_analysis.groups import Group
from scalecore_analysis.report.campaign.members import CampaignView, Member
from scalecore_analysis.report.measured import significant
from scalecore_analysis.report.section import Row, Section, finite
from scalecore_analysis.studies import ratios
from scalecore_analysis.vega import GREY, Point, Scale, Series, Spec, figure

__all__ = ["optima"]

RATE = "learning_rate"
Reader = Callable[[TrialRecord], float | None]


@frozen(kw_only=True)
class Coordinate:
    """A number that describes a trial: a hyper-parameter, a dimension or a ratio."""

    name: str
    of: Reader
    scale: Scale = "linear"


def optima(view: CampaignView) -> Section:
    """The optimum of each coordinate by budget, with the range of the tied trials; figures of the main ones."""
    rows: list[Row] = []
    figures: dict[str, Spec] = {}
    text: list[str] = []
    for group in view.groups:
        members = [one for one in view.of_group(group) if one.best is not None]
        found = _coordinates(members)
        rows += [_row(member, one) for one in found.values() for member in members]
        if members and RATE not in found:
            fixed = {str(one.study.plan.fixed.get(RATE)) for one in members}
            text.append(group.titled(f"The learning rate was not varied ({', '.join(sorted(fixed))})."))
        if members and "aspect" not in found:
            text.append(group.titled("The model family declares no width and depth, so there is no aspect."))
        for name in (RATE, "aspect"):
            if name in found:
                figures |= _figures(group, members, found[name])
    return Section(
        title="Optima",
        text=text,
        tables={"Optimum of each budget": rows},
        figures=figures,
        captions={
            "Optimum of each budget": "Value of the best trial, and the range over the trials tied with it: the data "
            "do not distinguish these. Searched: the values tried. An optimum on an edge may lie beyond."
        },
        data=rows,
    )


def _coordinates(members: Sequence[Member]) -> dict[str, Coordinate]:
    """What all budgets of a group have: varied numbers first, then depth and ratios."""
    found: dict[str, Coordinate] = {}
    for member in members:
        for name, distribution in member.study.plan.space.items():
            if not isinstance(distribution, Choice) or all(finite(one) is not None for one in distribution.bounds()):
                scale: Scale = "log" if isinstance(distribution, LogUniform) else "linear"
                found.setdefault(name, Coordinate(name=name, of=_hyperparameter(name), scale=scale))
        grid, known = member.study.plan.architectures, ratios(member.study)
        depth = grid.roles.get("depth") or ("n_layers" if "n_layers" in grid.dimensions else None)
        if depth in grid.dimensions:
            found.setdefault("depth", Coordinate(name=f"depth, {depth}", of=_dimension(str(depth))))
        for title, ratio in known.items():
            found.setdefault(title, Coordinate(name=f"{title}, {ratio.name}", of=_ratio(ratio.of), scale="log"))
    return found


def _hyperparameter(name: str) -> Reader:
    return lambda trial: finite(trial.hyperparameters.get(name))


def _dimension(name: str) -> Reader:
    return lambda trial: finite(trial.architecture.values.get(name))


def _ratio(of: Callable[..., float | None]) -> Reader:
    return lambda trial: of(trial.architecture)


def _row(member: Member, one: Coordinate) -> Row:
    best = member.best
    assert best is not None
    edges = {row["name"]: row["on edge"] for row in edges_of(member.study, best)}
    return {
        **member.head,
        "coordinate": one.name,
        "best": one.of(best),
        "tied trials": _range(one, member.tied),
        "searched": _range(one, member.study.counted),
        "on an edge": edges.get(one.name.rpartition(", ")[2]),
    }


def _range(one: Coordinate, trials: Sequence[TrialRecord]) -> str | None:
    values = [value for trial in trials if (value := one.of(trial)) is not None]
    if not values:
        return None
    low, high = min(values), max(values)
    return _short(low) if low == high else f"{_short(low)} to {_short(high)}"


def _short(value: float) -> str:
    return f"{value:g}" if float(value).is_integer() else significant(value)


def _figures(group: Group, members: Sequence[Member], one: Coordinate) -> Mapping[str, Spec]:
    """The objective against the coordinate with a series per budget, and the optimum against N."""
    name, metric = one.name.partition(",")[0].replace("_", " "), members[0].subject.metric
    losses = []
    for member in members:
        points = [
            Point(x=one.of(trial), y=finite(trial.value), text=f"{member.budget}, trial {trial.number}")
            for trial in member.subject.completed
        ]
        losses.append(Series(name=member.budget, points=points))
    tried, best = [], []
    for member in members:
        tied = {trial.number for trial in member.tied}
        values = [value for trial in member.tied if (value := one.of(trial)) is not None]
        for trial in member.subject.completed:
            if trial is not member.best:
                text = f"{member.budget}, trial {trial.number}" + (", tied" if trial.number in tied else "")
                tried.append(Point(x=trial.architecture.num_parameters, y=one.of(trial), text=text))
        if member.best is not None and values:
            at = member.best.architecture.num_parameters
            text = f"{member.budget}, trial {member.best.number}"
            best.append(Point(x=at, y=one.of(member.best), low=min(values), high=max(values), text=text))
    optimum = [
        Series(name="all trials", points=tried, colour=GREY, style={"opacity": 0.45}),
        Series(
            name="best trial, range of the tied trials",
            points=best,
            marks=["rule", "line", "point"],
            colour="#ff7f0e",
            style={"size": 100},
        ),
    ]
    return {
        group.titled(f"{metric} against {name}"): figure(*losses, x=one.name, y=metric, scale=one.scale),
        group.titled(f"Optimum of the {name} against N"): figure(
            *optimum, x="parameters N", y=one.name, scale="log", vertical=one.scale
        ),
    }
