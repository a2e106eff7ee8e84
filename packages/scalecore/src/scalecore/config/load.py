"""Read and check an experiment file; `scalecore.config.resolve` finds its components."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Literal, NoReturn

from attrs import field, frozen
from cattrs.errors import BaseValidationError

from scalecore.api.errors import ExperimentError
from scalecore.config.constraints import described
from scalecore.config.converters import register_forms
from scalecore.config.experiment import CONFIRM, ComponentRef, Experiment
from scalecore.config.messages import ExperimentFileError, KeyPath, Position, Problem, raise_problems
from scalecore.config.overrides import apply_overrides
from scalecore.config.source import MAX_BYTES, Tree, parse
from scalecore.config.structure import UnknownKeyError, flatten, make_converter

if TYPE_CHECKING:
    from cattrs import Converter


@frozen(kw_only=True)
class LoadedExperiment:
    """An experiment whose own keys are valid; `resolve` checks the options of components."""

    experiment: Experiment
    source: str
    """The file as the user named it."""
    _draft: Draft = field(alias="draft", repr=False, eq=False)

    @property
    def positions(self) -> Mapping[KeyPath, Position]:
        """The position of each value in the file or on the command line."""
        return self._draft.tree.values

    def problem(
        self, path: KeyPath, message: str, *, key: bool = False, kind: Literal["file", "plugin"] = "file"
    ) -> Problem:
        """A problem at `path`: its position is that of the value, of the key with `key`, or of the nearest parent."""
        return self._draft.tree.problem(path, message, key=key, kind=kind)

    def fail(self, problems: Iterable[Problem]) -> NoReturn:
        """Raise all problems as one `ExperimentError`."""
        raise_problems(problems)

    def problems_of(self, error: ExperimentError, *, section: str) -> list[Problem]:
        """The problems that a component reports for its options, one per line, each at the key with which the line
        begins, or at the component's section.
        """
        if isinstance(error, ExperimentFileError):
            return list(error.problems)
        found = []
        for line in str(error).splitlines():
            keyed = re.fullmatch(rf"({section}(?:\.\w+)+): (.+)", line)
            path, message = (keyed[1], keyed[2]) if keyed else (section, line)
            parts = (int(part) if part.isdigit() else part for part in path.split("."))
            found.append(self.problem(tuple(parts), message))
        return found

    @contextmanager
    def locating(self, section: str) -> Iterator[None]:
        """Raise the problems that a component reports for its options again, with their positions in the file."""
        try:
            yield
        except ExperimentError as error:
            self.fail(self.problems_of(error, section=section))


def load_experiment(path: str | os.PathLike[str], *, overrides: Sequence[str] = ()) -> LoadedExperiment:
    """Read and check an experiment file; an `ExperimentError` lists all its problems, with positions.

    Relative paths in the file and in overrides are relative to the folder of the file.
    """
    draft = read_draft(path, overrides)
    if draft.problems:
        raise_problems(draft.problems)
    return draft.loaded()


@frozen(kw_only=True)
class Draft:
    """A file that may still have problems."""

    source: str
    folder: Path
    tree: Tree
    written: frozenset[str]
    """Texts that scalecore wrote: paths among them are used unchanged."""
    problems: tuple[Problem, ...]
    experiment: Experiment | None

    def loaded(self) -> LoadedExperiment:
        assert self.experiment is not None
        return LoadedExperiment(experiment=self.experiment, source=self.source, draft=self)


def read_draft(path: str | os.PathLike[str], overrides: Sequence[str]) -> Draft:
    """Read a file with its overrides, and collect its problems. Raises `ExperimentError` if it cannot be read."""
    return draft_of(read_tree(path, overrides), source=os.fspath(path), folder=Path(path).absolute().parent)


def read_tree(path: str | os.PathLike[str], overrides: Sequence[str]) -> Tree:
    """The values of a file with its overrides. Raises `ExperimentError` unless the top level is a mapping."""
    source = os.fspath(path)
    tree = parse(_text(source), source=source)
    if tree.root is None and not tree.problems:
        raise_problems([tree.problem((), "the file is empty; expected an experiment")])
    if not isinstance(tree.root, dict):
        what = f"expected a mapping of keys at the top, got {described(tree.root)}"
        raise_problems(tree.problems or [tree.problem((), what)])
    apply_overrides(tree, overrides)
    return tree


def draft_of(tree: Tree, *, source: str, folder: Path, written: frozenset[str] = frozenset()) -> Draft:
    """Structure the tree as an experiment, as far as it is valid; relative paths are relative to `folder`."""
    experiment, problems = None, list(tree.problems)
    try:
        experiment = converter_for(folder, written).structure(tree.root, Experiment)
    except BaseValidationError as error:
        # A value that could not be read is reported only once.
        unread = {path[:length] for path in tree.unread for length in range(1, len(path) + 1)}
        problems += [problem for problem in problems_of_error(tree, error) if problem.path not in unread]
    else:
        problems += _listed_twice(tree, experiment)
    return Draft(
        source=source, folder=folder, tree=tree, written=written, problems=tuple(problems), experiment=experiment
    )


def _text(source: str) -> str:
    try:
        with open(source, "rb") as file:
            data = file.read(MAX_BYTES + 1)
    except FileNotFoundError:
        raise ExperimentError(f"{source}: there is no such file") from None
    except IsADirectoryError:
        raise ExperimentError(f"{source}: this is a folder; expected an experiment file") from None
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise ExperimentError(f"{source}: cannot be read ({reason})") from None
    if len(data) > MAX_BYTES:
        raise ExperimentError(f"{source}: larger than the limit of {MAX_BYTES // 1024} KiB")
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data[: error.start].count(b"\n") + 1
        raise ExperimentError(f"{source}:{line}: not UTF-8 text; save the file as UTF-8") from None


@lru_cache(maxsize=4)
def converter_for(folder: Path, written: frozenset[str]) -> Converter:
    """One converter for the file, its components and all studies of a campaign, so that its hooks are reused."""
    converter = make_converter(folder, written)
    register_forms(converter)
    return converter


def problems_of_error(tree: Tree, error: BaseException, path: KeyPath = ()) -> Iterator[Problem]:
    """The problems of a converter below `path`, each with its position."""
    for where, one in flatten(error, path):
        yield tree.problem(where, str(one), key=isinstance(one, UnknownKeyError))


def _listed_twice(tree: Tree, experiment: Experiment) -> Iterator[Problem]:
    if experiment.confirm is not None and any(ref.use == CONFIRM for ref in experiment.analyses):
        yield tree.problem((CONFIRM,), "`analyses` lists confirm too; remove one of them", key=True)
    for role in ("monitors", "loggers", "analyses"):
        refs: list[ComponentRef] = getattr(experiment, role)
        for index, ref in enumerate(refs):
            if ref in refs[:index]:
                yield tree.problem((role, index), f"{ref.use} is listed twice with the same options")
