"""Find the components of an experiment and check their options.

    registry = load_registry()
    loaded, resolved = load_resolved(path, overrides=["search.trials=5"], registry=registry)

`load_resolved` reports the problems of the file and of the components in one error; `load_experiment` of
`scalecore.config.load` and `resolve` are its two steps.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import attrs
from attrs import evolve
from cattrs.errors import BaseValidationError, StructureHandlerNotFoundError

from scalecore.api.errors import PluginError
from scalecore.api.metrics import direction_problem
from scalecore.api.trainer import Trainer, TrainingChoices
from scalecore.config.constraints import nearest
from scalecore.config.converters import read_component, section_component
from scalecore.config.experiment import CONFIRM, ComponentRef, Execution, Experiment, Search, Training, known_keys
from scalecore.config.experiment_json import plain_value
from scalecore.config.extras import missing_extras
from scalecore.config.instantiate import create
from scalecore.config.load import Draft, LoadedExperiment, converter_for, read_draft
from scalecore.config.messages import KeyPath, Problem, raise_problems
from scalecore.config.missing_trainer import missing_trainer
from scalecore.config.removed import SINKS, removed
from scalecore.config.resolved import Resolved, ResolvedComponent
from scalecore.config.scalars import read_path
from scalecore.config.structure import UnknownKeyError, flatten
from scalecore.plugins.metadata import canonical_name
from scalecore.plugins.registry import known_provider

if TYPE_CHECKING:
    from scalecore.plugins.registry import Registered, Registry


def resolve(loaded: LoadedExperiment, registry: Registry) -> Resolved:
    """Look up all components and check their options.

    Raises an `ExperimentError` that lists the invalid options, or a `PluginError` if all problems are those of plugins.
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

    A file with `sweep:` is refused: it describes several studies (`scalecore.campaign.load`). `begun` returns whether a
    study of this experiment has begun; such a study may be resumed without loggers that were removed since.
    """
    draft = read_draft(path, overrides)
    if "sweep" in draft.tree.root:
        message = "this file describes a campaign of several studies, but a single study is expected here"
        raise_problems([draft.tree.problem(("sweep",), message, key=True)])
    return resolved_draft(draft, registry, begun=begun)


def resolved_draft(
    draft: Draft, registry: Registry, *, begun: Callable[[Experiment], bool] | None = None
) -> tuple[LoadedExperiment, Resolved]:
    """Resolve a draft; raises the problems of both. `begun` as in `load_resolved`."""
    resolved = _resolve(draft, registry, begun=begun)
    return draft.loaded(), resolved


def _resolve(draft: Draft, registry: Registry, *, begun: Callable[[Experiment], bool] | None = None) -> Resolved:
    registry, problems = _with_files(draft, registry)
    problems, tree = [*problems, *draft.problems], draft.tree
    found: dict[KeyPath, ResolvedComponent] = {}
    absent: list[Problem] = []  # a trainer that is not installed, which only training needs
    gone: dict[str, tuple[str, Problem]] = {}  # by its message, reported once
    for path, kind, ref in _refs(tree.root):
        given = tree.at((*path, "use")) if path[0] in ("training", "execution") else tree.at(path)
        try:
            registered = (registry.default if given is None else registry.get)(kind, ref.use)
        except PluginError as error:
            use = (*path, "use")
            where = use if tree.at(use) is not None else path
            provider = known_provider(kind, ref.use)
            if kind == "trainer" and provider is not None and not registry.has(provider):
                found[path] = missing_trainer(ref.use, ref.options, provider=provider, message=str(error))
                absent = [tree.problem(where, str(error), kind="plugin")]
                continue
            if (text := removed(kind, ref.use)) is not None:
                gone.setdefault(text, (kind, tree.problem(where, text)))
                problems = [one for one in problems if one.path != path]  # not also as listed twice
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
    trainer: Trainer | None = None
    if ("training",) in found:
        try:
            trainer = create("trainer", found["training",])
        except PluginError as error:
            problems.append(tree.problem(("training",), str(error), kind="plugin"))
    if draft.experiment is not None and trainer is not None and ("dataset",) in found:
        problems += _training_problems(draft, draft.experiment, trainer, dataset=found["dataset",])
    left_out = [text for text, (kind, _) in gone.items() if kind in SINKS]
    if left_out and (begun is None or draft.experiment is None or not begun(draft.experiment)):
        left_out = []
    problems += [problem for text, (_, problem) in gone.items() if text not in left_out]
    if problems:
        raise_problems([*problems, *absent])
    assert draft.experiment is not None
    assert trainer is not None

    def listed(name: str, refs: Sequence[ComponentRef]) -> tuple[ResolvedComponent, ...]:
        return tuple(found[name, index] for index in range(len(refs)) if (name, index) in found)

    return Resolved(
        experiment=draft.experiment,
        dataset=found[("dataset",)],
        model=found[("model",)],
        search=found[("search",)],
        trainer=found[("training",)],
        training=trainer,
        executor=found[("execution",)],
        monitors=listed("monitors", draft.experiment.monitors),
        loggers=listed("loggers", draft.experiment.loggers),
        analyses=(
            *((found[CONFIRM,],) if (CONFIRM,) in found else ()),
            *listed("analyses", draft.experiment.analyses),
        ),
        left_out=tuple(left_out),
    )


def _removed_options(ref: ComponentRef, registered: Registered) -> Iterator[tuple[str, str]]:
    """The options that were removed from this component, each with its message."""
    for key in ref.options:
        text = removed(registered.kind, f"{registered.name}.{key}")
        if text is not None and key not in attrs.fields_dict(registered.record.options):
            yield key, text


def _with_files(draft: Draft, registry: Registry) -> tuple[Registry, list[Problem]]:
    """The registry with the plugin files of the experiment, and the problems of those that cannot be used."""
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
            message = f"two plugins are named {file.name}; rename one of the files, or remove it here"
        seen.add(file.name)
        if message is not None:
            problems.append(draft.tree.problem(path, message, kind="plugin"))
    return found, problems


def _same_again(
    draft: Draft, path: KeyPath, component: ResolvedComponent, found: Mapping[KeyPath, ResolvedComponent]
) -> Iterator[Problem]:
    """A component that is listed twice, by its name and by `distribution/name`."""
    for place, other in found.items():
        same = place[0] == path[0] and other.record is component.record and other.options == component.options
        if same and other.use != component.use:
            message = f"{component.use} is the same component as {other.use}, listed twice with the same options"
            yield draft.tree.problem(path, message)


def _training_problems(
    draft: Draft, experiment: Experiment, trainer: Trainer, *, dataset: ResolvedComponent
) -> Iterator[Problem]:
    """The problems of training and objective, as far as the dataset's options determine the task (guard G11)."""
    task_of = getattr(dataset.record, "task", None)
    task = None if task_of is None else task_of(dataset.options)
    objective, tree = experiment.objective, draft.tree
    choices = training_choices(experiment, directed=tree.at(("objective", "direction")) is not None)
    for path, message in trainer.problems(choices, task=task):
        # An import path without options has no `use`.
        alone = path[-1] == "use" and tree.at(path) is None
        yield tree.problem(path[:-1] if alone else path, message)
    code = [one.file for one in trainer.code() if one.file is not None]
    if (clash := _same_names(code, plugins=experiment.plugins)) is not None:
        yield tree.problem(("training",), clash)
    wrong = direction_problem(metric=objective.metric, direction=objective.direction)
    if wrong is not None:
        yield tree.problem(("objective", "direction"), wrong)


def _same_names(code: Sequence[Path], *, plugins: Sequence[Path]) -> str | None:
    """The problem of two files with the same name, whose versions records could not distinguish; None if there is none.

    Plugin files are compared with each other when they are loaded.
    """
    first = {file.name: file for file in plugins}
    for file in code:
        other = first.setdefault(file.name, file)
        if other != file:
            return f"two files are named {file.name}: {other} and {file}; rename one of them"
    return None


def training_choices(experiment: Experiment, *, directed: bool = True) -> TrainingChoices:
    """Other choices that affect which trainer options are valid; `directed`: whether the file sets the direction."""
    return TrainingChoices(
        metric=experiment.objective.metric,
        directed=directed,
        varied=frozenset(experiment.search.space),
        fixed=frozenset(experiment.training.hyperparameters),
    )


def _refs(root: Mapping[str, Any]) -> Iterator[tuple[KeyPath, str, ComponentRef]]:
    """Each component in the file, with its path and kind; invalid ones are reported elsewhere."""
    places: list[tuple[KeyPath, str, Any]] = [
        (("dataset",), "dataset", root.get("dataset")),
        (("model",), "model", root.get("model")),
    ]
    for section, name, kind in (
        (Search, "search", "search"),
        (Training, "training", "trainer"),
        (Execution, "execution", "executor"),
    ):
        ref = section_component(root.get(name, {}), section)
        if ref is not None:
            yield (name,), kind, ref
    if isinstance(root.get(CONFIRM), dict):
        yield (CONFIRM,), "analysis", ComponentRef(use=CONFIRM, options=root[CONFIRM])
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
    draft: Draft, path: KeyPath, ref: ComponentRef, registered: Registered
) -> tuple[ResolvedComponent | None, list[Problem]]:
    record, tree = registered.record, draft.tree
    names = tuple(attrs.fields_dict(record.options))
    sections: dict[KeyPath, tuple[str, ...]] = {
        ("search",): known_keys(Search),
        ("training",): known_keys(Training),
        ("execution",): known_keys(Execution),
    }
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
        options = converter_for(draft.folder, draft.written).structure(known, record.options)
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
