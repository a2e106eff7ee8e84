"""`scalecore init`: a commented experiment file for chosen components."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from scalecore.api.errors import ExperimentError, PluginError
from scalecore.cli.common import NewPath, plugin_options
from scalecore.cli.completing import component_names

if TYPE_CHECKING:
    from scalecore.config.template import Components
    from scalecore.plugins.registry import Registry

__all__ = ["init"]

SCHEMA = "scalecore.schema.json"
"""The JSON Schema beside the experiment file, which its first line names."""

_Function = TypeVar("_Function", bound=Callable[..., Any])

_HEAD = (
    "yaml-language-server: $schema={schema}",
    "Written by `scalecore init`. Next: scalecore check {file}; scalecore plan {file}; scalecore run {file}",
    "A line such as `#seed: 0` shows an option with its default: remove the `#` there to give it another value.",
)


def _component(kind: str, *names: str, several: bool = False) -> Callable[[_Function], _Function]:
    text = f"The {kind} to use{'; may be repeated' if several else ''}."
    return click.option(*names, kind, metavar="NAME", multiple=several, help=text, shell_complete=component_names(kind))


@click.command()
@click.argument("file", metavar="[FILE]", default="experiment.yaml", type=NewPath(dir_okay=False))
@click.argument("overrides", metavar="[KEY=VALUE]...", nargs=-1)
@_component("dataset", "--dataset")
@click.option("--data", type=click.Path(path_type=Path), help="The dataset's file; its columns become features.")
@_component("model", "--model")
@_component("search", "--strategy", "--search")
@_component("executor", "--executor")
@_component("monitor", "--monitor", several=True)
@_component("logger", "--logger", several=True)
@_component("analysis", "--analysis", several=True)
@click.option("--force", is_flag=True, help="Overwrite FILE where it exists.")
@plugin_options
def init(
    file: Path,
    overrides: tuple[str, ...],
    *,
    data: Path | None,
    force: bool,
    no_plugins: bool,
    block: tuple[str, ...],
    **components: Any,
) -> None:
    """Write an experiment FILE (experiment.yaml) for components of your choice, every option with help and default.

    Options that keep their default are comments. For what is not chosen, installed components are taken; on a terminal
    where nothing is chosen at all, questions are asked. KEY=VALUE sets single keys. Without --data the file names a
    table of made-up prices, which is written beside it, so that it runs as it is. The JSON Schema for editors is
    written there too.

    \b
    Exit codes: 0 written, 2 bad command line or FILE exists, 3 plugin.

    \b
    Examples:
      scalecore init
      scalecore init experiment.yaml --data prices.csv --model linear --strategy random
      scalecore init big.yaml --model patchtst --monitor memory --monitor thermal search.budget=20M
    """
    from scalecore.cli.starting import choose, suggested
    from scalecore.plugins.registry import load_registry

    if "=" in file.name and not file.exists():
        raise click.UsageError(f"name the file before {file}: scalecore init experiment.yaml {file}")
    if file.exists() and not force:
        raise ExperimentError(f"{file} exists already; give another name, or --force to overwrite it")
    if not file.parent.is_dir():
        raise ExperimentError(f"{file.parent}: there is no such folder")
    registry = load_registry(no_plugins=no_plugins, block=block)
    wanted = {kind: ([names] if isinstance(names, str) else list(names)) for kind, names in components.items() if names}
    if not wanted and not overrides and data is None and sys.stdin.isatty() and sys.stdout.isatty():
        for kind in ("dataset", "model", "search", "monitor", "logger"):
            wanted[kind] = _ask(registry, kind, suggested(registry, kind))
        answer = click.prompt("file with the data, nothing for made-up prices", default="", show_default=False)
        data = Path(answer).expanduser() if answer else None
    try:
        _write(file, choose(registry, wanted), registry=registry, data=data, overrides=overrides)
    except OSError as error:
        raise ExperimentError(f"{file.parent.absolute()}: cannot be written: {error.strerror}") from None


def _ask(registry: Registry, kind: str, default: Sequence[str]) -> list[str]:
    """Names of components of a kind: one, or several with commas between."""
    names = registry.names(kind)
    if kind not in ("monitor", "logger"):
        return [click.prompt(kind, type=click.Choice(names), default=default[0] if default else None)]

    def several(text: str) -> list[str]:
        chosen = [name for name in re.split(r"[\s,]+", text) if name and name != "none"]
        if unknown := [name for name in chosen if name not in names]:
            raise click.BadParameter(f"there is no {kind} {unknown[0]!r}; installed: {', '.join(names)}")
        return chosen

    if not names:
        return []
    text = f"{kind}s, of {', '.join(names)}, or none"
    found: list[str] = click.prompt(text, default=",".join(default) or "none", value_proc=several)
    return found


def _write(
    file: Path, components: Components, *, registry: Registry, data: Path | None, overrides: Sequence[str]
) -> None:
    from scalecore.api.files import write_text
    from scalecore.cli.starting import (
        EXAMPLE_DATA,
        lost_keys,
        refuse_exchanged,
        starting_values,
        table_values,
        write_example_data,
    )
    from scalecore.config.load import draft_of, resolved_draft
    from scalecore.config.messages import ComponentsError, ExperimentFileError, Position, raise_problems
    from scalecore.config.overrides import apply_overrides
    from scalecore.config.schema import experiment_schema
    from scalecore.config.source import Tree, parse
    from scalecore.config.template import experiment_text, file_option, required_options

    named = data if data is None or data.is_absolute() else _relative(data, file.parent)
    name = re.sub(r"[^A-Za-z0-9_.-]+", "-", file.stem).lstrip("-.")[:100] or "experiment"
    values = starting_values(components, name=name, data=str(named or EXAMPLE_DATA))
    example = file.parent / EXAMPLE_DATA
    makes_example = data is None and file_option(components.dataset) is not None and not example.exists()
    if makes_example:
        write_example_data(example)
    try:
        if components.dataset.name == "parquet":
            values["dataset"] |= table_values(data or example)
        tree = Tree(root=values, values={(): Position(source="<command line>")})
        apply_overrides(tree, overrides)
        if tree.problems:
            raise_problems(tree.problems)
        refuse_exchanged(components, tree.root)
        head = [line.format(schema=SCHEMA, file=file.name) for line in _HEAD]
        text = experiment_text(components, tree.root, head=head)
        written = parse(text, source=str(file))
        if lost := lost_keys(tree.root, written.root):
            # What the file has no line for is wrong in most cases, and then named in better words.
            resolved_draft(draft_of(tree, source=str(file), folder=file.absolute().parent), registry)
            raise ExperimentError(f"{lost[0]} cannot be set here; write it into the file")
        resolved_draft(draft_of(written, source=str(file), folder=file.absolute().parent), registry)
    except (ExperimentFileError, ComponentsError) as error:
        _forget(example, made=makes_example)
        lines = "\n".join(f"  {one.text}" for one in error.problems)
        if isinstance(error, ComponentsError):
            raise PluginError(f"nothing is written: something is missing that was asked for\n{lines}") from None
        raise ExperimentError(
            "nothing is written: some options have no value that would do without you, or a wrong one; give them as "
            f"KEY=VALUE\n{lines}"
        ) from None
    except ExperimentError:
        _forget(example, made=makes_example)
        raise
    write_text(file, text)
    schema = file.parent / SCHEMA
    write_text(schema, json.dumps(experiment_schema(registry), indent=2, ensure_ascii=False) + "\n")
    click.echo(f"{file}: written; every option stands in it with its meaning")
    click.echo(f"{schema}: the JSON Schema that its first line names, for editors")
    if values["dataset"].get("path", values["dataset"].get("file")) == EXAMPLE_DATA:
        click.echo(f"{example}: made-up prices, a random walk; put your own data in its place")
    for key, component in (("dataset", components.dataset), ("model", components.model), ("search", components.search)):
        if names := [one.name for one in required_options(component)]:
            click.echo(f"look at what {key} {component.name} requires: {', '.join(names)}")
    click.echo(f"next: scalecore check {file}; scalecore plan {file}; scalecore run {file}")


def _relative(data: Path, folder: Path) -> Path:
    """`data`, given relative to the working directory, as seen from the folder of the experiment file."""
    try:
        return data.absolute().relative_to(folder.absolute())
    except ValueError:
        return data.absolute()


def _forget(example: Path, *, made: bool) -> None:
    if made:
        example.unlink()
