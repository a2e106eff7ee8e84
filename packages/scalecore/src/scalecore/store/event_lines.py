"""Converts lines of a journal to events and validates everything that commands read from them."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Literal, TypeVar

from attrs import evolve, field, frozen

from scalecore.api.errors import RefusedError
from scalecore.api.files import canonical_json, plain
from scalecore.config.constraints import described
from scalecore.config.kept import checked
from scalecore.store.events import FORMAT, AskedFor, Event, StudyBegun

Json = Mapping[str, object]
Kind = TypeVar("Kind", bound=Event)

EVENTS: Mapping[str, type[Event]] = {kind.name: kind for kind in Event.__subclasses__()}


def event_from(line: Json) -> Event:
    """Return the event of a journal line.

    Raises `ValueError` for an invalid line and `RefusedError` for a later format.
    """
    name = line.get("event")
    kind = EVENTS.get(name) if type(name) is str else None
    if kind is None:
        raise ValueError(
            "event: required, but missing" if "event" not in line else f"event: {described(name)} is unknown"
        )
    if kind is StudyBegun:
        _refuse_newer(line.get("format"))
    event = checked(kind, line)
    if isinstance(event, StudyBegun):
        _look_inside(_ExperimentRead, event.experiment, "experiment")
        if event.seq == 0:
            return evolve(event, id=hashlib.sha256(canonical_json(line).encode()).hexdigest()[:16])
    elif isinstance(event, AskedFor):
        _look_inside(_HyperparametersRead, event.hyperparameters, "hyperparameters")
    return event


def event_of(kind: type[Kind], **content: object) -> Kind:
    """Build an event from values that were measured or read elsewhere; raise `ValueError` if a reader would refuse it.

    `content` are the keys of its line.
    """
    return checked(kind, plain(content))


def _refuse_newer(found: object) -> None:
    """Refuse a later format, in which the same keys may have another meaning."""
    if type(found) is int and found > FORMAT:
        raise RefusedError(
            f"this journal has format {found}, and this scalecore reads formats up to {FORMAT}: a later version wrote "
            "it. Nothing was changed. Use that version or a later one"
        )


def _look_inside(kind: type[object], content: Json, key: str) -> None:
    """Raise `ValueError` for problems in a part of the line that stays a mapping."""
    try:
        checked(kind, content)
    except ValueError as error:
        raise ValueError("; ".join(f"{key}.{one}" for one in str(error).split("; "))) from None


# --- the parts of an experiment that commands read --------------------------------------------------------------------


@frozen(kw_only=True)
class _ObjectiveRead:
    metric: str
    direction: Literal["minimize", "maximize"]


@frozen(kw_only=True)
class _SearchRead:
    trials: int
    space: Json = field(factory=dict)


@frozen(kw_only=True)
class _ExperimentRead:
    name: str
    objective: _ObjectiveRead
    search: _SearchRead
    dataset: Json
    model: Json
    training: Json
    output: str | None = None


@frozen(kw_only=True)
class _HyperparametersRead:
    epochs: int | None = None
