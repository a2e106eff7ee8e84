"""Structure plain values as attrs classes, strictly: only int becomes float, and every problem has its path."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any, get_args

import attrs
from cattrs import Converter
from cattrs.cols import homogenous_tuple_structure_factory, list_structure_factory, mapping_structure_factory
from cattrs.errors import (
    AttributeValidationNote,
    BaseValidationError,
    ClassValidationError,
    IterableValidationError,
    IterableValidationNote,
    StructureHandlerNotFoundError,
)

from scalecore.api.options import Imported
from scalecore.config.constraints import UnexpectedError, bound_problem, bounds_of, nearest
from scalecore.config.fields import kind_of
from scalecore.config.messages import KeyPath
from scalecore.config.scalars import read_bool, read_choice, read_enum, read_float, read_int, read_path, read_text

Hook = Callable[[Any, Any], Any]


class UnknownKeyError(ValueError):
    """A key that does not exist: its problem has the position of the key, not of the value."""


def make_converter(folder: Path, written: frozenset[str] = frozenset()) -> Converter:
    """A cattrs converter with strict hooks; relative paths are relative to `folder`, that of the experiment file.

    `written` are texts that scalecore wrote itself: a `$` in such a path is not a variable.
    """
    converter = Converter(detailed_validation=True)
    for kind, hook in ((bool, read_bool), (int, read_int), (float, read_float), (str, read_text)):
        converter.register_structure_hook(kind, hook)
    converter.register_structure_hook(Path, partial(read_path, folder, written))
    # cattrs tries the factory registered last first.
    converter.register_structure_hook_func(partial(_is, "enum"), read_enum)
    for name, factory in (
        ("class", class_hook),
        ("list", _list_hook),
        ("tuple", _tuple_hook),
        ("dict", _dict_hook),
        ("union", _union_hook),
        ("literal", _literal_hook),
        ("annotated", _annotated_hook),
    ):
        converter.register_structure_hook_factory(partial(_is, name), factory)
    return converter


def flatten(error: BaseException, path: KeyPath = ()) -> Iterator[tuple[KeyPath, Exception]]:
    """The single errors of cattrs' nested groups, each with its path."""
    for note in getattr(error, "__notes__", ()):
        if isinstance(note, AttributeValidationNote):
            path = (*path, note.name)
            break
        if isinstance(note, IterableValidationNote):
            path = (*path, note.index)
            break
    if isinstance(error, BaseValidationError):
        for inner in error.exceptions:
            yield from flatten(inner, path)
    elif isinstance(error, Exception):
        # An attrs validator raises its error with the attribute as second argument: a TypeError for a wrong type.
        if len(error.args) > 1 and isinstance(error.args[1], attrs.Attribute):
            path = (*path, error.args[1].name)
            error = ValueError(error.args[0])
        yield path, error


def required_missing(name: str) -> Exception:
    """The error for a missing key that is required."""
    return keyed(ValueError("required, but missing"), name)


def unknown_key(name: str, known: Sequence[str]) -> Exception:
    """The error for a key that does not exist."""
    text = "unknown key; it has no options" if not known else f"unknown key; {nearest(name, known)}"
    return keyed(UnknownKeyError(text), name)


def keyed(error: Exception, name: str) -> Exception:
    """The error with its key, noted as cattrs does."""
    error.add_note(AttributeValidationNote(f"key {name}", name, Any))
    return error


# --- composed types -------------------------------------------------------------------------------------------------


def _is(name: str, kind: Any) -> bool:
    return kind_of(kind) == name


def _literal_hook(kind: Any, _: Converter) -> Hook:
    return partial(read_choice, {value: value for value in get_args(kind)})


def _list_hook(kind: Any, converter: Converter) -> Hook:
    inner = list_structure_factory(kind, converter)
    return lambda value, _: inner(_expected(value, list, "a list"), kind)


def _tuple_hook(kind: Any, converter: Converter) -> Hook:
    items = get_args(kind)
    if not items or items[-1] is Ellipsis:
        inner = homogenous_tuple_structure_factory(kind, converter)
        return lambda value, _: inner(_expected(value, list, "a list"), kind)
    hooks = [converter.get_structure_hook(item) for item in items]

    def structure(value: Any, _: Any) -> tuple[Any, ...]:
        if len(_expected(value, list, "a list")) != len(hooks):
            raise ValueError(f"expected a list of {len(hooks)}, got one of {len(value)}")
        result, errors = [], []
        for index, (hook, item, one) in enumerate(zip(hooks, items, value, strict=True)):
            try:
                result.append(hook(one, item))
            except Exception as error:
                error.add_note(IterableValidationNote(f"item {index}", index, item))
                errors.append(error)
        if errors:
            raise IterableValidationError("", errors, kind)
        return tuple(result)

    return structure


def _dict_hook(kind: Any, converter: Converter) -> Hook:
    inner = mapping_structure_factory(kind, converter)
    return lambda value, _: inner(_expected(value, dict, "a mapping"), kind)


def _expected(value: Any, kind: type, name: str) -> Any:
    if isinstance(value, kind):
        return value
    raise UnexpectedError(name, value)


def class_hook(kind: Any, converter: Converter) -> Hook:
    """A hook for an attrs class: a loop. The code that cattrs would generate is worthwhile only for many values."""
    attrs.resolve_types(kind)
    fields = [one for one in attrs.fields(kind) if one.init]
    names = [one.name for one in fields]
    required = [one.name for one in fields if one.default is attrs.NOTHING]
    hooks = [(one, _field_hook(one, converter)) for one in fields]

    def structure(value: Any, _: Any) -> Any:
        _expected(value, dict, "a mapping")
        errors = [unknown_key(name, names) for name in value if name not in names]
        missing = [required_missing(name) for name in required if name not in value]
        wrong: list[Exception] = []
        given: dict[str, Any] = {}
        for one, hook in hooks:
            if one.name in value:
                try:
                    given[one.alias] = hook(value[one.name], one.type)
                except Exception as error:
                    wrong.append(keyed(error, one.name))
        errors += [*missing, *wrong]
        if not missing and not wrong:
            try:
                result = kind(**given)
            except Exception as error:
                errors.append(error)
        if errors:
            raise ClassValidationError("", errors, kind)
        return result

    return structure


def _field_hook(one: attrs.Attribute[Any], converter: Converter) -> Hook:
    """The hook of a field's type; a type without a hook is left to the field's own converter."""
    try:
        return converter.get_structure_hook(one.type)
    except StructureHandlerNotFoundError:
        if one.converter is None:
            raise
        return lambda value, _: value


def _union_hook(kind: Any, converter: Converter) -> Hook:
    members = get_args(kind)
    present = [member for member in members if member is not type(None)]
    optional = len(present) < len(members)
    # Literals first, so that `Path | Literal["auto"]` reads `auto` as a literal.
    hooks = [
        (member, converter.get_structure_hook(member))
        for member in sorted(present, key=lambda one: not _is("literal", one))
    ]
    tagged = _tagged([member for member in present if member is not Imported])

    def structure(value: Any, _: Any) -> Any:
        if value is None and optional:
            return None
        if Imported in present and isinstance(value, dict) and "use" in value:
            return converter.get_structure_hook(Imported)(value, Imported)
        if tagged is not None and isinstance(value, dict):
            key, by_tag = tagged
            if key not in value:
                raise ClassValidationError("", [required_missing(key)], kind)
            try:
                member = read_choice(by_tag, value[key], None)
            except ValueError as error:
                raise ClassValidationError("", [keyed(error, key)], kind) from None
            return converter.get_structure_hook(member)(value, member)
        failures: dict[Any, Exception] = {}
        for member, hook in hooks:
            try:
                return hook(value, member)
            except Exception as error:
                # The next member may accept it.
                failures[member] = error
        raise _closest([failures[member] for member in present], value, optional=optional)

    return structure


def _tagged(members: Sequence[Any]) -> tuple[str, dict[Any, Any]] | None:
    """The field that distinguishes several attrs classes: a Literal with different values in each."""
    if len(members) < 2 or not all(attrs.has(member) for member in members):
        return None
    for name in attrs.fields_dict(members[0]):
        by_tag: dict[Any, Any] = {}
        for member in members:
            attrs.resolve_types(member)
            one = attrs.fields_dict(member).get(name)
            values = get_args(one.type) if one is not None and _is("literal", one.type) else ()
            if not values or any(value in by_tag for value in values):
                break
            by_tag |= dict.fromkeys(values, member)
        else:
            return name, by_tag
    return None


def _closest(failures: Sequence[Exception], value: Any, *, optional: bool) -> Exception:
    """The problem of the first member that accepts this type of value; otherwise what all members expect."""
    for error in failures:
        if not isinstance(error, UnexpectedError):
            return error
    unexpected = [error for error in failures if isinstance(error, UnexpectedError)]
    expected = dict.fromkeys([*(error.expected for error in unexpected), *(["null"] if optional else [])])
    hints = dict.fromkeys(error.hint for error in unexpected if error.hint)
    return UnexpectedError(" or ".join(expected), value, hint=", ".join(hints))


def _annotated_hook(kind: Any, converter: Converter) -> Hook:
    base, bounds = get_args(kind)[0], bounds_of(kind)
    hook = converter.get_structure_hook(base)

    def structure(value: Any, _: Any) -> Any:
        result = hook(value, base)
        for bound in bounds:
            problem = bound_problem(bound, result, written=value)
            if problem is not None:
                raise ValueError(problem)
        return result

    return structure
