"""The resolved experiment as plain JSON types, with all defaults: the form that a study stores and hashes."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from enum import Enum
from pathlib import PurePath
from typing import TYPE_CHECKING, Any

import attrs

from scalecore.api.options import Imported, ImportPath
from scalecore.api.space import Choice, IntRange, LogUniform, Uniform, distribution_plain
from scalecore.config.experiment import DEFAULT_TRAINER, Budget, ComponentRef, Execution, Search, Training, known_keys

if TYPE_CHECKING:
    from scalecore.config.resolved import Resolved, ResolvedComponent


def to_plain(resolved: Resolved) -> dict[str, Any]:
    """The experiment in the form of the experiment file, in a fixed order; loading it returns the same experiment.

    Components are mappings with `use`, distributions and budgets have the form of the file, paths are absolute text.
    """
    experiment = resolved.experiment
    plain: dict[str, Any] = {
        name: plain_value(getattr(experiment, name)) for name in attrs.fields_dict(type(experiment))
    }
    plain["dataset"] = _component(resolved.dataset)
    plain["model"] = _component(resolved.model)
    plain["search"] = _component(resolved.search) | _section(experiment.search)
    plain["training"] = training_plain(resolved)
    plain["execution"] = _component(resolved.executor) | _section(experiment.execution)
    plain["monitors"] = [_component(one) for one in resolved.monitors]
    plain["loggers"] = [_component(one) for one in resolved.loggers]
    analyses = list(resolved.analyses)
    if experiment.confirm is None:  # as in studies older than this key
        del plain["confirm"]
    else:
        plain["confirm"] = plain_value(analyses.pop(0).options)
    plain["analyses"] = [_component(one) for one in analyses]
    del plain["sweep"]  # a resolved experiment is one study
    for name in ("description", "plugins"):  # without a value as in studies older than these options
        if not plain[name]:
            del plain[name]
    return plain


def training_plain(resolved: Resolved, *, place: Callable[[PurePath], Any] = str) -> dict[str, Any]:
    """The section `training`; `place` converts paths."""
    trainer = resolved.trainer
    # No study names the default trainer: it used to be the only one.
    use = {} if trainer.use == DEFAULT_TRAINER else {"use": trainer.use}
    return {**use, **_section(resolved.experiment.training), **plain_value(trainer.options, place=place)}


def _component(component: ResolvedComponent) -> dict[str, Any]:
    return {"use": component.use, **plain_value(component.options)}


def _section(section: Search | Training | Execution) -> dict[str, Any]:
    return {name: plain_value(getattr(section, name)) for name in known_keys(type(section))}


def plain_value(value: Any, *, place: Callable[[PurePath], Any] = str) -> Any:
    """One value of an options class as plain JSON types; raises `TypeError` for types without such a form.

    `place` converts paths.
    """
    match value:
        case Enum():
            return value.value
        case None | bool() | int() | float() | str():
            return value
        case Budget():
            return value.text
        case ImportPath():
            where: Any = value.module if value.file is None else place(value.file)
            return f"{where}:{value.name}" if isinstance(where, str) else {**where, "name": value.name}
        case Imported():
            use = plain_value(value.use, place=place)
            return {"use": use, **plain_value(value.options, place=place)} if value.options else use
        case ComponentRef():
            return {"use": value.use, **plain_value(value.options, place=place)} if value.options else value.use
        case Uniform() | LogUniform() | IntRange() | Choice():
            return distribution_plain(value)
        case PurePath():
            return place(value)
        case Mapping():
            return {str(key): plain_value(one, place=place) for key, one in value.items()}
        case Sequence():
            return [plain_value(one, place=place) for one in value]
    if attrs.has(type(value)):
        fields = [one.name for one in attrs.fields(type(value)) if one.init]
        return {name: plain_value(getattr(value, name), place=place) for name in fields}
    raise TypeError(f"options of type {type(value).__name__} have no plain form")
