"""Decide on an imported record: taken, taken with missing parameters, refused with a reason, or duplicate.

Labels are not trusted: the model family defines the legal shapes and counts their parameters (guards G04, G17, G20,
G21).
"""

from __future__ import annotations

import re
import sys
from collections.abc import Mapping, Sequence
from typing import Any, Literal

from attrs import field, frozen

from scalecore.api.engine import (
    Plan,
    StudyState,
    content_hash,
    grid_options,
    trial_content,
    trial_hash,
)
from scalecore.api.space import Architecture, Choice, Distribution, IntRange, Value
from scalecore.api.trials import TrialState
from scalecore_analysis.importing.readers import POSITIONS, OldRecord, as_number, same
from scalecore_analysis.importing.record_shapes import RecordShapes, UnnamedShapeError

VALUED = (TrialState.COMPLETED, TrialState.PRUNED)
DRY = re.compile(r"(is_)?(dry_?run|simulated|mock(ed)?|placeholder)", re.IGNORECASE)
"""Attributes that mark a record without training, unless their value is in `NO`."""
NO = (False, 0, "0", "false", "False", "no", "")


@frozen(kw_only=True)
class Decision:
    """The decision on one record, with its reason and notes."""

    record: OldRecord
    verdict: Literal["taken", "taken with missing parameters", "refused", "duplicate"]
    reason: str | None = None
    architecture: Architecture | None = None
    hyperparameters: Mapping[str, Value] = field(factory=dict)
    missing: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    key: str = ""
    """Identifies the observation, so that a second import changes nothing."""
    comparable: bool = False
    """Whether the trial's hash proves that data, model, objective and training are the study's."""


class _Refused(Exception):
    pass


def judge(
    records: Sequence[OldRecord], *, plan: Plan, shapes: RecordShapes, state: StudyState, other_data: bool = False
) -> list[Decision]:
    """A verdict for each record, in order. `other_data` also accepts results on other data (G07)."""
    known = dict.fromkeys(state.imported, "already imported")
    found: dict[int, Decision] = {}
    # Of equal observations the one with a seed is taken, because only its hash can be verified: a table has none.
    for index in sorted(range(len(records)), key=lambda index: records[index].seed is None):
        record = records[index]
        try:
            verdict = _judge(record, plan=plan, shapes=shapes, state=state, other_data=other_data)
        except _Refused as refusal:
            found[index] = Decision(record=record, verdict="refused", reason=str(refusal))
            continue
        own = state.hashes.get(record.hash or "")
        reason = known.get(verdict.key) or (f"trial {own} of this study" if own is not None else None)
        if reason is not None:
            verdict = _duplicate(verdict, reason)
        known.setdefault(verdict.key, f"same as {record.source}")
        found[index] = verdict
    verdicts = [found[index] for index in range(len(records))]
    # A table of the logger `csv` of version 0.1 contains the hashes and values of trials, but not all parameters.
    whole: dict[tuple[str | None, float | None], str] = {
        (one.record.hash, one.record.value): one.record.source
        for one in verdicts
        if one.record.hash and one.verdict != "refused" and not one.missing
    }
    for index, one in enumerate(verdicts):
        if one.missing and (source := whole.get((one.record.hash, one.record.value))) is not None:
            verdicts[index] = _duplicate(one, f"same as {source}")
    return verdicts


def _duplicate(one: Decision, reason: str) -> Decision:
    return Decision(record=one.record, verdict="duplicate", reason=reason, missing=one.missing, key=one.key)


def _judge(record: OldRecord, *, plan: Plan, shapes: RecordShapes, state: StudyState, other_data: bool) -> Decision:
    if record.problem is not None:
        raise _Refused(record.problem)
    if record.state is None:
        state_text = "no state" if record.state_text == "none" else f"state {record.state_text!r}"
        raise _Refused(f"no result: {state_text}")
    if record.state not in VALUED:
        raise _Refused(f"no result: ended as {record.state}")
    if record.value is None:
        raise _Refused(f"no result: ended as {record.state} without a finite value")
    if record.conflicts:
        raise _Refused(f"contradictory values: {'; '.join(record.conflicts)}")
    if mark := next((name for name, said in record.attributes.items() if DRY.fullmatch(name) and said not in NO), None):
        raise _Refused(f"no result: marked as {mark}={record.attributes[mark]}")
    architecture, notes = _architecture(record, plan, shapes)
    if record.stated_parameters not in (None, architecture.num_parameters):
        notes.append(
            f"states {record.stated_parameters:,} parameters; the architecture has {architecture.num_parameters:,} in "
            "this study"
        )
    hyperparameters, missing = _hyperparameters(record, plan)
    if unread := _unread(record, plan, shapes):
        notes.append(f"not used by this study: {', '.join(unread)}")
    if record.fingerprint is None:
        notes.append("the file does not identify its data")
    elif record.fingerprint != plan.data.fingerprint:
        text = (
            f"measured on other data (fingerprint {record.fingerprint[:12]}, the study's {plan.data.fingerprint[:12]})"
        )
        if not other_data:
            raise _Refused(f"{text}, so the value is not comparable; --allow-other-data imports it anyway")
        notes.append(text)
    objective, ignored = plan.experiment["objective"], plan.unbound
    said = None if record.objective is None else ignored.strip(record.objective, ("objective",))
    if said is not None and said != ignored.strip(objective, ("objective",)):
        raise _Refused(f"the objective is {dict(record.objective or {})}, but the study's is {dict(objective)}")
    metric = record.attributes.get("metric", objective["metric"])
    if metric != objective["metric"]:
        text = f"the metric is {metric}, but the study's is {objective['metric']}"
        if record.hash is not None:  # written by scalecore, so the names are comparable
            raise _Refused(text)
        notes.append(text)
    content = {
        "architecture": architecture.values,
        "hyperparameters": hyperparameters,
        "state": record.state,
        "value": record.value,
        "data": record.fingerprint,
    }
    return Decision(
        record=record,
        verdict="taken with missing parameters" if missing else "taken",
        reason=f"missing {', '.join(missing)}" if missing else None,
        architecture=architecture,
        hyperparameters=hyperparameters,
        missing=missing,
        notes=tuple(notes),
        key=content_hash(content),
        comparable=_is_ours(record, architecture, plan, state),
    )


def _architecture(record: OldRecord, plan: Plan, shapes: RecordShapes) -> tuple[Architecture, list[str]]:
    """The feasible architecture with the record's values, and notes; an index identifies no architecture."""
    try:
        named = shapes.named(record)
    except UnnamedShapeError as error:
        raise _Refused(str(error)) from None
    own, text = plan.grid, ",".join(f"{name}={value}" for name, value in named.values.items())
    architecture = next((one for one in own.architectures if one.values == named.values), None)
    if architecture is None:
        count = shapes.num_parameters(named.values)
        if own.low is not None and own.high is not None and not own.low <= count <= own.high:
            raise _Refused(f"{text} has {count:,} parameters, outside the budget ({own.low:,} to {own.high:,})")
        raise _Refused(f"the study excludes {text}")
    notes = [
        f"{name} is missing; the model's grid has only {name}={named.values[name]} for the other dimensions"
        for name in named.completed
    ]
    return architecture, notes


def _hyperparameters(record: OldRecord, plan: Plan) -> tuple[dict[str, Value], tuple[str, ...]]:
    """Values of the hyper-parameters that the study varies, and the names of missing ones."""
    space = plan.resolved.experiment.search.space
    values: dict[str, Value] = {}
    for name, distribution in space.items():
        if record.values.get(name) is None:
            continue
        value = _of_type(record.values[name], distribution)
        if not distribution.contains(value):
            raise _Refused(f"{name}={record.values[name]!r} is outside the study's space")
        values[name] = value
    model = plan.experiment["model"]
    options = {name: model[name] for name in model if name != "use" and name not in grid_options(plan.resolved)}
    for name, fixed in {**options, **plan.fixed}.items():
        value = record.values.get(name)
        if value is not None and not same(value, fixed):
            raise _Refused(f"{name}={value!r}, but the study fixes it at {fixed!r}")
    return values, tuple(name for name in space if name not in values)


def _unread(record: OldRecord, plan: Plan, shapes: RecordShapes) -> list[str]:
    """Names that the study does not use, without marks of forced trials."""
    known = {*shapes.dimensions, *shapes.derived, *plan.hyperparameters, *plan.experiment["model"], *POSITIONS}
    return sorted(name for name in record.values if name not in known and name not in record.forced)


def _of_type(value: Any, distribution: Distribution) -> Any:
    """Convert 75.0 and "75" to 75 for integer ranges, because JSON and CSV do not distinguish them."""
    if isinstance(distribution, Choice):
        return next((known for known in distribution.values if same(known, value)), value)
    number = as_number(value)
    if number is None:
        return value
    if isinstance(distribution, IntRange):
        return int(number) if isinstance(number, float) and number.is_integer() else number
    return number if abs(number) > sys.float_info.max else float(number)


def _is_ours(record: OldRecord, architecture: Architecture, plan: Plan, state: StudyState) -> bool:
    """Whether the record's hash matches the same content in this study, so that at most the seed differs."""
    if record.hash is None or record.seed is None or record.fingerprint != plan.data.fingerprint:
        return False
    content = trial_content(
        {**plan.identity, "model": state.model or plan.model},
        unbound=plan.unbound,
        data=plan.data.fingerprint,
        architecture=architecture.values,
        hyperparameters={name: record.values[name] for name in plan.hyperparameters if name in record.values},
    )
    return trial_hash(content, seed=record.seed) == record.hash
