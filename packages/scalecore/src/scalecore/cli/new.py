"""`scalecore new plugin`: a package that works, to start a plugin from."""

from __future__ import annotations

from pathlib import Path

import click

from scalecore.cli.common import NewPath

__all__ = ["new"]

KINDS = ("model", "strategy", "dataset", "logger", "monitor", "executor", "analysis")


@click.group(short_help="Write a plugin package to start from.")
def new() -> None:
    """Write a package to start from.

    \b
    Examples:
      scalecore new plugin my-model --kind model
    """


@new.command(short_help="Write a plugin package to start from.")
@click.argument("name")
@click.option("--kind", type=click.Choice(KINDS), required=True, help="What the plugin provides.")
@click.option(
    "--into",
    type=NewPath(),
    default=Path(),
    help="The folder in which the package's folder is made; here by default.",
)
def plugin(*, name: str, kind: str, into: Path) -> None:
    """Write a plugin package into the folder NAME: a small component that works, its options, its tests on the test
    kit, and an experiment of seconds that uses it. Change it step by step into your own; its tests tell what broke.

    NAME becomes the name of the package and of the component in experiment files. The command prints what to type next.

    \b
    Examples:
      scalecore new plugin my-model --kind model
      scalecore new plugin my-sampler --kind strategy --into plugins
    """
    from scalecore.plugins.registry import load_registry
    from scalecore.scaffold.names import names_for
    from scalecore.scaffold.package import package_files, write_package

    names = names_for(name, kind=kind, registry=load_registry())
    folder = into / name
    files = package_files(names, kind=kind)
    write_package(folder, files)
    width = max(len(path) for path in files)
    click.echo(f"{folder}: a package with the {kind} {name!r}")
    for path, text in sorted(files.items()):
        click.echo(f"  {path:<{width}}  {len(text.splitlines()):>4} lines")
    click.echo("next:")
    for step in (f"cd {folder}", 'pip install --editable ".[test]"', "pytest", "scalecore run experiment.yaml"):
        click.echo(f"  {step}")
