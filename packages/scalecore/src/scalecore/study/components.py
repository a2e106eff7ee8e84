"""From a resolved component to its run-time object; what a factory raises is told with the plugin it came from."""

from __future__ import annotations

from typing import Any

from scalecore.config.load import ResolvedComponent
from scalecore.errors import PluginError, ScalecoreError

__all__ = ["create"]


def create(kind: str, component: ResolvedComponent, *context: Any) -> Any:
    """Call the factory. An error that scalecore knows passes as it is; any other is the plugin's, which is named."""
    try:
        return component.record.factory(component.options, *context)
    except ScalecoreError:
        raise
    except Exception as error:
        raise PluginError(
            f"{kind} {component.record.name!r} ({component.provider} {component.version}) cannot start: "
            f"{type(error).__name__}: {error}"
        ) from error
