"""Summarise all records of an import before the verdicts: counts, and the number of unknown cases.

Parameters are counted by the model of the study and repeats are found by content, not read from the file.
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
"""Minimum number of values of a dimension: of two values, each is an edge."""
VALUED = (TrialState.COMPLETED, TrialState.PRUNED)


@frozen(kw_only=True)
class LabelCount:
    """Trials with a label, by their counted parameters."""

    label: str
    low: int
    high: int
    trials: int
    within: int
    uncounted: int
    """Trials without a complete architecture."""
    smallest: int | None
    largest: int | None


@frozen(kw_only=True)
class ImportSummary:
    """The summary at the start of `scalecore import --dry-run`."""

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
    """The study's data shape, for which parameters are counted."""
    contradicting: int
    """Records whose content and path name different budgets, tiers, experiments or horizons."""
    contradictions: Mapping[str, int]
    """Number of records by file and contradiction."""
    path_unknown: int
    forced: int
    forced_with_empty_params: int
    forced_without_architecture: int
    edges: tuple[str, ...]
    studies: int
    edges_unknown: int
    """Studies with too few trials or values to determine whether the optimum is at an edge."""


def summarise(
    records: Sequence[OldRecord],
    *,
    shapes: RecordShapes,
    parameters: Iterable[str],
    tolerance: float,
    maximize: bool,
    project: Path,
) -> ImportSummary:
    """Compute the summary.

    `parameters` are the names of the study's hyper-parameters. `tolerance` is the permitted deviation of a model from
    its label, as a share. `project` is the folder of the study or of its file; names of its parents are ignored.
    """
    trials = [record for record in records if record.problem is None]
    contents = _contents(trials, parameters, shapes)
    groups: dict[Any, list[OldRecord]] = {}
    for record in trials:
        groups.setdefault(_group(record), []).append(record)
    experiments = sorted({str(record.claims["experiment"]) for record in trials if "experiment" in record.claims})
    contradicted = [contradictions(record, experiments=experiments, project=project) for record in trials]
    # No sampler suggested a trial that has a result and no parameters.
    forced = [record for record in trials if record.is_forced or (record.empty and record.value is not None)]
    labels = [_label(record, project) for record in trials]
    edges = [_edge(group, shapes, maximize=maximize) for group in groups.values()]
    repeats = _repeats(trials, contents)
    # `20m` and `20M` are one budget, listed under its first name.
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
        contradicting=sum(bool(one) for one in contradicted),
        contradictions=dict(
            Counter(
                f"{record.path}: {text}" for record, one in zip(trials, contradicted, strict=True) for text in one or ()
            )
        ),
        path_unknown=contradicted.count(None),
        forced=len(forced),
        forced_with_empty_params=sum(record.empty for record in forced),
        forced_without_architecture=sum(_shape(record, shapes) is None for record in forced),
        edges=tuple(edge for edge in edges if edge),
        studies=len(groups),
        edges_unknown=edges.count(None),
    )


def _group(record: OldRecord) -> Any:
    """Key of a record's study: its file or its folder of trial files. A CSV table may contain several studies."""
    if record.path.suffix.lower() == ".csv":
        return record.path, tuple(sorted((name, str(said)) for name, said in record.claims.items()))
    return (record.path.parent.parent if record.path.parent.name == "trials" else record.path), ()


def _shape(record: OldRecord, shapes: RecordShapes) -> Mapping[str, int] | None:
    try:
        return shapes.named(record).values
    except UnnamedShapeError:
        return None


def _contents(trials: Sequence[OldRecord], parameters: Iterable[str], shapes: RecordShapes) -> list[Any]:
    """The configuration of each trial in a comparable form; None if it is unknown.

    The form of an architecture does not matter. A name that only `forced_` attributes have is a parameter if the study
    or another trial has it, and otherwise the mark of a forced trial.
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
    """The same text for 256, 256.0 and "256"."""
    number = as_number(value)
    if isinstance(number, float) and number.is_integer():
        number = int(number)
    return repr(value if number is None else number)


def _repeats(trials: Sequence[OldRecord], contents: Sequence[Any]) -> list[str]:
    """One entry per trial that repeats an earlier one: `same value`, `another value`, or `elsewhere` (another study).

    The same configuration in another study counts as a repeat only if its value is exactly the same.
    """
    found: list[str] = []
    values: dict[Any, set[float | None]] = {}
    first: dict[Any, Any] = {}
    for record, content in zip(trials, contents, strict=True):
        if content is None or record.state not in VALUED:
            continue
        # A file may contain a configuration for several horizons, which is no repeat.
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
    """The budget named by the file, else by its folders, else by the record."""
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
    """The edges of the tried values at which a study's best trial is; None if too few values were tried."""
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
                more = "also of the model's grid" if end == last else f"the model's grid has {last}"
                found.append(f"{name}={end:g} is the {which} value tried ({more})")
    if not found:
        return ""
    number = best.source if best.number is None else f"trial {best.number}"
    return f"{_group(best)[0]}: best is {number} ({best.value:g}): {', '.join(found)}"


def _given(record: OldRecord, shapes: RecordShapes) -> Mapping[str, float]:
    """The dimensions of a record, on or off the grid."""
    shape = _shape(record, shapes)
    if shape is not None:
        return shape
    numbers = {name: as_number(record.values.get(name)) for name in shapes.dimensions}
    return {name: number for name, number in numbers.items() if number is not None}
