"""Constraints of types, such as `Annotated[int, Ge(1)]`, and how messages show values."""

from __future__ import annotations

import difflib
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any, get_args

import annotated_types as at

from scalecore.api.escaping import masked
from scalecore.api.files import broken_link
from scalecore.api.options import MustExist, PathPattern, Pattern


class UnexpectedError(ValueError):
    """A value of an unexpected type or form. A union combines the expectations of its members in one message."""

    def __init__(self, expected: str, value: object, *, hint: str = "") -> None:
        super().__init__(f"expected {expected}, got {described(value)}{f'; {hint}' if hint else ''}")
        self.expected = expected
        self.value = value
        self.hint = hint


def bounds_of(kind: Any) -> list[Any]:
    """The constraints of an Annotated type; groups such as `Interval` are split, marker classes instantiated."""
    found: list[Any] = []
    for one in get_args(kind)[1:]:
        if isinstance(one, at.GroupedMetadata):
            found.extend(one)
        else:
            found.append(MustExist() if one is MustExist else one)
    return found


def bound_problem(bound: Any, value: Any, *, written: object) -> str | None:
    """Why the value violates this constraint, or None; `written` is the value in the file, before int became float."""
    match bound:
        case at.Ge() if value < bound.ge:
            return f"must be at least {bound.ge}, got {described(written)}"
        case at.Gt() if value <= bound.gt:
            return f"must be greater than {bound.gt}, got {described(written)}"
        case at.Le() if value > bound.le:
            return f"must be at most {bound.le}, got {described(written)}"
        case at.Lt() if value >= bound.lt:
            return f"must be less than {bound.lt}, got {described(written)}"
        case at.MinLen() if len(value) < bound.min_length:
            needed = _counted(bound.min_length, value)
            return f"must have at least {needed}, got {len(value)}" if value else "must not be empty"
        case at.MaxLen() if len(value) > bound.max_length:
            return f"must have at most {_counted(bound.max_length, value)}, got {len(value)}"
        case Pattern() if re.fullmatch(bound.regex, value) is None:
            return f"{bound.rule}, got {described(written)}"
        case PathPattern():
            return _held_path_problem(value)
        case MustExist():
            return _unreachable(value)
    return None


def _unreachable(path: Path) -> str | None:
    try:
        path.stat()
    except (FileNotFoundError, NotADirectoryError):
        broken = broken_link(path)
        return f"there is no file {path}" if broken is None else f"{path} {broken}"
    except OSError as error:
        return f"{path} cannot be accessed ({error.strerror})"
    return None


def variable_in(text: str) -> str | None:
    """The first environment variable in a path, `$NAME` or `${NAME}` as in a shell; None if there is none."""
    found = re.search(r"\$(?:\{[^}]*\}|[A-Za-z_]\w*)", text)
    return found[0] if found else None


def variable_problem(path: str) -> str | None:
    """Why a path with variables is refused: nothing expands them."""
    if (name := variable_in(path)) is None:
        return None
    return (
        f"variables such as {name} are not expanded in paths, got {described(path)}; write the path itself, or set "
        "this key on the command line without single quotes, where the shell expands the variable"
    )


def _held_path_problem(text: str) -> str | None:
    kind, _, rest = text.partition(":")
    path = rest.removeprefix("///")
    if kind in ("journal", "sqlite") and path.startswith("~"):
        return f"`~` is not expanded here, got {described(text)}; write the path itself"
    if kind == "sqlite" and "?" in path:
        return f"`?` ends the path of a URL, got {described(text)}; use a path without `?`"
    return variable_problem(text)


def described(value: object) -> str:
    """A value as messages show it: `string 'abc'`, `true`, `a list`."""
    match value:
        case None:
            return "nothing"
        case bool():
            return "true" if value else "false"
        case str():
            shown = masked(value)
            return f"string {shown if len(shown) <= 60 else shown[:57] + '...'!r}"
        case dict():
            return "a mapping"
        case list():
            return "a list"
        case int() if abs(value) >= 10**40:
            return f"a number of {len(str(abs(value)))} digits"
    return repr(value)


def nearest(name: str, known: Sequence[str]) -> str:
    """A suggestion: `did you mean 'trials'?`, or all known names."""
    near = difflib.get_close_matches(name, known, n=1)
    return f"did you mean {near[0]!r}?" if near else f"expected one of {', '.join(known)}"


def _counted(count: int, value: object) -> str:
    unit = "character" if isinstance(value, str) else "item"
    return f"{count} {unit}" if count == 1 else f"{count} {unit}s"
