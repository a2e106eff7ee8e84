"""Forced designs with hyper-parameters of their own: configurations of the user, and extremes of hyper-parameters."""

from __future__ import annotations

from math import isclose
from typing import TYPE_CHECKING

from scalecore.api.errors import ExperimentError
from scalecore.api.formatting import settings
from scalecore.api.space import Choice, IntRange, LogUniform, Uniform, levels, shape_id
from scalecore_optuna.forced import CONFIGURATION, ForcedArchitecture

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from scalecore.api.space import Architecture, ArchitectureSpace, Distribution, Value
    from scalecore.api.strategy import SearchContext
    from scalecore_optuna.grid import Grid
    from scalecore_optuna.options import ArchitecturalOptions, ForcedConfiguration

__all__ = ["configuration_problems", "configurations", "hyperparameter_extremes"]


def configuration_problems(
    options: ArchitecturalOptions, space: Mapping[str, Distribution], shapes: ArchitectureSpace
) -> Iterator[str]:
    """One line for each mistake in the user's configurations, with its key; the budget is not considered."""
    for index, one in options.configurations:
        key = f"search.forced.{index}"
        yield from _hyperparameter_problems(one, space, key=key)
        try:
            _shape(one.architecture, shapes)
        except ValueError as problem:
            yield f"{key}.architecture: {problem}"


def configurations(options: ArchitecturalOptions, context: SearchContext, grid: Grid) -> list[ForcedArchitecture]:
    """The user's configurations. Raises `ExperimentError` with all problems, also for shapes that are not feasible."""
    shapes = context.shapes or _feasible_shapes(context)
    problems = list(configuration_problems(options, context.space, shapes))
    if problems:
        raise ExperimentError("\n".join(problems))
    found = []
    for number, (index, one) in enumerate(options.configurations, start=1):
        values = _shape(one.architecture, shapes)
        architecture = grid.find(values)
        if architecture is None:
            name = shape_id(values)
            why = context.infeasible.get(name, "it is not feasible")
            problems.append(f"search.forced.{index}.architecture: {name.replace(',', ' ')} cannot run: {why}")
            continue
        given = {name: _value(value, context.space[name]) for name, value in one.hyperparameters.items()}
        label = f"{CONFIGURATION}:{number}"
        found.append(ForcedArchitecture(label=label, architecture=architecture, hyperparameters=given))
    if problems:
        raise ExperimentError("\n".join(problems))
    return found


def hyperparameter_extremes(space: Mapping[str, Distribution], architecture: Architecture) -> list[ForcedArchitecture]:
    """Each hyper-parameter at its ends, the others at their middles; every value of a choice without an order."""
    designs = []
    for name, distribution in space.items():
        for end, value in _ends(distribution) if levels(distribution) != 1 else ():
            own = {name: value}
            designs.append(ForcedArchitecture(label=f"{name}:{end}", architecture=architecture, hyperparameters=own))
    return designs


def _ends(distribution: Distribution) -> list[tuple[str, Value]]:
    match distribution:
        case Uniform() | LogUniform():
            return [("min", distribution.low), ("max", distribution.high)]
        case IntRange():
            return [("min", distribution.low), ("max", distribution.at(1.0))]
        case Choice():
            values = distribution.values
            numbers = [one for one in values if isinstance(one, int | float) and not isinstance(one, bool)]
            if len(numbers) == len(values):
                return [("min", min(numbers)), ("max", max(numbers))]
            return [(f"value {number}", value) for number, value in enumerate(values, start=1)]


def _hyperparameter_problems(one: ForcedConfiguration, space: Mapping[str, Distribution], *, key: str) -> Iterator[str]:
    for name, value in one.hyperparameters.items():
        if name not in space:
            known = ", ".join(space) or "nothing"
            yield f"{key}.hyperparameters.{name}: is not varied; search.space has {known}"
        elif not space[name].contains(value):
            bounds = ", ".join(map(str, space[name].bounds()))
            kind = "one of" if isinstance(space[name], Choice) else "within"
            yield f"{key}.hyperparameters.{name}: {value!r} is outside of search.space: {kind} {bounds}"


def _value(value: Value, distribution: Distribution) -> Value:
    """`0` as `0.0` for a float, as a sampler would propose it."""
    return float(value) if isinstance(distribution, Uniform | LogUniform) else value


def _feasible_shapes(context: SearchContext) -> ArchitectureSpace:
    from scalecore.api.space import ArchitectureSpace

    return ArchitectureSpace(
        dimensions=context.dimensions, architectures=tuple(one.values for one in context.architectures)
    )


def _shape(given: Mapping[str, float], shapes: ArchitectureSpace) -> Mapping[str, int]:
    """The one legal shape with these values of dimensions and derived names; nothing is completed (guard G17).

    Raises `ValueError` if there is none, or more than one.
    """
    known = [*shapes.dimensions, *shapes.derived]
    if unknown := [name for name in given if name not in known]:
        derived = f"; or {', '.join(shapes.derived)}, which follow from them" if shapes.derived else ""
        names = ", ".join(shapes.dimensions) or "none, it has a single architecture"
        raise ValueError(f"{', '.join(unknown)}: not a dimension of the model; dimensions: {names}{derived}")
    for name in shapes.dimensions:
        if name in given and given[name] not in shapes.dimensions[name]:
            values = ", ".join(map(str, shapes.dimensions[name]))
            raise ValueError(f"{name}={given[name]} is not a value of the model's option; it has {values}")
    found = [
        shape
        for shape in shapes.architectures
        if all(
            shape[name] == value if name in shapes.dimensions else isclose(shapes.derived[name](shape), value)
            for name, value in given.items()
        )
    ]
    text = settings(given) or "no value"
    if not found:
        raise ValueError(f"the model has no legal shape with {text}")
    if len(found) > 1:
        missing = [name for name in shapes.dimensions if len({shape[name] for shape in found}) > 1]
        raise ValueError(f"{', '.join(missing)} missing: {len(found)} shapes of the model have {text}")
    return found[0]
