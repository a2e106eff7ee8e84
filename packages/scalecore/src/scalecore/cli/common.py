"""Options that several subcommands share."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from functools import wraps
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar, cast

import click

from scalecore.cli.streams import print_line

if TYPE_CHECKING:
    from scalecore.campaign.load import Campaign
    from scalecore.config.load import LoadedExperiment
    from scalecore.config.resolved import Resolved
    from scalecore.plugins.registry import Registered, Registry
    from scalecore.store.layout import StudyFolder


class NewPath(click.Path):
    """A file or folder that a command creates, as a `Path`. A path with an unexpanded variable is refused."""

    def __init__(self, **options: Any) -> None:
        super().__init__(path_type=Path, **options)

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        from scalecore.config.constraints import variable_in

        name, path = variable_in(str(value)), Path(value)
        # A folder may really have this name.
        if name is not None and not any(name in one.name and one.exists() for one in (path, *path.parents)):
            self.fail(f"{str(value)!r}: the variable {name} was not expanded; write its value", param, ctx)
        return super().convert(value, param, ctx)


_Function = TypeVar("_Function", bound=Callable[..., Any])


def plugin_options(function: _Function) -> _Function:
    """Add `--no-plugins` and `--block`, passed to the command as `no_plugins: bool` and `block: tuple[str, ...]`."""
    block = click.option(
        "--block",
        metavar="DIST",
        multiple=True,
        help="Ignore the plugins of a distribution; may be repeated.",
    )
    alone = click.option("--no-plugins", is_flag=True, help="Use only components of scalecore and scalecore-torch.")
    return alone(block(function))


def experiment_arguments(function: _Function) -> _Function:
    """Add the arguments FILE and [KEY=VALUE]..., passed as `file: str` and `overrides: tuple[str, ...]`, and `-p`."""
    function = plugin_file_option(function)
    overrides = click.argument("overrides", metavar="[KEY=VALUE]...", nargs=-1)
    file = click.argument("file", metavar="FILE", type=click.Path())
    return file(overrides(function))


def plugin_file_option(function: _Function) -> _Function:
    """Add `-p PY`, passed as further `overrides` that extend `plugins` of the experiment file."""

    @wraps(function)
    def command(*, plugin_files: tuple[Path, ...], overrides: tuple[str, ...], **rest: Any) -> Any:
        added = [f"plugins.+={json.dumps(str(path.absolute()), ensure_ascii=False)}" for path in plugin_files]
        return function(overrides=(*added, *overrides), **rest)

    text = "Also load components from this Python file, like `plugins` in FILE; may be repeated."
    option = click.option("-p", "plugin_files", metavar="PY", multiple=True, type=click.Path(path_type=Path), help=text)
    return cast("_Function", option(command))


def study_argument(function: _Function) -> _Function:
    """Add the argument STUDY, a study's folder or its experiment file, passed as `study: Path`."""
    return click.argument("study", type=click.Path(path_type=Path))(function)


def only_option(function: _Function) -> _Function:
    """Add `--only LABEL`, passed as `only: tuple[str, ...]`."""
    text = "Select studies of a campaign by label or part of a label, such as budget-2M; may be repeated."
    return click.option("--only", metavar="LABEL", multiple=True, help=text)(function)


def echo_description(description: str | None) -> None:
    """Print the description of a study or campaign; the user's text keeps what looks like a guard id."""
    from scalecore.api.formatting import paragraph

    if description:
        click.echo("\n".join(paragraph("description", description)))


def named_component(registry: Registry, kind: str, name: str) -> Registered:
    """The component that a command line names. Raises `ExperimentError` if it was removed, `PluginError` if missing."""
    from scalecore.api.errors import ExperimentError, PluginError
    from scalecore.config.removed import removed

    try:
        return registry.get(kind, name)
    except PluginError:
        if (text := removed(kind, name)) is None:
            raise
    raise ExperimentError(text)


def warn_left_out(found: Campaign | tuple[LoadedExperiment, Resolved]) -> None:
    """Warn on stderr, once each, about removed components that a resumed study no longer uses."""
    ones = [found[1]] if isinstance(found, tuple) else [study.resolved for study in found.studies]
    for text in dict.fromkeys(text for one in ones for text in one.left_out):
        print_line(f"warning: {text}", err=True)


def warn_removed(folders: Iterable[StudyFolder]) -> None:
    """Warn on stderr, once each, about components of stored studies that have been removed since."""
    from contextlib import suppress
    from functools import cache

    import attrs
    import yaml

    from scalecore.config.removed import REMOVED, removed_from
    from scalecore.plugins.registry import load_registry

    def installed(kind: str, name: str) -> bool:
        use, _, option = name.partition(".")
        records = [one.record for one in registry().components(kind) if one.use == use]
        return any(not option or option in attrs.fields_dict(record.options) for record in records)

    names = {name.partition(".")[0] for kind, name in REMOVED if kind != "command"}
    registry = cache(load_registry)
    texts: dict[str, None] = {}
    for folder in folders:
        with suppress(OSError, ValueError, yaml.YAMLError):  # the command itself reports the damage
            source = folder.source.read_text(encoding="utf-8")
            if any(name in source for name in names):
                content = yaml.load(source, getattr(yaml, "CSafeLoader", yaml.SafeLoader))
                texts |= dict.fromkeys(removed_from(content, installed))
    for text in texts:
        print_line(f"warning: {text}", err=True)
