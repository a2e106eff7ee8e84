"""Read the files of a study as typed objects: strictly, with the file, the line and the key in every error.

`structured(kind, content, place=...)` reads a value from a file, `read_kept` a JSON file, `find_kept` a file that may
be missing or damaged, and `json_of` the bytes of a file. Numbers must be finite and have at most 64 bits, text must be
valid UTF-8, and integers stay integers. Keys that the class does not have are ignored: another version of the same
format may have written them.

`kind` is a frozen attrs class. If the key of a field on disk is not a Python name, the field's metadata contains it:
`field(metadata={KEY: "class"})`. A `scalecore.api.record_parts.Part` is written with the same keys as it was read.
"""

from __future__ import annotations

import errno
import json
import types
from collections.abc import Callable, Mapping, Sequence
from functools import cache, partial
from pathlib import Path
from typing import Any, Literal, TypeVar, Union, get_origin

import attrs
from cattrs import Converter

from scalecore.api.errors import ScalecoreError, StudyError
from scalecore.api.escaping import masked, printable
from scalecore.api.space import Distribution
from scalecore.config.converters import read_distribution
from scalecore.config.kept_objects import object_hook
from scalecore.config.kept_values import (
    PROBLEMS,
    Hook,
    literal_hook,
    mapping_hook,
    read_bits,
    read_bool,
    read_json_value,
    read_number,
    read_string,
    sequence_hook,
    union_hook,
)
from scalecore.config.messages import dotted
from scalecore.config.structure import flatten

Kind = TypeVar("Kind")

SHOWN = 3
"""Problems that a message lists at most; a damaged line has one cause."""
LONGEST = 200
"""Characters of a problem at most."""
NO_FILE = (errno.ENOENT, errno.ENOTDIR, errno.EISDIR, errno.ELOOP)
"""Error numbers for a path without a file."""


def prepare(*kinds: type) -> None:
    """Prepare to read these kinds, which takes some milliseconds the first time."""
    for kind in kinds:
        _hook(kind)


def structured(
    kind: type[Kind], content: object, *, place: str, error: type[ScalecoreError] = StudyError, remedy: str = ""
) -> Kind:
    """`content` as `kind`, an attrs class; `place` is its origin, such as `journal.jsonl:7`.

    Raises `error`: "PLACE: KEY: problem; remedy".
    """
    try:
        return checked(kind, content)
    except ValueError as problem:
        raise error("; ".join(part for part in (f"{place}: {problem}", remedy) if part)) from None


def checked(kind: type[Kind], content: object) -> Kind:
    """`content` as `kind`; raises `ValueError` with its problems."""
    try:
        result: Kind = _hook(kind)(content, kind)  # type: ignore[arg-type]  # a class is hashable
    except PROBLEMS as error:
        raise ValueError(_problems(error)) from None
    return result


def read_kept(path: Path, kind: type[Kind], *, error: type[ScalecoreError] = StudyError, remedy: str = "") -> Kind:
    """The JSON file `path` as `kind`; raises OSError if it cannot be opened, otherwise like `structured`."""
    try:
        content = json_of(path.read_bytes())
    except ValueError as problem:
        raise error("; ".join(part for part in (f"{path}: {problem}", remedy) if part)) from None
    return structured(kind, content, place=str(path), error=error, remedy=remedy)


def find_kept(path: Path, kind: type[Kind]) -> Kind | None:
    """Like `read_kept`, but None if the file is missing or damaged.

    For files with a momentary state, or with content that can be computed again.
    """
    try:
        return read_kept(path, kind)
    except StudyError:
        return None
    except OSError as error:
        if error.errno not in NO_FILE:
            raise
        return None


def json_of(data: bytes) -> object:
    """Strict JSON; raises `ValueError` with the reason if it is invalid."""
    try:
        text = data.decode("utf-8").strip()
        content, end = _DECODER.raw_decode(text)
        if end != len(text):
            raise json.JSONDecodeError("Extra data", text, end)
        if "\\ud" in text or "\\uD" in text:  # perhaps half a character, which UTF-8 cannot encode
            json.dumps(content, ensure_ascii=False).encode()
    except UnicodeEncodeError:
        raise ValueError("half of a character (\\uD800 to \\uDFFF) is not text") from None
    except UnicodeDecodeError as error:
        raise ValueError(f"byte {error.start + 1} is not UTF-8 text") from None
    except json.JSONDecodeError as error:
        where = f"column {error.colno}" if error.lineno == 1 else f"line {error.lineno}, column {error.colno}"
        raise ValueError(f"not JSON ({error.msg}, {where})") from None
    except ValueError as error:  # from the number parser or `_refuse_constant`
        digits = "not JSON of a study (a number of more than 4,300 digits)"
        raise ValueError(digits if "digits" in str(error) else str(error)) from None
    except RecursionError:
        raise ValueError("not JSON of a study (nested too deeply)") from None
    return content


def _problems(error: Exception) -> str:
    """The problems of an error of the hooks on one line, each with its key."""
    found = [f"{dotted(path)}: {text}" if path else str(text) for path, text in flatten(error)]
    shown = [one if len(one) <= LONGEST else f"{one[:LONGEST]}..." for one in map(masked, map(printable, found))]
    more = len(shown) - SHOWN
    return "; ".join(shown[:SHOWN]) + (f"; and {more} more" if more > 0 else "")


@cache
def _hook(kind: Any) -> Hook:
    return _converter().get_structure_hook(kind)


@cache
def _converter() -> Converter:
    converter = Converter(detailed_validation=True)
    for kind, hook in ((bool, read_bool), (int, read_bits), (float, read_number), (str, read_string)):
        converter.register_structure_hook(kind, hook)
    converter.register_structure_hook_func(lambda kind: kind is object, read_json_value)
    factories: tuple[tuple[Callable[[Any], bool], Any], ...] = (
        (attrs.has, object_hook),
        (partial(_is_generic, (Sequence, list, tuple)), sequence_hook),
        (partial(_is_generic, (Mapping, dict)), mapping_hook),
        (partial(_is_generic, (Literal,)), literal_hook),
        (partial(_is_generic, (Union, types.UnionType)), union_hook),
    )
    for predicate, factory in factories:
        converter.register_structure_hook_factory(predicate, factory)
    converter.register_structure_hook_func(lambda kind: kind == Distribution, read_distribution)
    return converter


def _is_generic(origins: tuple[Any, ...], kind: Any) -> bool:
    return get_origin(kind) in origins


def _refuse_constant(name: str) -> object:
    raise ValueError(f"not JSON ({name} is not a JSON number)")


_DECODER = json.JSONDecoder(parse_constant=_refuse_constant)
