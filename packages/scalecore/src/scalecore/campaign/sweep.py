"""Expand `sweep:` of an experiment file: one tree of values per combination, with positions inside the sweep."""

from __future__ import annotations

import itertools
import json
import re
from collections.abc import Mapping
from copy import deepcopy
from typing import Any

from attrs import frozen

from scalecore.config.constraints import described
from scalecore.config.messages import Position, Problem
from scalecore.config.overrides import CannotSetError, set_value
from scalecore.config.source import Tree

_FIXED = ("name", "description", "output", "sweep", "confirm", "analyses")
"""Keys of the whole campaign, which cannot be swept."""


@frozen(kw_only=True)
class Variant:
    """One study of a campaign: its label, such as `budget-2M_horizon-1`, and the swept keys with their values."""

    label: str
    values: Mapping[str, Any]
    tree: Tree


def expand(tree: Tree) -> tuple[list[Variant], list[Problem]]:
    """One variant for each combination of the swept values; the last key of the file varies fastest.

    If the sweep is invalid, the list is empty and the problems have the reasons.
    """
    sweep = tree.root.get("sweep")
    problems = _problems(tree, sweep)
    if problems:
        return [], problems
    keys = list(sweep)
    names = _short_names(keys)
    texts = {key: _slugs(sweep[key]) for key in keys}
    variants = []
    for combination in itertools.product(*(range(len(sweep[key])) for key in keys)):
        one = _copy(tree)
        del one.root["sweep"]
        for key, index in zip(keys, combination, strict=True):
            place = ("sweep", key, index)
            position = tree.position(place)
            try:
                set_value(one, tuple(key.split(".")), _subtree(tree, place), position)
            except CannotSetError as error:
                at = tree.position(place[:2], key=True)
                problems.append(Problem(position=at, path=place[:2], message=str(error)))
        picked = list(zip(keys, combination, strict=True))
        variants.append(
            Variant(
                label="_".join(f"{names[key]}-{texts[key][index]}" for key, index in picked),
                values={key: sweep[key][index] for key, index in picked},
                tree=one,
            )
        )
    return variants, problems


def _problems(tree: Tree, sweep: Any) -> list[Problem]:
    found = []

    def add(path: tuple[Any, ...], message: str, *, key: bool = False) -> None:
        found.append(tree.problem(path, message, key=key))

    if not isinstance(sweep, dict) or not sweep:
        add(("sweep",), "expected a mapping of dotted keys to lists, for example `search.budget: [2M, 20M]`")
        return found
    for key, values in sweep.items():
        path = ("sweep", key)
        if not isinstance(key, str) or not all(key.split(".")):
            add(path, f"expected a key such as search.budget, got {key!r}", key=True)
        elif key.split(".")[0] in _FIXED:
            add(path, f"{key.split('.')[0]} belongs to the campaign as a whole and cannot be swept", key=True)
        if not isinstance(values, list):
            add(path, f"expected a list of values, got {described(values)}")
        elif not values:
            add(path, "expected at least one value")
        else:
            for index, value in enumerate(values):
                if value in values[:index]:
                    add((*path, index), "this value is listed twice, so two studies would be the same")
    return found or _overridden(tree, sweep)


def _overridden(tree: Tree, sweep: Mapping[str, Any]) -> list[Problem]:
    """Problems with overrides of swept keys: the value of each study would replace them."""
    given = {place.sets: place for place in tree.values.values() if place.override is not None}
    return [
        Problem(position=place, path=place.sets, message=f"the sweep sets {key} in every study; select with --only")
        for key in sweep
        for path, place in given.items()
        if [str(part) for part in path][: len(key.split("."))] == key.split(".")
    ]


def _copy(tree: Tree) -> Tree:
    return Tree(
        root=deepcopy(tree.root),
        values=dict(tree.values),
        keys=dict(tree.keys),
        problems=list(tree.problems),
        unread=set(tree.unread),
    )


def _subtree(tree: Tree, place: tuple[Any, ...]) -> Tree:
    """The value at `place`, with positions relative to it, as `set_value` expects."""
    size = len(place)

    def below(positions: Mapping[Any, Position]) -> dict[Any, Position]:
        return {path[size:]: position for path, position in positions.items() if path[:size] == place}

    return Tree(root=deepcopy(tree.at(place)), values=below(tree.values), keys=below(tree.keys))


def _short_names(keys: list[str]) -> dict[str, str]:
    """The shortest unique name of each key: its last part, or more parts if needed."""
    names = {}
    for key in keys:
        parts = key.split(".")
        for count in range(1, len(parts) + 1):
            short = parts[-count:]
            if sum(other.split(".")[-count:] == short for other in keys) == 1:
                break
        names[key] = re.sub(r"[^A-Za-z0-9]+", "-", "-".join(short))
    return names


def _slugs(values: list[Any]) -> list[str]:
    """The values as parts of folder names, or their numbers in the list if some have no unique short form."""
    texts = [re.sub(r"[^A-Za-z0-9.]+", "-", _text(value)).strip("-.") for value in values]
    if len({text.lower() for text in texts}) < len(texts) or any(not text or len(text) > 30 for text in texts):
        return [str(index + 1) for index in range(len(values))]
    return texts


def _text(value: Any) -> str:
    return "" if isinstance(value, dict | list) else json.dumps(value) if not isinstance(value, str) else value
