"""Installed distributions, read from their folders as installers write them.

Importing `importlib.metadata` costs a tenth of `scalecore check`. It reads what is not of the usual form.
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
    """What the metadata of a distribution says; `entry_points` are those of one group, name and value."""

    name: str
    version: str
    requires: tuple[str, ...]
    entry_points: tuple[tuple[str, str], ...]


def canonical_name(name: str) -> str:
    """The name of a distribution as installers compare it. The function of `packaging.utils` costs 10 ms to import."""
    return re.sub(r"[-_.]+", "-", name).lower()


def folders(places: Sequence[str], names: Sequence[str] = ()) -> Iterator[str] | None:
    """The folders of metadata in `places`, of all distributions or of those with one of the canonical names.

    None where a place may be an archive, or an import hook knows of distributions elsewhere.
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
    """The metadata in a folder; None where it is not of the usual form, and `importlib.metadata` has to judge it."""
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
            continue  # the next line of a text that nothing here reads
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
