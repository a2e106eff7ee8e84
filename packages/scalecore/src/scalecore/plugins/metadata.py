"""Read installed distributions from their folders, in the usual form of installers.

Importing `importlib.metadata` takes a tenth of `scalecore check`, so it only reads metadata in other forms.
"""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Iterator, Sequence
from importlib.machinery import PathFinder
from itertools import takewhile
from typing import NamedTuple


class Metadata(NamedTuple):
    """The metadata of a distribution; `entry_points` are the names and values of one group."""

    name: str
    version: str
    requires: tuple[str, ...]
    entry_points: tuple[tuple[str, str], ...]


def canonical_name(name: str) -> str:
    """The name of a distribution as installers compare it. Importing the function of `packaging.utils` takes 10 ms."""
    return re.sub(r"[-_.]+", "-", name).lower()


def folders(places: Sequence[str], names: Sequence[str] = ()) -> Iterator[str] | None:
    """The metadata folders in `places`, of all distributions or of those with one of the canonical names.

    None if a place may be an archive, or an import hook may find distributions elsewhere.
    """
    hooks = (finder for finder in sys.meta_path if finder is not PathFinder)
    eggs = (os.path.isfile(place) or place.lower().endswith(".egg") for place in places)
    if any(hasattr(finder, "find_distributions") for finder in hooks) or any(eggs):
        return None
    return (os.path.join(place, child) for place in places for child in _children(place) if _wanted(child, names))


def _children(place: str) -> list[str]:
    try:
        return os.listdir(place or ".")
    except (OSError, ValueError):
        return []


def _wanted(child: str, names: Sequence[str]) -> bool:
    stem, _, kind = child.lower().rpartition(".")
    return kind in ("dist-info", "egg-info") and (not names or canonical_name(stem.partition("-")[0]) in names)


def read_metadata(folder: str, group: str) -> Metadata | None:
    """The metadata in a folder; None if it has another form, which `importlib.metadata` has to read."""
    try:
        with open(os.path.join(folder, "METADATA"), encoding="utf-8") as file:
            header = list(takewhile("\n".__ne__, file))
        with open(os.path.join(folder, "entry_points.txt"), encoding="utf-8") as file:
            lines = [line for one in file if (line := one.strip()) and not line.startswith("#")]
    except (OSError, UnicodeDecodeError):
        return None
    fields: list[tuple[str, str]] = []
    for line in header:
        key, colon, value = line.partition(":")
        if line[0].isspace() and fields and fields[-1][0] not in ("name", "version", "requires-dist"):
            continue  # a continuation line of an unused field
        if not colon or any(one.isspace() for one in key):
            return None
        fields.append((key.lower(), value.strip()))
    entry_points: list[tuple[str, str]] = []
    section = None
    for line in lines:
        name, equals, value = line.partition("=")
        if line.startswith("[") and line.endswith("]"):
            section = line.strip("[]")
        elif not equals or section is None:
            return None
        elif section == group:
            entry_points.append((name.strip(), value.strip()))
    found = dict(reversed(fields))
    if not found.get("name") or not found.get("version"):
        return None
    requires = tuple(value for key, value in fields if key == "requires-dist")
    return Metadata(found["name"], found["version"], requires, tuple(entry_points))
