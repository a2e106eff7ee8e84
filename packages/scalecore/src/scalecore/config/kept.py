"""From files that a study keeps to typed objects: strictly, with the file, the line and the key in every error.

`structured(kind, content, place=...)` reads a value that a file held, `read_kept` a whole JSON file, `find_kept` one
that may be missing or damaged, `json_of` the bytes of one. Numbers are finite and have at most 64 bits, text can be
written as UTF-8, a whole number stays one. Keys that the class does not have are passed over: another version of the
same format may have written them.

`kind` is a frozen attrs class. A field whose key on the disk is no name in Python says so in its metadata,
`field(metadata={KEY: "class"})`. A `scalecore.api.record_parts.Part` is written with the keys with which it was read.
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
"""Problems that a message names; a damaged line has one cause."""
LONGEST = 200
"""Characters of one."""
NO_FILE = (errno.ENOENT, errno.ENOTDIR, errno.EISDIR, errno.ELOOP)
"""What the system says of a path at which there is no file."""


def prepare(*kinds: type) -> None:
    """Make ready to read these kinds, which takes some milliseconds at the first time."""
    for kind in kinds:
        _hook(kind)


def structured(
    kind: type[Kind], content: object, *, place: str, error: type[ScalecoreError] = StudyError, remedy: str = ""
) -> Kind:
    """`content` as `kind`, an attrs class; `place` is where it was read, as `journal.jsonl:7`.

    Raises `error`: "PLACE: KEY: what is wrong; remedy".
    """
    try:
        return checked(kind, content)
    except ValueError as problem:
        raise error("; ".join(part for part in (f"{place}: {problem}", remedy) if part)) from None


def checked(kind: type[Kind], content: object) -> Kind:
    """`content` as `kind`; a `ValueError` names what is wrong with it."""
    try:
        result: Kind = _hook(kind)(content, kind)  # type: ignore[arg-type]  # a class is hashable
    except PROBLEMS as error:
        raise ValueError(_problems(error)) from None
    return result


def read_kept(path: Path, kind: type[Kind], *, error: type[ScalecoreError] = StudyError, remedy: str = "") -> Kind:
    """The JSON file `path` as `kind`; raises OSError where it cannot be opened, else as `structured` does."""
    try:
        content = json_of(path.read_bytes())
    except ValueError as problem:
        raise error("; ".join(part for part in (f"{path}: {problem}", remedy) if part)) from None
    return structured(kind, content, place=str(path), error=error, remedy=remedy)


def find_kept(path: Path, kind: type[Kind]) -> Kind | None:
    """As `read_kept`, and None where there is no such file or not a right one.

    For files that tell of a moment, or whose content can be found again: nothing is lost where one is damaged.
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
    """Strict JSON; a `ValueError` says in words why it is none."""
    try:
        text = data.decode("utf-8").strip()
        content, end = _DECODER.raw_decode(text)
        if end != len(text):
            raise json.JSONDecodeError("Extra data", text, end)
        if "\\ud" in text or "\\uD" in text:  # half of a character, perhaps, which UTF-8 cannot hold
            json.dumps(content, ensure_ascii=False).encode()
    except UnicodeEncodeError:
        raise ValueError("half of a character (\\uD800 to \\uDFFF) is no text") from None
    except UnicodeDecodeError as error:
        raise ValueError(f"byte {error.start + 1} is not UTF-8 text") from None
    except json.JSONDecodeError as error:
        where = f"column {error.colno}" if error.lineno == 1 else f"line {error.lineno}, column {error.colno}"
        raise ValueError(f"not JSON ({error.msg}, {where})") from None
    except ValueError as error:  # of the parser of numbers, or of `_refuse_constant`
        digits = "not JSON of a study (a number of more than 4,300 digits)"
        raise ValueError(digits if "digits" in str(error) else str(error)) from None
    except RecursionError:
        raise ValueError("not JSON of a study (nested too deeply)") from None
    return content


def _problems(error: Exception) -> str:
    """The problems of an error of `structured`'s hooks in one line, each with its key."""
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
    raise ValueError(f"not JSON ({name} is no number of JSON)")


_DECODER = json.JSONDecoder(parse_constant=_refuse_constant)
