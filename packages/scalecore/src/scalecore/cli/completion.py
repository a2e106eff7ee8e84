"""`scalecore completion`: the script with which a shell completes command lines."""

from __future__ import annotations

import click
from click.shell_completion import get_completion_class

__all__ = ["completion"]


@click.command()
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
@click.pass_context
def completion(context: click.Context, shell: str) -> None:
    """Print the script that makes SHELL complete commands, options, names of components, studies and files.

    For bash (4.4 or later) and zsh, put the line `eval "$(scalecore completion bash)"`, or the same with zsh, into
    ~/.bashrc or ~/.zshrc. For fish, write the script to ~/.config/fish/completions/scalecore.fish.

    \b
    Examples:
      scalecore completion bash
      scalecore completion fish
    """
    found = get_completion_class(shell)
    assert found is not None  # click has all three
    click.echo(found(context.find_root().command, {}, "scalecore", "_SCALECORE_COMPLETE").source())
