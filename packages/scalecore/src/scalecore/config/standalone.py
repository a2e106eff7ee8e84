"""Options of a component that a command gets: from the command line, checked as strictly as those of an experiment."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any, TypeVar

from cattrs.errors import BaseValidationError

from scalecore.config.messages import Position, Problem, raise_problems
from scalecore.config.overrides import apply_overrides
from scalecore.config.source import Tree
from scalecore.config.stored import texts_in
from scalecore.config.structure import UnknownKeyError, flatten, make_converter

Options = TypeVar("Options")


def standalone_options(
    kind: type[Options], overrides: Iterable[str], *, stored: Mapping[str, Any] = MappingProxyType({})
) -> Options:
    """An instance of the options class `kind`, with `KEY=VALUE` for what differs from its defaults, or from the options
    that a study has `stored`.

    Values are read as in an experiment file; relative paths are taken from the working directory. Raises one
    `ExperimentError` that lists all that is wrong.
    """
    tree = Tree(root=dict(stored), values={(): Position(source="<command line>")})
    apply_overrides(tree, overrides)
    problems = list(tree.problems)
    try:
        options = make_converter(Path.cwd(), frozenset(texts_in(stored))).structure(tree.root, kind)
    except BaseValidationError as error:
        for path, one in flatten(error):
            position = tree.position(path, key=isinstance(one, UnknownKeyError))
            problems.append(Problem(position=position, path=path, message=str(one)))
    if problems:
        raise_problems(problems)
    return options
