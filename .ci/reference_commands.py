"""Print docs/reference/commands.md: every command as click describes it, with recorded output.

`record_docs.py --pages` calls it with the folder of the output, `NAME.txt` or `NAME-ANYTHING.txt` of each command.
"""

from __future__ import annotations

import inspect
import sys
from collections.abc import Iterator
from pathlib import Path

import click

from scalecore.cli.main import command_summaries, main

_INTRODUCTION = """\
# Commands

<!-- Made by `python .ci/record_docs.py --pages` from the commands themselves, and from what they printed when
`.ci/record_docs.py` ran them on examples/quickstart.yaml. Change those, not this file. -->

`scalecore COMMAND --help` prints the same. Output is from one run on two CPU cores; `...` marks omitted lines.
[Exit codes](../operating.md#exit-codes) mean the same for all commands.
"""
_SHARED = ("--no-plugins", "--block", "--help")
"""Options that most commands have: described once."""


def render_commands(output: Path) -> str:
    """The whole page: every command with its options, exit codes, examples, and output from a folder."""
    lines = [_INTRODUCTION, "| command | what it does |", "|---|---|"]
    with click.Context(main, info_name="scalecore", **main.context_settings) as context:
        names = main.list_commands(context)
        summaries = command_summaries()
        lines += [f"| [`{name}`](#{name}) | {summaries[name]} |" for name in names]
        lines += ["", *_shared_options(_found(context, "check"), context)]
        for name in names:
            lines += ["", *_command(_found(context, name), f"scalecore {name}", context, level=2)]
            for path in sorted([*output.glob(f"{name}.txt"), *output.glob(f"{name}-*.txt")]):
                lines += ["", "```console", path.read_text(encoding="utf-8").rstrip(), "```"]
    return "\n".join(lines).rstrip() + "\n"


def option_names() -> dict[str, list[str]]:
    """Every option of each command, by its long name where it has one; subcommands as `data ingest`."""

    def names(command: click.Command, path: str, above: click.Context) -> Iterator[tuple[str, list[str]]]:
        with click.Context(command, info_name=path, parent=above) as context:
            yield path, [one.opts[-1] for one in command.get_params(context) if isinstance(one, click.Option)]
            if isinstance(command, click.Group):
                for name in command.list_commands(context):
                    yield from names(_found(context, name), f"{path} {name}", context)

    with click.Context(main, info_name="scalecore", **main.context_settings) as context:
        return {
            path: found
            for name in main.list_commands(context)
            for path, found in names(_found(context, name), name, context)
        }


def _found(context: click.Context, name: str) -> click.Command:
    assert isinstance(context.command, click.Group)
    command = context.command.get_command(context, name)
    assert command is not None
    return command


def _command(command: click.Command, path: str, above: click.Context, *, level: int) -> Iterator[str]:
    with click.Context(command, info_name=path.rpartition(" ")[2], parent=above) as context:
        usage = " ".join([path, *command.collect_usage_pieces(context)])
        yield f"{'#' * level} `{path.partition(' ')[2]}`"
        yield from ("", "```console", f"$ {usage}", "```")
        for paragraph in inspect.cleandoc(command.help or "").split("\n\n"):
            yield ""
            yield from _paragraph(paragraph)
        options = [one for one in command.get_params(context) if isinstance(one, click.Option)]
        own = [one for one in options if one.opts[-1] not in _SHARED]
        if own:
            yield from ("", *_option_table(own, context))
        if isinstance(command, click.Group):
            for name in command.list_commands(context):
                yield ""
                yield from _command(_found(context, name), f"{path} {name}", context, level=level + 1)


def _shared_options(command: click.Command, above: click.Context) -> Iterator[str]:
    """The rows of the shared options, as `command` has them."""
    yield "Most commands also have:"
    yield ""
    with click.Context(command, info_name="", parent=above) as context:
        found = {one.opts[-1]: one for one in command.get_params(context) if isinstance(one, click.Option)}
        yield from _option_table([found[name] for name in _SHARED], context)


def _option_table(options: list[click.Option], context: click.Context) -> Iterator[str]:
    yield from ("| option | meaning |", "|---|---|")
    for option in options:
        if (record := option.get_help_record(context)) is not None:
            yield f"| {_code(record[0])} | {_escaped(record[1])} |"


def _paragraph(text: str) -> Iterator[str]:
    """A paragraph of a docstring; what click is told to leave as it is becomes code, or a list."""
    kept = text.startswith("\b")
    lines = text.removeprefix("\b").strip("\n").split("\n")
    head, _, rest = lines[0].partition(":")
    if kept and head in ("Example", "Examples"):
        examples = [line.strip().removeprefix("$ ") for line in [rest, *lines[1:]]]
        yield from ("```console", *(f"$ {line}" for line in examples if line), "```")
    elif kept and head == "Exit codes":
        yield f"**Exit codes:** {' '.join(line.strip() for line in [rest, *lines[1:]]).strip()}"
    elif kept:
        yield from ("```text", *lines, "```")
    else:
        yield from map(_escaped, lines)


def _code(names: str) -> str:
    return ", ".join(f"`{name}`" for name in names.replace("|", "\\|").split(", "))


def _escaped(text: str) -> str:
    return text.replace("|", "\\|").replace("<", "&lt;")


if __name__ == "__main__":
    print(render_commands(Path(sys.argv[1])), end="")
