"""Options of a component that stands in no experiment file: given on the command line alone, checked as strictly."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import TypeVar

from cattrs.errors import BaseValidationError

from scalecore.config.messages import Position, Problem, raise_problems
from scalecore.config.overrides import apply_overrides
from scalecore.config.source import Tree
from scalecore.config.structure import UnknownKeyError, flatten, make_converter

__all__ = ["standalone_options"]

Options = TypeVar("Options")


def standalone_options(kind: type[Options], overrides: Iterable[str]) -> Options:
    """An instance of the options class `kind`, with `KEY=VALUE` for what shall differ from its defaults.

    Values are read as in an experiment file; relative paths are taken from the working directory. Raises one
    `ExperimentError` that lists all that is wrong.
    """
    tree = Tree(root={}, values={(): Position(source="<command line>")})
    apply_overrides(tree, overrides)
    problems = list(tree.problems)
    try:
        options = make_converter(Path.cwd()).structure(tree.root, kind)
    except BaseValidationError as error:
        for path, one in flatten(error):
            position = tree.position(path, key=isinstance(one, UnknownKeyError))
            problems.append(Problem(position=position, path=path, message=str(one)))
    if problems:
        raise_problems(problems)
    return options
