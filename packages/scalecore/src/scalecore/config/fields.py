"""The options of an attrs class as data, for the JSON Schema and the reference."""

from __future__ import annotations

import types
from collections.abc import Iterator, Mapping, Sequence
from enum import Enum
from typing import Annotated, Any, Literal, Union, get_args, get_origin

import attrs
from attrs import frozen

from scalecore.config.experiment_json import plain_value

# The stubs declare it as a function.
_FACTORY: Any = attrs.Factory


@frozen(kw_only=True)
class OptionField:
    """One key: its type with constraints, its help, and its default as plain data, NOTHING if none can be shown."""

    name: str
    type: Any
    help: str
    required: bool
    default: Any = attrs.NOTHING


def fields_of(cls: type) -> Iterator[OptionField]:
    """The keys of an attrs class, in class order."""
    attrs.resolve_types(cls)
    for one in attrs.fields(cls):
        if not one.init:
            continue
        yield OptionField(
            name=one.name,
            type=one.type,
            help=one.metadata.get("help", ""),
            required=one.default is attrs.NOTHING,
            default=_default(one.default),
        )


def _default(default: Any) -> Any:
    """The default as plain data; NOTHING if no default can be shown."""
    if default is attrs.NOTHING:
        return default
    if isinstance(default, _FACTORY):
        if default.takes_self:
            return attrs.NOTHING
        default = default.factory()
    try:
        return plain_value(default)
    except TypeError:
        return attrs.NOTHING


def kind_of(kind: Any) -> str:
    """The form of a type: annotated, literal, union, enum, list, tuple, dict, class, or plain."""
    origin = get_origin(kind)
    if origin is Annotated:
        return "annotated"
    if origin is Literal:
        return "literal"
    if origin in (Union, types.UnionType):
        return "union"
    if isinstance(kind, type) and issubclass(kind, Enum):
        return "enum"
    if kind is tuple or origin is tuple:
        return "tuple"
    if kind is list or origin in (list, Sequence):
        return "list"
    if kind is dict or origin in (dict, Mapping):
        return "dict"
    return "class" if is_class(kind) else "plain"


def is_class(kind: Any) -> bool:
    """Whether the type is an attrs class, written as a mapping."""
    return isinstance(kind, type) and attrs.has(kind)


def members_of(kind: Any) -> tuple[list[Any], bool]:
    """The members of a union without None, and whether None is among them."""
    members = [member for member in get_args(kind) if member is not type(None)]
    return members, len(members) < len(get_args(kind))
