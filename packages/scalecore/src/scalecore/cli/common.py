"""Options that several subcommands share."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click

from scalecore.cli.completing import distributions, studies

__all__ = ["NewPath", "experiment_arguments", "only_option", "plugin_options", "study_argument"]


class NewPath(click.Path):
    """A file or folder that a command makes, as a `Path`. Refused where it names a variable that no shell replaced."""

    def __init__(self, **options: Any) -> None:
        super().__init__(path_type=Path, **options)

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        from scalecore.config.bounds import variable_in

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
        shell_complete=distributions,
    )
    alone = click.option("--no-plugins", is_flag=True, help="Use what scalecore itself provides, no plugins.")
    return alone(block(function))


def experiment_arguments(function: _Function) -> _Function:
    """Add the arguments FILE and [KEY=VALUE]..., given as `file: str` and `overrides: tuple[str, ...]`."""
    overrides = click.argument("overrides", metavar="[KEY=VALUE]...", nargs=-1)
    file = click.argument("file", metavar="FILE", type=click.Path())
    return file(overrides(function))


def study_argument(function: _Function) -> _Function:
    """Add the argument STUDY, a study's folder or its experiment file, given as `study: Path`."""
    return click.argument("study", type=click.Path(path_type=Path), shell_complete=studies)(function)


def only_option(function: _Function) -> _Function:
    """Add `--only LABEL`, given as `only: tuple[str, ...]`."""
    text = "Of a campaign, the studies with this label or this part of it, such as budget-2M; may be repeated."
    return click.option("--only", metavar="LABEL", multiple=True, help=text)(function)
