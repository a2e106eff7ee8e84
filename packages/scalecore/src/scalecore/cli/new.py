"""`scalecore new`: create a working plugin in one file, as a starting point."""

from __future__ import annotations

import shlex
from pathlib import Path

import click

from scalecore.cli.common import NewPath

KINDS = ("model", "strategy", "dataset", "logger", "monitor", "executor", "analysis", "trainer")


@click.command(short_help="Create a working plugin to start from, and its test.")
@click.argument("kind", type=click.Choice(KINDS), metavar="KIND")
@click.argument("name", required=False)
@click.option("--into", type=NewPath(), default=Path(), help="The folder to write to; by default the current one.")
@click.option("--package", is_flag=True, help="Create an installable package in the folder NAME.")
def new(*, kind: str, name: str | None, into: Path, package: bool) -> None:
    """Create a working plugin in one Python file, and its test.

    KIND is model, strategy, dataset, logger, monitor, executor, analysis or trainer. NAME, by default my-KIND, becomes
    the name of the component in experiment files. A trainer is a function, for the trainer `function`. Edit the file
    step by step: its comments explain each part, and the test fails if something breaks. The command prints the lines
    that an experiment file needs to use the plugin.

    \b
    Examples:
      scalecore new model my-mlp
      scalecore new strategy --into plugins
      scalecore new trainer my-loop
      scalecore new logger my-mail --package
    """
    from scalecore.config.source import dump
    from scalecore.plugins.registry import load_registry
    from scalecore.scaffold.names import names_for
    from scalecore.scaffold.plugin_files import USES, package_files, plugin_files, write_files

    if package and kind == "trainer":
        raise click.UsageError(
            "--package: a training function needs no plugin package; put it in any module, and name it in the "
            "experiment file (target: my_module:train)"
        )
    names = names_for(name or f"my-{kind}", kind=kind, registry=load_registry())
    folder = into / names.name if package else into
    found = package_files(names, kind=kind) if package else plugin_files(names, kind=kind)
    write_files(folder, found)
    for path, text in found.items():
        click.echo(f"{folder / path}: written, {len(text.splitlines())} lines")
    use = [USES[kind].replace(f"my-{kind}", names.name)]
    if package:
        click.echo(
            f'install and test it:\n  cd {shlex.quote(str(folder))}\n  pip install --editable ".[test]"\n  pytest'
        )
    else:
        plugin, test = (folder / path for path in found)
        named = plugin.as_posix() if plugin.is_absolute() else f"./{plugin.as_posix()}"
        if kind == "trainer":
            use = [USES[kind].replace("./my_trainer.py", named)]
        else:
            use.insert(0, f"plugins: {dump([named], default_flow_style=True, width=float('inf')).strip()}")
        click.echo(f"test it:\n  pytest {shlex.quote(str(test))}")
    click.echo("\n  ".join(["use it in an experiment file:", *use]))
