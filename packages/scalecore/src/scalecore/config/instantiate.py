"""Create the run-time object of a resolved component; errors of its factory are reported with their plugin."""

from __future__ import annotations

import inspect
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from types import MappingProxyType
from typing import Any

from scalecore.api.analysis import Analysis, SupportsPlan, SupportsTraining
from scalecore.api.dataset import Dataset
from scalecore.api.errors import PluginError, ScalecoreError
from scalecore.api.executor import Executor, SupportsStackDump, SupportsTracer
from scalecore.api.logger import Logger
from scalecore.api.model import ClosedForms, ModelFamily, SupportsLevelCheck
from scalecore.api.monitor import HardwareMonitor
from scalecore.api.strategy import SearchStrategy, SupportsExplain, SupportsPhase
from scalecore.api.trainer import Trainer
from scalecore.config.resolved import ResolvedComponent
from scalecore.plugins.registry import Registered

_PROTOCOLS: Mapping[str, type] = MappingProxyType(
    {
        "dataset": Dataset,
        "model": ModelFamily,
        "search strategy": SearchStrategy,
        "logger": Logger,
        "monitor": HardwareMonitor,
        "executor": Executor,
        "analysis": Analysis,
        "trainer": Trainer,
    }
)
"""The protocol that an object of each kind must satisfy."""

_OPTIONAL: Mapping[str, tuple[type, ...]] = MappingProxyType(
    {
        "model": (SupportsLevelCheck,),
        "search strategy": (SupportsExplain, SupportsPhase),
        "executor": (SupportsStackDump, SupportsTracer),
        "analysis": (SupportsPlan, SupportsTraining),
    }
)
"""Optional protocols: checked if the object has all members of one, since only then the core uses it."""

_SINGLE: Mapping[str, type] = MappingProxyType({"model": ClosedForms})
"""Optional protocols whose members are checked one by one."""


def create(kind: str, component: ResolvedComponent, *context: Any) -> Any:
    """Create the component's object with the options of the experiment file."""
    return make(kind, component, component.options, *context)


def make(kind: str, component: ResolvedComponent | Registered, *arguments: Any) -> Any:
    """Call the factory, and check that the core can call all methods of its object. Raises `PluginError`."""
    protocol = _PROTOCOLS[kind]
    with of_plugin(kind, component, "cannot start"):
        made = component.record.factory(*arguments)
        problems = list(_problems(made, protocol))
        for optional in _OPTIONAL.get(kind, ()):
            if isinstance(made, optional):
                problems += _problems(made, optional)
        if not problems and kind in _SINGLE:
            problems += _problems(made, _SINGLE[kind], needed=False)
    if problems:
        raise PluginError(
            f"{kind} {component.record.name!r} ({component.provider} {component.version}) cannot start: "
            f"{'; '.join(problems)}; see the protocol {protocol.__module__}.{protocol.__name__}"
        )
    return made


def _problems(made: Any, protocol: type, *, needed: bool = True) -> Iterator[str]:
    """The members that the object lacks, if they are `needed`, and those that the core cannot use."""
    if made is None or isinstance(made, type):
        yield f"its factory returned {'nothing' if made is None else f'the class {made.__name__}'}, not an object"
        return
    name = type(made).__name__
    members = {member: asked for member, asked in vars(protocol).items() if not member.startswith("_")}
    lacks = [member for member in members if not hasattr(made, member)]
    if lacks and needed:
        yield f"{name} has no {', '.join(lacks)}"
    for member, asked in members.items():
        if member in lacks:
            continue
        found = getattr(made, member)
        if isinstance(asked, property):
            if isinstance(found, bool) or not isinstance(found, int | float):
                yield f"{name}.{member} must be a number, not {'a method' if callable(found) else repr(found)}"
        elif not callable(found):
            yield f"{name}.{member} must be a method, not {found!r}"
        elif inspect.iscoroutinefunction(found):
            yield f"{name}.{member} must not be `async`: it is not awaited"
        elif (problem := _call_problem(found, asked)) is not None:
            yield f"{name}.{member} cannot be called as {problem}"


def _call_problem(method: Any, asked: Any) -> str | None:
    """Why the method does not accept the arguments of the core; None if it does, or if its signature is unknown."""
    parameters = list(inspect.signature(asked).parameters.values())[1:]
    named = [one.name for one in parameters if one.kind is one.KEYWORD_ONLY]
    positional = [one.name for one in parameters if one.kind is not one.KEYWORD_ONLY]
    try:
        signature = inspect.signature(method)
    except (TypeError, ValueError):
        return None  # written in C
    try:
        signature.bind(*positional, **dict.fromkeys(named))
    except TypeError as error:
        return f"{method.__name__}({', '.join([*positional, *(f'{one}=...' for one in named)])}): {error}"
    return None


@contextmanager
def of_plugin(kind: str, component: ResolvedComponent | Registered, what: str) -> Iterator[None]:
    """Report an exception in the block as an error of the plugin; scalecore's own errors pass unchanged."""
    try:
        yield
    except ScalecoreError:
        raise
    except (Exception, SystemExit) as error:
        raise PluginError(
            f"{kind} {component.record.name!r} ({component.provider} {component.version}) {what}: "
            f"{type(error).__name__}: {error}"
        ) from error
