"""Strict reading of single values: booleans, numbers, strings, paths, and choices."""

from __future__ import annotations

import difflib
import os
from collections.abc import Mapping
from enum import Enum
from pathlib import Path
from typing import Any

from scalecore.config.constraints import UnexpectedError, described, variable_problem

LONGEST_PART = 255
"""Bytes of one name in a path at most: the limit of nearly all file systems."""
LONGEST_PATH = 3800
"""Bytes of a path at most, so that the files of a study below it stay within the 4,096 of Linux."""


def read_bool(value: Any, _: Any) -> bool:
    """`true` or `false`, but no number."""
    if isinstance(value, bool):
        return value
    raise UnexpectedError("true or false", value)


def read_int(value: Any, kind: Any) -> Any:
    """An integer, but no boolean; or the member of an enum of int."""
    if isinstance(kind, type) and issubclass(kind, Enum):
        return read_enum(value, kind)
    if isinstance(value, int) and not isinstance(value, bool):
        return value
    hint = ""
    if isinstance(value, float) and value.is_integer() and abs(value) < 1e15:
        hint = f"write {int(value)}"
    raise UnexpectedError("an integer", value, hint=hint)


def read_float(value: Any, _: Any) -> float:
    """An integer or a float."""
    if isinstance(value, int | float) and not isinstance(value, bool):
        try:
            return float(value)
        except OverflowError:
            raise ValueError("the number is too large") from None
    raise UnexpectedError("a number", value)


def read_text(value: Any, kind: Any) -> Any:
    """A string, unchanged; or the member of an enum of str."""
    if isinstance(kind, type) and issubclass(kind, Enum):
        return read_enum(value, kind)
    if isinstance(value, str):
        return value
    raise UnexpectedError("a string", value, hint="put it in quotes" if isinstance(value, bool | int | float) else "")


def read_path(folder: Path, written: frozenset[str], value: Any, _: Any) -> Path:
    """An absolute path; relative ones are relative to `folder`, and `~` is the home folder.

    A `Path`, or an absolute path in `written`, comes from scalecore and stays unchanged.
    """
    if isinstance(value, Path):
        return storable(value)
    if not isinstance(value, str) or not value:
        raise UnexpectedError("a path", value)
    if value in written and os.path.isabs(value):
        return Path(value)
    if problem := variable_problem(value):
        raise ValueError(problem)
    try:
        path = Path(value).expanduser()
    except RuntimeError as error:
        raise ValueError(str(error)) from None
    path = (folder / path).absolute()
    if problem := _unusable(path):
        raise ValueError(problem)
    return storable(path)


def storable(path: Path) -> Path:
    """The path itself; raises `ValueError` if it is not UTF-8, since no file of a study could contain it."""
    try:
        str(path).encode("utf-8")
    except UnicodeEncodeError:
        shown = os.fsencode(path).decode("utf-8", errors="backslashreplace")
        raise ValueError(f"{shown}: this path is not UTF-8 text; rename the folder or file") from None
    return path


def _unusable(path: Path) -> str | None:
    """Why this path is too long or has a forbidden character, for a file or for a study below it; None if usable."""
    if "\0" in str(path):
        return "a path cannot contain the character \\0"
    longest, whole = max(len(os.fsencode(part)) for part in path.parts), len(os.fsencode(path))
    if longest > LONGEST_PART:
        return f"a name in this path has {longest:,} bytes, but at most {LONGEST_PART} are allowed; use a shorter one"
    if whole > LONGEST_PATH:
        return f"this path has {whole:,} bytes, but at most {LONGEST_PATH:,} are allowed; use a shorter one"
    return None


def read_enum(value: Any, kind: Any) -> Any:
    """The member of an enum by its value."""
    return read_choice({item.value: item for item in kind}, value, kind)


def read_choice(choices: Mapping[Any, Any], value: Any, _: Any) -> Any:
    """The result of the choice with the same type and value."""
    for known, result in choices.items():
        if known == value and type(known) is type(value):
            return result
    names = [_shown(known) for known in choices]
    near = difflib.get_close_matches(value, names, n=1) if isinstance(value, str) else []
    expected = names[0] if len(names) == 1 else f"one of {', '.join(names)}"
    raise UnexpectedError(expected, value, hint=f"did you mean {near[0]}?" if near else "")


def _shown(value: object) -> str:
    return value if isinstance(value, str) else described(value)
