"""The help of every command has valid examples."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator

import click
import pytest

from scalecore.cli.main import main


def commands(
    group: click.Group, path: tuple[str, ...] = ("scalecore",)
) -> Iterator[tuple[tuple[str, ...], click.Command]]:
    """Every command below a group, with its words on the command line."""
    context = click.Context(group, info_name=path[-1], **main.context_settings)
    for name in group.list_commands(context):
        command = group.get_command(context, name)
        assert command is not None
        yield (*path, name), command
        if isinstance(command, click.Group):
            yield from commands(command, (*path, name))


COMMANDS = [(("scalecore",), main), *commands(main)]


@pytest.mark.parametrize(("path", "command"), COMMANDS, ids=[" ".join(path) for path, _ in COMMANDS])
def test_help_has_examples_that_can_be_typed(path: tuple[str, ...], command: click.Command) -> None:
    """Each example parses and calls this command."""
    shown = command.get_help(click.Context(command, info_name=" ".join(path), **main.context_settings))
    match = re.search(r"^  Examples:\n((?:    scalecore .*\n)+)", f"{shown}\n", re.MULTILINE)
    assert match is not None, shown
    for line in match[1].splitlines():
        words = shlex.split(line)
        assert tuple(words[: len(path)]) == path
        parse(words[1:])


def parse(words: list[str]) -> None:
    """Let click parse a command line without running it."""
    context, current = click.Context(main, info_name="scalecore", **main.context_settings), main
    while isinstance(current, click.Group):
        found = current.get_command(context, words[0]) if words else None
        assert found is not None, words
        context, current, words = click.Context(found, info_name=words[0], parent=context), found, words[1:]
    current.make_context(str(current.name), words, parent=context.parent)


def test_the_parser_of_this_test_refuses_invalid_commands() -> None:
    """An unknown option and a missing argument are refused."""
    for words in (["run", "experiment.yaml", "--no-such"], ["run"], ["nothing"]):
        with pytest.raises((click.UsageError, AssertionError)):
            parse(words)
