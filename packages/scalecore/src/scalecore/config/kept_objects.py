"""Read attrs classes from the mappings in a file."""

from __future__ import annotations

import marshal
import types
from typing import Any, Union, get_args, get_origin

import attrs
from cattrs import Converter
from cattrs.errors import ClassValidationError

from scalecore.api.record_parts import GIVEN, KEY, REST
from scalecore.config.constraints import UnexpectedError
from scalecore.config.kept_values import LARGEST, PROBLEMS, Hook, is_plain
from scalecore.config.structure import keyed, required_missing


def object_hook(kind: Any, converter: Converter) -> Hook:
    """A hook for a class, which reads most of a journal.

    Objects of a class nearly always have the same keys with values of the same types, and often the same content as the
    previous object. Once such keys and types were found valid, only numbers and nested values are checked again.
    """
    attrs.resolve_types(kind)
    fields = {str(one.metadata.get(KEY, one.name)): one for one in attrs.fields(kind) if one.init}
    part = fields.pop(GIVEN, None) is not None
    rest = next((fields.pop(key) for key, one in list(fields.items()) if one.metadata.get(REST)), None)
    hooks = {key: (one.alias, converter.get_structure_hook(one.type), one.type) for key, one in fields.items()}
    required = [key for key, one in fields.items() if one.default is attrs.NOTHING]
    rest_hook = None if rest is None else converter.get_structure_hook(rest.type)
    plain_rest = rest is not None and is_plain(get_args(rest.type)[1])
    layouts: dict[tuple[Any, ...], _ClassLayout] = {}
    last: Any = None
    last_bytes: bytes | None = None
    last_result: Any = None

    def structure(content: Any, _: Any) -> Any:
        nonlocal last, last_bytes, last_result
        if type(content) is not dict:
            raise UnexpectedError("a mapping", content)
        # The same mapping may have been changed since. For Python, true, 1 and 1.0 are equal.
        if content is not last and content == last:
            last_bytes = last_bytes or marshal.dumps(last, 2)
            if marshal.dumps(content, 2) == last_bytes:
                return last_result
        signature = (*content, *map(type, content.values()))
        layout = layouts.get(signature)
        try:
            small = layout is not None and -LARGEST < sum([content[key] for key in layout.numbers]) < LARGEST
        except OverflowError:
            small = False
        if layout is None or not small:
            check(content)
            layout = layouts[signature] = layout_of(content)
        values = content.copy() if layout.as_is else {name: content[key] for key, name in layout.plain}
        for key, name, hook, type_ in layout.nested:
            try:
                values[name] = hook(content[key], type_)
            except PROBLEMS as error:
                raise ClassValidationError("", [keyed(error, key)], kind) from None
        if rest is not None and rest_hook is not None:
            others = {key: content[key] for key in layout.others}
            values[rest.alias] = others if plain_rest else rest_hook(others, rest.type)
        if part:
            values[GIVEN] = layout.keys
            result = kind.of(values)
        else:
            result = kind(**values)
        last, last_bytes, last_result = content, None, result
        return result

    def check(content: dict[str, Any]) -> None:
        """Raise all problems, each with its key."""
        errors: list[Exception] = []
        for key, value in content.items():
            if key in hooks:
                try:
                    hooks[key][1](value, hooks[key][2])
                except PROBLEMS as error:
                    errors.append(keyed(error, key))
        if rest is not None and rest_hook is not None:
            try:
                rest_hook({key: value for key, value in content.items() if key not in hooks}, rest.type)
            except ClassValidationError as error:
                errors += error.exceptions
        errors += [required_missing(key) for key in required if key not in content]
        if errors:
            raise ClassValidationError("", errors, kind)

    def layout_of(content: dict[str, Any]) -> _ClassLayout:
        known = [key for key in content if key in hooks]
        plain = [key for key in known if content[key] is None or is_plain(fields[key].type)]
        others = tuple(key for key in content if key not in hooks)
        return _ClassLayout(
            keys=tuple(content),
            plain=tuple((key, hooks[key][0]) for key in plain),
            as_is=all(key in plain and key == hooks[key][0] for key in content),
            numbers=tuple(key for key in (*plain, *others) if type(content[key]) in (int, float)),
            nested=tuple(
                (key, hooks[key][0], *_inner(fields[key].type, converter)) for key in known if key not in plain
            ),
            others=others,
        )

    return structure


def _inner(kind: Any, converter: Converter) -> tuple[Hook, Any]:
    """The hook and the type of a value that is not None."""
    members = [member for member in get_args(kind) if member is not types.NoneType]
    if get_origin(kind) in (Union, types.UnionType) and len(members) == 1:
        kind = members[0]
    return converter.get_structure_hook(kind), kind


@attrs.frozen
class _ClassLayout:
    """The keys of objects of one class, with values of the same types, which were found valid once."""

    keys: tuple[str, ...]
    plain: tuple[tuple[str, str], ...]
    """Keys and names of values for which a check of the type is enough."""
    as_is: bool
    """Whether the content can be passed to the class unchanged."""
    numbers: tuple[str, ...]
    nested: tuple[tuple[str, str, Hook, Any], ...]
    others: tuple[str, ...]
    """Keys that the class does not have."""
