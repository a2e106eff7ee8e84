"""Options of a component on the command line, checked as strictly as those of an experiment."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any, TypeVar

from cattrs.errors import BaseValidationError

from scalecore.config.messages import Position, Problem, raise_problems
from scalecore.config.overrides import apply_overrides
from scalecore.config.resolved import ResolvedComponent
from scalecore.config.source import Tree, dump, parse
from scalecore.config.stored_paths import texts_in
from scalecore.config.structure import UnknownKeyError, flatten, make_converter
from scalecore.plugins.registry import Registry

Options = TypeVar("Options")


def standalone_options(
    kind: type[Options], overrides: Iterable[str], *, stored: Mapping[str, Any] = MappingProxyType({})
) -> Options:
    """An instance of the options class `kind`, with `KEY=VALUE` overriding its defaults or the options that a study has
    `stored`.

    Values are read as in an experiment file; relative paths are relative to the working directory. Raises one
    `ExperimentError` that lists all problems.
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


def standalone_component(
    kind: str, stored: Mapping[str, Any], overrides: Iterable[str], *, registry: Registry, source: str
) -> ResolvedComponent:
    """The component that `source` has stored, `use` and its options, with `KEY=VALUE` overriding them.

    Raises one `ExperimentError` that lists all problems, or `PluginError` if the component is missing.
    """
    tree = parse(dump({kind: dict(stored)}), source=source)
    apply_overrides(tree, [f"{kind}.{text}" for text in overrides])
    if tree.problems:
        raise_problems(tree.problems)
    found = registry.default(kind, stored["use"])
    content = {name: value for name, value in tree.root[kind].items() if name != "use"}
    try:
        options: Any = make_converter(Path.cwd(), frozenset(texts_in(stored))).structure(content, found.record.options)
    except BaseValidationError as error:
        raise_problems([tree.problem((kind, *path), str(one)) for path, one in flatten(error)])
    return ResolvedComponent(record=found.record, options=options, provider=found.provider, version=found.version)
