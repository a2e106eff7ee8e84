"""From a resolved component to its run-time object; what a factory raises is told with the plugin it came from."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from scalecore.config.load import ResolvedComponent
from scalecore.errors import PluginError, ScalecoreError

__all__ = ["create", "of_plugin"]


def create(kind: str, component: ResolvedComponent, *context: Any) -> Any:
    """Call the factory."""
    with of_plugin(kind, component, "cannot start"):
        return component.record.factory(component.options, *context)


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
