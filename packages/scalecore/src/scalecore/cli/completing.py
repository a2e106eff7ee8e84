"""What shells complete beside commands, options and files: names of components, distributions, and studies.

Called by click while a command line is typed, in the shell's working directory. Cheap, and never an error: who is
typing wants no traceback.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path

import click
from click.shell_completion import CompletionItem

__all__ = ["Completer", "component_names", "distributions", "studies"]

Completer = Callable[[click.Context, click.Parameter, str], list[CompletionItem]]


def component_names(kind: str, *, having: str | None = None) -> Completer:
    """The names of the installed components of a kind, each with its summary; `having` names what their record has."""

    def complete(context: click.Context, parameter: click.Parameter, incomplete: str) -> list[CompletionItem]:
        from scalecore.api.errors import ScalecoreError
        from scalecore.plugins.registry import load_registry

        try:
            found = load_registry().components(kind)
        except ScalecoreError:
            return []
        found = tuple(one for one in found if having is None or getattr(one.record, having))
        return _beginning(((one.use, one.record.summary) for one in found), incomplete)

    return complete


def distributions(context: click.Context, parameter: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """The installed distributions with plugins; none of these is imported."""
    from scalecore.plugins.discovery import discover

    found = {plugin.distribution: f"version {plugin.version}" for plugin in discover()}
    return _beginning(sorted(found.items()), incomplete)


def studies(context: click.Context, parameter: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """The folders of studies below `studies/`; where none begins with what was typed, files and folders."""
    patterns = ("*/journal.jsonl", "*/*/journal.jsonl")
    found = {path.parent.as_posix(): None for pattern in patterns for path in Path("studies").glob(pattern)}
    near = _beginning(sorted(found.items()), incomplete)
    return near or [CompletionItem(incomplete, type="file")]


def _beginning(found: Iterable[tuple[str, str | None]], incomplete: str) -> list[CompletionItem]:
    return [CompletionItem(name, help=text) for name, text in found if name.startswith(incomplete)]
