"""Options that several subcommands share."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from functools import wraps
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar, cast

import click

from scalecore.cli.streams import tell

if TYPE_CHECKING:
    from scalecore.campaign.load import Campaign
    from scalecore.config.load import LoadedExperiment
    from scalecore.config.resolved import Resolved
    from scalecore.plugins.registry import Registered, Registry
    from scalecore.store.layout import StudyFolder


class NewPath(click.Path):
    """A file or folder that a command makes, as a `Path`. Refused where it names a variable that no shell replaced."""

    def __init__(self, **options: Any) -> None:
        super().__init__(path_type=Path, **options)

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        from scalecore.config.constraints import variable_in

        name, path = variable_in(str(value)), Path(value)
        # A folder that is really called so may be meant.
        if name is not None and not any(name in one.name and one.exists() for one in (path, *path.parents)):
            self.fail(f"{str(value)!r}: the variable {name} was not replaced; write out what it stands for", param, ctx)
        return super().convert(value, param, ctx)


_Function = TypeVar("_Function", bound=Callable[..., Any])


def plugin_options(function: _Function) -> _Function:
    """Add `--no-plugins` and `--block`, given to the command as `no_plugins: bool` and `block: tuple[str, ...]`."""
    block = click.option(
        "--block",
        metavar="DIST",
        multiple=True,
        help="Leave out the plugins of a distribution; may be repeated.",
    )
    alone = click.option("--no-plugins", is_flag=True, help="Use what scalecore itself provides, no plugins.")
    return alone(block(function))


def experiment_arguments(function: _Function) -> _Function:
    """Add the arguments FILE and [KEY=VALUE]..., given as `file: str` and `overrides: tuple[str, ...]`, and `-p`."""
    function = plugin_file_option(function)
    overrides = click.argument("overrides", metavar="[KEY=VALUE]...", nargs=-1)
    file = click.argument("file", metavar="FILE", type=click.Path())
    return file(overrides(function))


def plugin_file_option(function: _Function) -> _Function:
    """Add `-p FILE`, given as further `overrides` that add to `plugins` of the experiment file."""

    @wraps(function)
    def command(*, plugin_files: tuple[Path, ...], overrides: tuple[str, ...], **rest: Any) -> Any:
        added = [f"plugins.+={json.dumps(str(path.absolute()), ensure_ascii=False)}" for path in plugin_files]
        return function(overrides=(*added, *overrides), **rest)

    text = "A Python file with components of your own, as under `plugins` in the file; may be repeated."
    option = click.option("-p", "plugin_files", metavar="PY", multiple=True, type=click.Path(path_type=Path), help=text)
    return cast("_Function", option(command))


def study_argument(function: _Function) -> _Function:
    """Add the argument STUDY, a study's folder or its experiment file, given as `study: Path`."""
    return click.argument("study", type=click.Path(path_type=Path))(function)


def only_option(function: _Function) -> _Function:
    """Add `--only LABEL`, given as `only: tuple[str, ...]`."""
    text = "Of a campaign, the studies with this label or this part of it, such as budget-2M; may be repeated."
    return click.option("--only", metavar="LABEL", multiple=True, help=text)(function)


def named_component(registry: Registry, kind: str, name: str) -> Registered:
    """The component that a command line names; an `ExperimentError` where it was removed, else a `PluginError`."""
    from scalecore.api.errors import ExperimentError, PluginError
    from scalecore.config.removed import removed

    try:
        return registry.get(kind, name)
    except PluginError:
        if (text := removed(kind, name)) is None:
            raise
    raise ExperimentError(text)


def warn_left_out(found: Campaign | tuple[LoadedExperiment, Resolved]) -> None:
    """Name on stderr, once each, what a study that has begun is continued without, since it was removed."""
    ones = [found[1]] if isinstance(found, tuple) else [study.resolved for study in found.studies]
    for text in dict.fromkeys(text for one in ones for text in one.left_out):
        tell(f"warning: {text}", err=True)


def warn_removed(folders: Iterable[StudyFolder]) -> None:
    """Name on stderr, once each, what kept studies use that was removed since they were run."""
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
        with suppress(OSError, ValueError, yaml.YAMLError):  # the command itself says what is damaged
            source = folder.source.read_text(encoding="utf-8")
            if any(name in source for name in names):
                content = yaml.load(source, getattr(yaml, "CSafeLoader", yaml.SafeLoader))
                texts |= dict.fromkeys(removed_from(content, installed))
    for text in texts:
        tell(f"warning: {text}", err=True)
