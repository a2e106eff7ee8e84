"""Apply `KEY=VALUE` of the command line to the values of an experiment file."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from scalecore.config.constraints import described
from scalecore.config.messages import KeyPath, Position, Problem, dotted
from scalecore.config.source import Tree, parse

END = "+"
"""In a path, a new item at the end of a list."""


class CannotSetError(Exception):
    """A path at which no value can be set; the message has the reason."""


def apply_overrides(tree: Tree, overrides: Iterable[str]) -> None:
    """Set each override in turn; the later of two wins. Problems are added to `tree.problems`.

    Keys are joined by dots, list items are counted from 0, and `+` adds an item at the end; missing mappings and lists
    are created. A component given as a bare string becomes a mapping when one of its options is set.
    """
    for text in overrides:
        key, equals, value = text.partition("=")
        path: KeyPath = tuple(key.strip().split("."))
        position = Position(source="<command line>", override=text, sets=path)
        if not equals or not all(path):
            message = "expected KEY=VALUE, for example search.trials=5"
            tree.problems.append(Problem(position=position, path=path, message=message))
            continue
        try:
            path = _make_way(tree, path, position)
        except CannotSetError as error:
            tree.problems.append(Problem(position=position, path=path, message=str(error)))
            continue
        _set(tree, path, parse(value, source="<command line>", override=text, at=path), position)


def set_value(tree: Tree, path: KeyPath, new: Tree, position: Position) -> None:
    """Set a value whose positions are relative to itself; missing mappings on the way are created.

    Raises `CannotSetError`.
    """
    path = _make_way(tree, path, position)
    values = {(*path, *below): where for below, where in new.values.items()}
    keys = {(*path, *below): where for below, where in new.keys.items() if below}
    _set(tree, path, Tree(root=new.root, values=values, keys=keys), position)


def _make_way(tree: Tree, path: KeyPath, position: Position) -> KeyPath:
    """Create the mappings that are missing on the path; return the path with its list indices as numbers."""
    here: KeyPath = ()
    for name in path:
        value = tree.at(here)
        if isinstance(value, str) and _is_component(here):
            value = _replace(tree, here, {"use": value}, position)
            tree.values[(*here, "use")] = position
        if isinstance(value, list):
            name = _index(here, str(name), value)
            if name == len(value):
                value.append(None)
        elif not isinstance(value, dict):
            raise CannotSetError(f"{dotted(here)} is {described(value)}, which has no keys")
        here = (*here, name)
        if len(here) < len(path) and tree.at(here) is None:
            _replace(tree, here, [] if path[len(here)] == END else {}, position)
    return here


def _index(path: KeyPath, name: str, value: list[object]) -> int:
    if name == END:
        return len(value)
    if name in map(str, range(len(value) + 1)):
        return int(name)
    raise CannotSetError(
        f"{dotted(path)} is a list of {len(value)}: give the index of an item, from 0, or {END} to add one"
    )


def _is_component(path: KeyPath) -> bool:
    return path in (("dataset",), ("model",)) or (len(path) == 2 and path[0] in ("monitors", "loggers", "analyses"))


def _replace(tree: Tree, path: KeyPath, value: Any, position: Position) -> Any:
    _set(tree, path, Tree(root=value, values={path: position}), position)
    return value


def _set(tree: Tree, path: KeyPath, new: Tree, position: Position) -> None:
    tree.problems.extend(new.problems)
    tree.unread.update(new.unread)
    for positions in (tree.values, tree.keys):
        for known in [known for known in positions if known[: len(path)] == path]:
            del positions[known]
    parent = tree.at(path[:-1])
    parent[path[-1]] = new.root
    tree.values.update(new.values)
    tree.keys.update(new.keys)
    tree.values.setdefault(path, position)
    if not isinstance(parent, list):
        tree.keys[path] = position
