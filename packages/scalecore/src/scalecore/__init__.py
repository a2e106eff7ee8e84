"""scalecore: architecture search under a parameter budget."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from scalecore.api.hookspecs import hookimpl as hookimpl

__all__ = ["__version__", "hookimpl"]

__version__ = "0.2.0"


def __getattr__(name: str) -> Any:
    # Imported lazily, so that `scalecore --help` does not import pluggy.
    if name == "hookimpl":
        from scalecore.api.hookspecs import hookimpl

        return hookimpl
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
