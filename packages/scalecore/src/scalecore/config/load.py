"""From an experiment file to a checked experiment, and from there to components with their options.

    registry = load_registry()
    loaded, resolved = load_resolved(path, overrides=["search.trials=5"], registry=registry)

`load_resolved` reports what is wrong in the file and with the components in one error; `load_experiment` and `resolve`
are its two halves.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

import attrs
from attrs import evolve, field, frozen
from cattrs.errors import BaseValidationError, StructureHandlerNotFoundError

from scalecore.api.components import Record
from scalecore.api.errors import ExperimentError, PluginError
from scalecore.config.bounds import described, nearest
from scalecore.config.experiment import ComponentRef, Execution, Experiment, Search, known_keys
from scalecore.config.extras import missing_extras
from scalecore.config.forms import read_component, register_forms, section_component
from scalecore.config.losses import direction_problem, loss_problem, metric_problem, objective_problem
from scalecore.config.messages import ExperimentFileError, KeyPath, Position, Problem, raise_problems
from scalecore.config.overrides import apply_overrides
from scalecore.config.plain import plain_value
from scalecore.config.removed import SINKS, removed
from scalecore.config.scalars import read_path
from scalecore.config.source import MAX_BYTES, Tree, parse
from scalecore.config.structure import UnknownKeyError, flatten, make_converter
from scalecore.plugins.metadata import canonical_name

if TYPE_CHECKING:
    from cattrs import Converter

    from scalecore.plugins.registry import Registered, Registry


@frozen(kw_only=True)
class LoadedExperiment:
    """An experiment whose own keys are right; the options of components are checked by `resolve`."""

    experiment: Experiment
    source: str
    """The file as the user named it."""
    _draft: _Draft = field(alias="draft", repr=False, eq=False)

    @property
    def positions(self) -> Mapping[KeyPath, Position]:
        """Where each value stands that the file or an override gives."""
        return self._draft.tree.values

    def problem(self, path: KeyPath, message: str, *, key: bool = False) -> Problem:
        """A problem at `path`, pointing at its value, at its key with `key`, or at what is nearest above it."""
        return self._draft.tree.problem(path, message, key=key)

    def fail(self, problems: Iterable[Problem]) -> NoReturn:
        """Raise all problems as one `ExperimentError`."""
        raise_problems(problems)

    def problems_of(self, error: ExperimentError, *, section: str) -> list[Problem]:
        """What a component says is wrong with its options, a problem for each line, at the key that the line begins
        with; at the component's section where it begins with none.
        """
        if isinstance(error, ExperimentFileError):
            return list(error.problems)
        found = []
        for line in str(error).splitlines():
            keyed = re.fullmatch(rf"({section}(?:\.\w+)+): (.+)", line)
            path, message = (keyed[1], keyed[2]) if keyed else (section, line)
            found.append(self.problem(tuple(path.split(".")), message))
        return found

    @contextmanager
    def locating(self, section: str) -> Iterator[None]:
        """Raise what a component says is wrong with its options again, with the places in the file."""
        try:
            yield
        except ExperimentError as error:
            self.fail(self.problems_of(error, section=section))


@frozen(kw_only=True)
class ResolvedComponent:
    """A component that the experiment uses, with its checked options and who provides it."""

    record: Record
    options: Any
    provider: str
    version: str
    _use: str | None = field(default=None, alias="use")

    @property
    def name(self) -> str:
        """The name that its record gives it."""
        return self.record.name

    @property
    def use(self) -> str:
        """What follows `use:`, the name or `distribution/name`, as the file has it."""
        return self._use or self.name


@frozen(kw_only=True)
class Resolved:
    """An experiment with all its components; nothing of them is imported yet but their options."""

    experiment: Experiment
    dataset: ResolvedComponent
    model: ResolvedComponent
    search: ResolvedComponent
    executor: ResolvedComponent
    monitors: tuple[ResolvedComponent, ...]
    loggers: tuple[ResolvedComponent, ...]
    analyses: tuple[ResolvedComponent, ...]
    left_out: tuple[str, ...] = ()
    """What a study that was begun uses and this version has no more, in words; nothing else of the study needs it."""

    def registry(self, arguments: Mapping[str, Any]) -> dict[str, Any]:
        """The arguments of `load_registry` by which another process finds these components too."""
        files = [str(path) for path in self.experiment.plugins]
        return {**arguments, "files": files} if files else dict(arguments)


def load_experiment(path: str | os.PathLike[str], *, overrides: Sequence[str] = ()) -> LoadedExperiment:
    """Read and check an experiment file; an `ExperimentError` lists everything that is wrong in it, with positions.

    Relative paths in the file, and in overrides, are taken from the folder of the file.
    """
    draft = _read(path, overrides)
    if draft.problems:
        raise_problems(draft.problems)
    return draft.loaded()


def resolve(loaded: LoadedExperiment, registry: Registry) -> Resolved:
    """Look up all components and check their options.

    Raises an `ExperimentError` that lists the wrong options, or a `PluginError` where only plugins are at fault.
    """
    return _resolve(loaded._draft, registry)


def load_resolved(
    path: str | os.PathLike[str],
    *,
    overrides: Sequence[str] = (),
    registry: Registry,
    begun: Callable[[Experiment], bool] | None = None,
) -> tuple[LoadedExperiment, Resolved]:
    """`load_experiment` and `resolve` in one, so that the problems of both are reported together.

    A file with `sweep:` is refused: it describes several studies (`scalecore.campaign.load`). `begun` says whether a
    study of this experiment has begun, which may go on without the loggers that were removed since.
    """
    draft = _read(path, overrides)
    if "sweep" in draft.tree.root:
        message = "this file describes a campaign of several studies; one study is wanted here"
        raise_problems([draft.tree.problem(("sweep",), message, key=True)])
    return resolved_draft(draft, registry, begun=begun)


# --- the file -------------------------------------------------------------------------------------------------------


@frozen(kw_only=True)
class _Draft:
    """What is known of a file before it is known to be right."""

    source: str
    folder: Path
    tree: Tree
    written: frozenset[str]
    """Texts that scalecore wrote: paths among them are taken as they are."""
    problems: tuple[Problem, ...]
    experiment: Experiment | None

    def loaded(self) -> LoadedExperiment:
        assert self.experiment is not None
        return LoadedExperiment(experiment=self.experiment, source=self.source, draft=self)


def _read(path: str | os.PathLike[str], overrides: Sequence[str]) -> _Draft:
    return draft_of(read_tree(path, overrides), source=os.fspath(path), folder=Path(path).absolute().parent)


def resolved_draft(
    draft: _Draft, registry: Registry, *, begun: Callable[[Experiment], bool] | None = None
) -> tuple[LoadedExperiment, Resolved]:
    """The components of what was read; raises all problems of both. `begun` as in `load_resolved`."""
    resolved = _resolve(draft, registry, begun=begun)
    return draft.loaded(), resolved


def read_tree(path: str | os.PathLike[str], overrides: Sequence[str]) -> Tree:
    """The values of a file with overrides set; a mapping at the top, or an `ExperimentError`."""
    source = os.fspath(path)
    tree = parse(_text(source), source=source)
    if tree.root is None and not tree.problems:
        raise_problems([tree.problem((), "the file is empty; expected an experiment")])
    if not isinstance(tree.root, dict):
        what = f"expected a mapping of keys at the top, got {described(tree.root)}"
        raise_problems(tree.problems or [tree.problem((), what)])
    apply_overrides(tree, overrides)
    return tree


def draft_of(tree: Tree, *, source: str, folder: Path, written: frozenset[str] = frozenset()) -> _Draft:
    """The tree structured as an experiment, as far as it is right; relative paths are taken from `folder`."""
    experiment, problems = None, list(tree.problems)
    try:
        experiment = _converter(folder, written).structure(tree.root, Experiment)
    except BaseValidationError as error:
        # A value that could not be read is reported once, as what it is.
        unread = {path[:length] for path in tree.unread for length in range(1, len(path) + 1)}
        problems += [problem for problem in _problems(tree, error) if problem.path not in unread]
    else:
        problems += _listed_twice(tree, experiment)
    return _Draft(
        source=source, folder=folder, tree=tree, written=written, problems=tuple(problems), experiment=experiment
    )


def _text(source: str) -> str:
    try:
        with open(source, "rb") as file:
            data = file.read(MAX_BYTES + 1)
    except FileNotFoundError:
        raise ExperimentError(f"{source}: there is no such file") from None
    except IsADirectoryError:
        raise ExperimentError(f"{source}: is a folder; expected an experiment file") from None
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise ExperimentError(f"{source}: cannot be read ({reason})") from None
    if len(data) > MAX_BYTES:
        raise ExperimentError(f"{source}: larger than {MAX_BYTES // 1024} KiB, which no experiment needs")
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data[: error.start].count(b"\n") + 1
        raise ExperimentError(f"{source}:{line}: not UTF-8 text; save the file as UTF-8") from None


@lru_cache(maxsize=4)
def _converter(folder: Path, written: frozenset[str]) -> Converter:
    """One for the file, for the options of its components, and for all studies of a campaign: its hooks are kept."""
    converter = make_converter(folder, written)
    register_forms(converter)
    return converter


def _problems(tree: Tree, error: BaseException, path: KeyPath = ()) -> Iterator[Problem]:
    for where, one in flatten(error, path):
        yield tree.problem(where, str(one), key=isinstance(one, UnknownKeyError))


def _listed_twice(tree: Tree, experiment: Experiment) -> Iterator[Problem]:
    for role in ("monitors", "loggers", "analyses"):
        refs: list[ComponentRef] = getattr(experiment, role)
        for index, ref in enumerate(refs):
            if ref in refs[:index]:
                yield tree.problem((role, index), f"{ref.use} is listed twice with the same options")


# --- components -----------------------------------------------------------------------------------------------------


def _resolve(draft: _Draft, registry: Registry, *, begun: Callable[[Experiment], bool] | None = None) -> Resolved:
    registry, problems = _with_files(draft, registry)
    problems, tree = [*problems, *draft.problems], draft.tree
    found: dict[KeyPath, ResolvedComponent] = {}
    gone: dict[str, tuple[str, Problem]] = {}  # by its message, which one place of the file is enough for
    for path, kind, ref in _refs(tree.root):
        given = tree.at(path) if path[0] != "execution" else tree.at((*path, "use"))
        try:
            registered = (registry.default if given is None else registry.get)(kind, ref.use)
        except PluginError as error:
            use = (*path, "use")
            where = use if tree.at(use) is not None else path
            if (text := removed(kind, ref.use)) is not None:
                gone.setdefault(text, (kind, tree.problem(where, text)))
                problems = [one for one in problems if one.path != path]  # that it is listed twice
            else:
                problems.append(tree.problem(where, str(error), kind="plugin"))
            continue
        for key, text in _removed_options(ref, registered):
            gone.setdefault(text, (kind, tree.problem((*path, key), text, key=True)))
            ref = evolve(ref, options={name: value for name, value in ref.options.items() if name != key})
        component, wrong = _structure_options(draft, path, ref, registered)
        problems += wrong
        if component is not None:
            for message in missing_extras(kind, component.record, component.options):
                problems.append(tree.problem(path, message, kind="plugin"))
            problems += _same_again(draft, path, component, found)
            found[path] = component
    if draft.experiment is not None and ("dataset",) in found:
        problems += _loss_problems(draft, draft.experiment, found["dataset",])
    left_out = [text for text, (kind, _) in gone.items() if kind in SINKS]
    if left_out and (begun is None or draft.experiment is None or not begun(draft.experiment)):
        left_out = []
    problems += [problem for text, (_, problem) in gone.items() if text not in left_out]
    if problems:
        raise_problems(problems)
    assert draft.experiment is not None

    def listed(name: str, refs: Sequence[ComponentRef]) -> tuple[ResolvedComponent, ...]:
        return tuple(found[name, index] for index in range(len(refs)) if (name, index) in found)

    return Resolved(
        experiment=draft.experiment,
        dataset=found[("dataset",)],
        model=found[("model",)],
        search=found[("search",)],
        executor=found[("execution",)],
        monitors=listed("monitors", draft.experiment.monitors),
        loggers=listed("loggers", draft.experiment.loggers),
        analyses=listed("analyses", draft.experiment.analyses),
        left_out=tuple(left_out),
    )


def _removed_options(ref: ComponentRef, registered: Registered) -> Iterator[tuple[str, str]]:
    """The options that this component once had, each with what to say of it."""
    for key in ref.options:
        text = removed(registered.kind, f"{registered.name}.{key}")
        if text is not None and key not in attrs.fields_dict(registered.record.options):
            yield key, text


def _with_files(draft: _Draft, registry: Registry) -> tuple[Registry, list[Problem]]:
    """The registry with the plugins that the file names, and what is wrong with them: each must be usable."""
    items = draft.tree.root.get("plugins")
    paths: dict[KeyPath, Path] = {}
    for index, item in enumerate(items if isinstance(items, list) else ()):
        with suppress(ValueError):  # reported with the other values of the file
            paths["plugins", index] = read_path(draft.folder, draft.written, item, None)
    if not paths:
        return registry, []
    found = registry.with_files(paths.values())
    problems, seen = [], set()
    for (path, file), plugin in zip(paths.items(), found.plugins[-len(paths) :], strict=True):
        message = plugin.reason
        if file.name in seen:
            message = f"two plugins are called {file.name}; give one of the files another name, or remove it here"
        seen.add(file.name)
        if message is not None:
            problems.append(draft.tree.problem(path, message, kind="plugin"))
    return found, problems


def _same_again(
    draft: _Draft, path: KeyPath, component: ResolvedComponent, found: Mapping[KeyPath, ResolvedComponent]
) -> Iterator[Problem]:
    """A component of a list that stands there twice, by its name and by `distribution/name`."""
    for place, other in found.items():
        same = place[0] == path[0] and other.record is component.record and other.options == component.options
        if same and other.use != component.use:
            message = f"{component.use} is {other.use}, and is listed twice with the same options"
            yield draft.tree.problem(path, message)


def _loss_problems(draft: _Draft, experiment: Experiment, dataset: ResolvedComponent) -> Iterator[Problem]:
    """What is wrong with loss and objective, as far as the options of the dataset tell the task (guard G11)."""
    told = getattr(dataset.record, "task", None)
    task = None if told is None else told(dataset.options)
    wrong = objective_problem(experiment.training.loss, metric=experiment.objective.metric)
    paths: list[tuple[KeyPath, str]] = [] if wrong is None else [(("training", "loss"), wrong)]
    if task is not None and (problem := loss_problem(experiment.training.loss, task=task)) is not None:
        paths.append((("training", "loss", problem[0]), problem[1]))
    objective = experiment.objective
    wrong = metric_problem(experiment.training.loss, metric=objective.metric, task=task)
    if wrong is not None and not paths:  # a loss of another task has other metrics
        paths.append((("objective", "metric"), wrong))
    wrong = direction_problem(metric=objective.metric, direction=objective.direction)
    if wrong is not None:
        paths.append((("objective", "direction"), wrong))
    for path, message in paths:
        yield draft.tree.problem(path, message)


def _refs(root: Mapping[str, Any]) -> Iterator[tuple[KeyPath, str, ComponentRef]]:
    """Each component that the file names, with its place and kind; what is no component is reported elsewhere."""
    places: list[tuple[KeyPath, str, Any]] = [
        (("dataset",), "dataset", root.get("dataset")),
        (("model",), "model", root.get("model")),
    ]
    for section, name, kind in ((Search, "search", "search"), (Execution, "execution", "executor")):
        ref = section_component(root.get(name, {}), section)
        if ref is not None:
            yield (name,), kind, ref
    if "loggers" not in root:
        default: Any = attrs.fields_dict(Experiment)["loggers"].default
        for index, ref in enumerate(default.factory()):
            yield ("loggers", index), "logger", ref
    for name, kind in (("monitors", "monitor"), ("loggers", "logger"), ("analyses", "analysis")):
        items = root.get(name)
        places += [((name, index), kind, item) for index, item in enumerate(items if isinstance(items, list) else ())]
    for path, kind, value in places:
        try:
            yield path, kind, read_component(value)
        except (BaseValidationError, ValueError):
            continue


def _structure_options(
    draft: _Draft, path: KeyPath, ref: ComponentRef, registered: Registered
) -> tuple[ResolvedComponent | None, list[Problem]]:
    record, tree = registered.record, draft.tree
    names = tuple(attrs.fields_dict(record.options))
    sections: dict[KeyPath, tuple[str, ...]] = {("search",): known_keys(Search), ("execution",): known_keys(Execution)}
    section = sections.get(path, ())
    problems: list[Problem] = []
    for key in ref.options:
        if key not in names:
            owner = f"the {registered.kind} {registered.name!r}"
            hint = nearest(key, (*section, *names)) if section or names else f"{owner} has no options"
            problems.append(tree.problem((*path, key), f"unknown key; {hint}", key=True))
    options: Any = None
    try:
        known = {key: value for key, value in ref.options.items() if key in names}
        options = _converter(draft.folder, draft.written).structure(known, record.options)
        plain_value(options)
    except (BaseValidationError, StructureHandlerNotFoundError, TypeError) as error:
        for where, one in flatten(error, path):
            if isinstance(one, ValueError):
                problems.append(tree.problem(where, str(one), key=isinstance(one, UnknownKeyError)))
                continue
            fault = f"{registered.provider} {registered.version} cannot check this option ({type(one).__name__}: {one})"
            problems.append(tree.problem(where, fault, kind="plugin"))
    if problems:
        return None, problems
    named = f"{canonical_name(registered.provider)}/{registered.name}" if "/" in ref.use else registered.use
    return ResolvedComponent(
        record=record, options=options, provider=registered.provider, version=registered.version, use=named
    ), []
