"""Strict reading of values, lists and mappings in a file; integers stay integers."""

from __future__ import annotations

import math
import types
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from enum import EnumMeta
from itertools import chain
from typing import Any, Union, get_args, get_origin

import attrs
from cattrs import Converter
from cattrs.errors import BaseValidationError, ClassValidationError, IterableValidationError, IterableValidationNote

from scalecore.config.constraints import UnexpectedError
from scalecore.config.scalars import read_choice, read_enum
from scalecore.config.structure import keyed

Hook = Callable[[Any, Any], Any]

LARGEST = 2**63
PROBLEMS = (ValueError, BaseValidationError)
"""Exceptions that hooks raise."""
NUMBERS = frozenset((float, int, types.NoneType))
"""Types of a JSON value that is a number or null."""


def read_bool(value: Any, _: Any) -> bool:
    """`true` or `false`."""
    if type(value) is bool:
        return value
    raise UnexpectedError("true or false", value)


def read_bits(value: Any, _: Any) -> int:
    """An integer."""
    if type(value) is int and -LARGEST <= value < LARGEST:
        return value
    raise UnexpectedError("an integer of at most 64 bits", value)


def read_number(value: Any, _: Any) -> float:
    """A number. An integer stays an integer, so that it is written as it was read."""
    if type(value) is float and -math.inf < value < math.inf:
        return value
    if type(value) is int and -LARGEST <= value < LARGEST:
        return value
    raise UnexpectedError("a finite number", value)


def read_string(value: Any, kind: Any) -> str:
    """A string, or the member of an enum of strings, which cattrs reads here too."""
    if isinstance(kind, EnumMeta):
        return _read_member(value, kind)
    if type(value) is str:
        return value
    raise UnexpectedError("a string", value)


def _read_member(value: Any, kind: Any) -> str:
    try:
        member: str = kind(value)
    except ValueError:
        member = read_enum(value, kind)
    return member


def read_json_value(value: Any, _: Any) -> object:
    """Any JSON with finite numbers."""
    if isinstance(value, dict):
        for key, item in value.items():
            _at(key, item)
    elif isinstance(value, list):
        for index, item in enumerate(value):
            _at(index, item)
    elif isinstance(value, float | int) and type(value) is not bool:
        return read_number(value, None)
    elif isinstance(value, str):
        return read_string(value, None)
    return value


def _at(key: str | int, item: Any) -> None:
    try:
        read_json_value(item, None)
    except PROBLEMS as error:
        raise ClassValidationError("", [keyed(error, str(key))], dict) from None


def _all_small(numbers: Iterable[float | None]) -> bool:
    """Whether all numbers are certainly finite and small; if False, each must be checked."""
    try:
        return -LARGEST < sum(filter(None, numbers)) < LARGEST
    except OverflowError:
        return False


def is_plain(kind: Any) -> bool:
    """Whether a check of the type, and for a number of the size, is enough for a value of this type."""
    members = get_args(kind) if get_origin(kind) in (Union, types.UnionType) else (kind,)
    return all(member in (bool, int, float, str, types.NoneType) for member in members)


def sequence_hook(kind: Any, converter: Converter) -> Hook:
    """A hook for a list; all numbers of a learning curve are checked at once."""
    item = get_args(kind)[0]
    hook = converter.get_structure_hook(item)
    curve = get_origin(item) is Mapping and _types_of(get_args(item)[1]) == NUMBERS

    def structure(content: Any, _: Any) -> Any:
        if type(content) is not list:
            raise UnexpectedError("a list", content)
        if curve and {dict}.issuperset(map(type, content)):
            values = [*chain.from_iterable(map(dict.values, content))]
            if NUMBERS.issuperset(map(type, values)) and _all_small(values):
                return tuple(content)
        result, errors = [], []
        for index, value in enumerate(content):
            try:
                result.append(hook(value, item))
            except PROBLEMS as error:
                error.add_note(IterableValidationNote(f"item {index}", index, item))
                errors.append(error)
        if errors:
            raise IterableValidationError("", errors, kind)
        return tuple(result)

    return structure


def _types_of(kind: Any) -> frozenset[type]:
    """The types of the JSON values that a plain type accepts."""
    members = frozenset(get_args(kind) or (kind,))
    return members | {int} if float in members else members


def mapping_hook(kind: Any, converter: Converter) -> Hook:
    """A hook for a mapping; one of numbers, the most frequent kind, is checked as a whole first."""
    item = get_args(kind)[1]
    hook = converter.get_structure_hook(item)
    allowed = _types_of(item) if is_plain(item) else frozenset()

    def structure(content: Any, _: Any) -> Any:
        if type(content) is not dict:
            raise UnexpectedError("a mapping", content)
        kinds = set(map(type, content.values()))
        if kinds <= allowed:
            numbers: Collection[Any] = content.values()
            if str in kinds:
                numbers = () if len(kinds) == 1 else [value for value in numbers if type(value) is not str]
            if not numbers or _all_small(numbers):
                return content
        result, errors = {}, []
        for key, value in content.items():
            try:
                result[key] = hook(value, item)
            except PROBLEMS as error:
                errors.append(keyed(error, key))
        if errors:
            raise ClassValidationError("", errors, kind)
        return result

    return structure


def literal_hook(kind: Any, _: Converter) -> Hook:
    """A hook for one of a few values."""
    choices = {value: value for value in get_args(kind)}
    texts = frozenset(value for value in choices if type(value) is str)
    return lambda value, type_: value if type(value) is str and value in texts else read_choice(choices, value, type_)


def union_hook(kind: Any, converter: Converter) -> Hook:
    """A hook for one type or None, or for numbers, strings and booleans."""
    members = [member for member in get_args(kind) if member is not types.NoneType]
    optional = len(members) < len(get_args(kind))
    if len(members) == 1:
        member, hook = members[0], converter.get_structure_hook(members[0])
        return lambda value, _: None if value is None else hook(value, member)
    hooks = {member: converter.get_structure_hook(member) for member in members}
    by_type = {get_origin(member) or member: (member, hook) for member, hook in hooks.items()}
    for base, concrete in ((Mapping, dict), (Sequence, list), (tuple, list)):
        if base in by_type:
            by_type[concrete] = by_type.pop(base)
    if float in by_type:
        by_type.setdefault(int, by_type[float])
    for member, hook in hooks.items():
        if attrs.has(member):
            by_type[dict] = (member, hook)

    def structure(value: Any, _: Any) -> Any:
        if value is None and optional:
            return None
        known = by_type.get(type(value))
        if known is None:
            raise UnexpectedError(" or ".join(_NAMES.get(one, "a mapping") for one in by_type), value)
        return known[1](value, known[0])

    return structure


_NAMES = {
    bool: "true or false",
    int: "an integer",
    float: "a number",
    str: "a string",
    dict: "a mapping",
    list: "a list",
}
