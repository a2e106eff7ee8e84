"""One look at all records that an import is given, before each gets its verdict: counts, and where they cannot tell.

Nothing that a file says is believed where it can be counted: parameters by the model of the study, repeats by content.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from attrs import frozen

from scalecore.api.trials import TrialState
from scalecore_analysis.importing.path_claims import budget_of, contradictions, label_of, places
from scalecore_analysis.importing.readers import OldRecord, as_number
from scalecore_analysis.importing.record_shapes import RecordShapes, UnnamedShapeError

LEVELS = 3
"""Of two values each is at an edge."""
VALUED = (TrialState.COMPLETED, TrialState.PRUNED)


@frozen(kw_only=True)
class LabelCount:
    """Trials that a label speaks of, by their counted parameters."""

    label: str
    low: int
    high: int
    trials: int
    within: int
    uncounted: int
    """They name no whole architecture."""
    smallest: int | None
    largest: int | None


@frozen(kw_only=True)
class ImportSummary:
    """What `scalecore import --dry-run` begins with."""

    files: int
    unreadable: int
    trials: int
    states: Mapping[str, int]
    exact_repeats: int
    repeats_with_the_same_value: int
    repeats_of_another_study: int
    labels: tuple[LabelCount, ...]
    unlabelled: int
    context: int
    features: int
    """The study's data, for which parameters were counted."""
    contradicting: int
    """Records whose content names another budget, tier, experiment or horizon than their path."""
    contradictions: Mapping[str, int]
    """Records by file and contradiction."""
    path_unknown: int
    forced: int
    forced_with_empty_params: int
    forced_without_architecture: int
    edges: tuple[str, ...]
    studies: int
    edges_unknown: int
    """Studies with too few trials, or too few values of each dimension, to have an optimum within."""


def summarise(
    records: Sequence[OldRecord],
    *,
    shapes: RecordShapes,
    parameters: Iterable[str],
    tolerance: float,
    maximize: bool,
    project: Path,
) -> ImportSummary:
    """Count. `parameters` are the study's hyper-parameters by name; `tolerance` is how far, as a share of its label, a
    model may be from it. `project` is the folder of the study or of its file: names above it say nothing of a record.
    """
    trials = [record for record in records if record.problem is None]
    contents = _contents(trials, parameters, shapes)
    groups: dict[Any, list[OldRecord]] = {}
    for record in trials:
        groups.setdefault(_group(record), []).append(record)
    experiments = sorted({str(record.claims["experiment"]) for record in trials if "experiment" in record.claims})
    told = [contradictions(record, experiments=experiments, project=project) for record in trials]
    # What has a result and no parameters was suggested by no sampler.
    forced = [record for record in trials if record.is_forced or (record.empty and record.value is not None)]
    labels = [_label(record, project) for record in trials]
    edges = [_edge(group, shapes, maximize=maximize) for group in groups.values()]
    repeats = _repeats(trials, contents)
    # `20m` and `20M` are one budget, under the first of its names.
    by_budget: dict[int, list[OldRecord]] = {}
    for record, label in zip(trials, labels, strict=True):
        if label is not None:
            by_budget.setdefault(label[1], []).append(record)
    budgets = {label[1]: label[0] for label in reversed(labels) if label is not None}
    return ImportSummary(
        files=len({record.path for record in records}),
        unreadable=len(records) - len(trials),
        trials=len(trials),
        states=dict(Counter(str(record.state or record.state_text) for record in trials)),
        exact_repeats=len(repeats),
        repeats_with_the_same_value=repeats.count("same value") + repeats.count("elsewhere"),
        repeats_of_another_study=repeats.count("elsewhere"),
        labels=tuple(
            _counted(text, budget, trials=by_budget[budget], tolerance=tolerance, shapes=shapes)
            for budget, text in sorted(budgets.items())
        ),
        unlabelled=labels.count(None),
        context=shapes.data.context,
        features=shapes.data.features,
        contradicting=sum(bool(one) for one in told),
        contradictions=dict(
            Counter(f"{record.path}: {text}" for record, one in zip(trials, told, strict=True) for text in one or ())
        ),
        path_unknown=told.count(None),
        forced=len(forced),
        forced_with_empty_params=sum(record.empty for record in forced),
        forced_without_architecture=sum(_shape(record, shapes) is None for record in forced),
        edges=tuple(edge for edge in edges if edge),
        studies=len(groups),
        edges_unknown=edges.count(None),
    )


def _group(record: OldRecord) -> Any:
    """Records of one study: those of a file or of a folder of trial files. A table in CSV may hold several studies."""
    if record.path.suffix.lower() == ".csv":
        return record.path, tuple(sorted((name, str(said)) for name, said in record.claims.items()))
    return (record.path.parent.parent if record.path.parent.name == "trials" else record.path), ()


def _shape(record: OldRecord, shapes: RecordShapes) -> Mapping[str, int] | None:
    try:
        return shapes.named(record).values
    except UnnamedShapeError:
        return None


def _contents(trials: Sequence[OldRecord], parameters: Iterable[str], shapes: RecordShapes) -> list[Any]:
    """What each trial ran, in a form that can be compared; None where it does not say.

    An architecture is one however it is given. What only `forced_` attributes have is a parameter where it is one of
    the study or of another trial, and else the mark of a forced trial.
    """
    known = {*shapes.dimensions, *shapes.derived, *parameters}
    known |= {name for record in trials for name in record.values if name not in record.forced}
    found: list[Any] = []
    for record in trials:
        shape = _shape(record, shapes)
        values = {name: value for name, value in record.values.items() if name in known}
        if shape is not None:
            values = {name: value for name, value in values.items() if name not in shapes.derived} | dict(shape)
        found.append(tuple(sorted((name, _comparable(value)) for name, value in values.items())) or None)
    return found


def _comparable(value: Any) -> str:
    """One text for 256, 256.0 and "256"."""
    number = as_number(value)
    if isinstance(number, float) and number.is_integer():
        number = int(number)
    return repr(value if number is None else number)


def _repeats(trials: Sequence[OldRecord], contents: Sequence[Any]) -> list[str]:
    """One word for each trial that repeats an earlier one: whether with the same value, and whether of another study.

    In another study the same configuration is no repeat unless its value is the same to the last digit.
    """
    found: list[str] = []
    values: dict[Any, set[float | None]] = {}
    first: dict[Any, Any] = {}
    for record, content in zip(trials, contents, strict=True):
        if content is None or record.state not in VALUED:
            continue
        # One file may hold a configuration for several horizons: that repeats nothing.
        group = (_group(record), *(str(record.claims.get(name)) for name in ("experiment", "tier", "horizon")))
        key = (group, content, record.seed)
        if key in values:
            found.append("same value" if record.value is not None and record.value in values[key] else "another value")
        elif record.value is not None and first.get((content, record.value), group) != group:
            found.append("elsewhere")
        values.setdefault(key, set()).add(record.value)
        first.setdefault((content, record.value), group)
    return found


def _label(record: OldRecord, project: Path) -> tuple[str, int] | None:
    """The budget that the file names, else its folders, else the record itself."""
    found = next((label for label in map(label_of, places(record.path, project=project)) if label is not None), None)
    said = record.claims.get("budget")
    if found is None and said is not None and (budget := budget_of(said)) is not None:
        return str(said), budget
    return found or label_of(str(record.claims.get("experiment", "")))


def _counted(
    label: str, budget: int, *, trials: Sequence[OldRecord], tolerance: float, shapes: RecordShapes
) -> LabelCount:
    low, high = round(budget * (1 - tolerance)), round(budget * (1 + tolerance))
    counts = [shapes.count(record) for record in trials]
    known = [count for count in counts if count is not None]
    return LabelCount(
        label=label,
        low=low,
        high=high,
        trials=len(trials),
        within=sum(low <= count <= high for count in known),
        uncounted=counts.count(None),
        smallest=min(known, default=None),
        largest=max(known, default=None),
    )


def _edge(group: Sequence[OldRecord], shapes: RecordShapes, *, maximize: bool) -> str | None:
    """At which edges of what was tried the best trial of a study lies; None where too little was tried to tell."""
    sign = -1.0 if maximize else 1.0
    done = [record for record in group if record.state is TrialState.COMPLETED and record.value is not None]
    tried = [_given(record, shapes) for record in done]
    levels = {name: sorted({one[name] for one in tried if name in one}) for name in shapes.dimensions}
    levels = {name: values for name, values in levels.items() if len(values) >= LEVELS}
    best = min(done, key=lambda record: sign * (record.value or 0.0), default=None)
    if best is None or not levels or not (shape := _given(best, shapes)):
        return None
    found = []
    for name, values in levels.items():
        grid = sorted({row[name] for row, _ in shapes.rows})
        for which, end, last in (("smallest", values[0], grid[0]), ("largest", values[-1], grid[-1])):
            if shape.get(name) == end:
                more = "and of the model's grid" if end == last else f"the model's grid has {last}"
                found.append(f"{name}={end:g} is the {which} tried ({more})")
    if not found:
        return ""
    number = best.source if best.number is None else f"trial {best.number}"
    return f"{_group(best)[0]}: the best, {number} with {best.value:g}: {', '.join(found)}"


def _given(record: OldRecord, shapes: RecordShapes) -> Mapping[str, float]:
    """The dimensions that a record has, on the grid or off it."""
    shape = _shape(record, shapes)
    if shape is not None:
        return shape
    numbers = {name: as_number(record.values.get(name)) for name in shapes.dimensions}
    return {name: number for name, number in numbers.items() if number is not None}
