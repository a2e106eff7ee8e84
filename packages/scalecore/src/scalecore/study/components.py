"""From a resolved component to its run-time object; what a factory raises is told with the plugin it came from."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from types import MappingProxyType
from typing import Any

from scalecore import protocols
from scalecore.config.load import ResolvedComponent
from scalecore.errors import PluginError, ScalecoreError

__all__ = ["create", "of_plugin"]

_PROTOCOLS: Mapping[str, type] = MappingProxyType(
    {
        "dataset": protocols.Dataset,
        "model": protocols.ModelFamily,
        "search strategy": protocols.SearchStrategy,
        "monitor": protocols.HardwareMonitor,
        "executor": protocols.Executor,
    }
)
"""What an object of each kind must have; a logger inherits what it lacks."""


def create(kind: str, component: ResolvedComponent, *context: Any) -> Any:
    """Call the factory, and look whether its object has all that is asked of one of its kind."""
    protocol = _PROTOCOLS.get(kind, object)
    with of_plugin(kind, component, "cannot start"):
        made = component.record.factory(component.options, *context)
        lacks = [name for name in vars(protocol) if not name.startswith("_") and not hasattr(made, name)]
    if lacks:
        raise PluginError(
            f"{kind} {component.record.name!r} ({component.provider} {component.version}) cannot start: "
            f"{type(made).__name__} has no {', '.join(lacks)}; scalecore.protocols.{protocol.__name__} says what is "
            "asked of it"
        )
    return made


@contextmanager
def of_plugin(kind: str, component: ResolvedComponent, what: str) -> Iterator[None]:
    """What is raised inside is the plugin's, which is named; an error that scalecore knows passes as it is."""
    try:
        yield
    except ScalecoreError:
        raise
    except Exception as error:
        raise PluginError(
            f"{kind} {component.record.name!r} ({component.provider} {component.version}) {what}: "
            f"{type(error).__name__}: {error}"
        ) from error
