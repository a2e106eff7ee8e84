"""The `scalecore` command: a table of subcommands, each imported only when it runs.

`scalecore --help` imports only click and this module. Expected errors (`scalecore.api.errors`) are printed without a
traceback and set their own exit code; unexpected errors keep their traceback.
"""

from __future__ import annotations

import difflib
import errno
import gc
import importlib
import sys
from collections.abc import Collection, Mapping, Sequence
from contextlib import nullcontext, suppress
from types import MappingProxyType
from typing import Any

import click
from click.shell_completion import CompletionItem

from scalecore import __version__
from scalecore.api.errors import ExitCode, ExperimentError, PluginError, ScalecoreError
from scalecore.cli.encodings import escape_unprintable, restart_in_utf8
from scalecore.cli.plugin_commands import PROVIDERS, load_command, plugin_commands, summaries
from scalecore.cli.signals import StopRequested, raising_stop_requests
from scalecore.cli.streams import drop_broken_streams, open_closed_streams, print_line

INTERRUPTED = 130
"""The exit code after Ctrl-C outside a study, as in shells: 128 plus the number of SIGINT."""

UNUSABLE = (errno.EACCES, errno.EPERM, errno.ELOOP, errno.EISDIR, errno.ENOTDIR)
"""Errors of a path that the user cannot use: no permission, a loop of links, a folder in place of a file or the
reverse. They are no bug of a command."""

COMMANDS: Mapping[str, tuple[str, str, str]] = MappingProxyType(
    {
        "init": ("scalecore.cli.init", "init", "Write a commented experiment file for a data table."),
        "check": ("scalecore.cli.check", "check", "Check an experiment file and its components."),
        "plan": ("scalecore.cli.study", "plan", "Show what a run would do, without training."),
        "run": ("scalecore.cli.study", "run", "Run a study, or resume it."),
        "status": ("scalecore.cli.study", "status", "Show the progress of a study."),
        "stop": ("scalecore.cli.study", "stop", "Stop a running study, with a checkpoint."),
        "analyze": ("scalecore.cli.analyze", "analyze", "Analyse one or more studies, finished or running."),
        "export": ("scalecore.cli.export", "export", "Export a study to MLflow, TensorBoard, W&B or another target."),
        "doctor": ("scalecore.cli.doctor", "doctor", "Diagnose this machine: blockers and sensor readings."),
        "verify": (
            "scalecore.cli.verify",
            "verify",
            "Check a study's integrity: no lost, duplicate or orphaned records.",
        ),
        "plugins": ("scalecore.cli.plugins", "plugins", "List plugins, or print the schema of the experiment file."),
        "new": ("scalecore.cli.new", "new", "Create a working plugin to start from, and its test."),
    }
)
"""Each subcommand: its module, the name of its command there, and one line of help."""

SECTIONS: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        "Studies": ("init", "check", "plan", "run", "status", "stop"),
        "Results": ("report", "analyze", "confirm", "evaluate", "predict", "import", "export"),
        "Setup": ("doctor", "verify", "plugins", "new"),
    }
)
"""The sections of `--help`; all other commands are listed under `Plugins`."""


class _LazyGroup(click.Group):
    """A group that finds its subcommands in a table and in plugin metadata, and imports only the one that is called."""

    def main(self, args: Sequence[str] | None = None, *rest: Any, **more: Any) -> Any:
        open_closed_streams()
        if args is None:  # a command line, not a call
            restart_in_utf8()
        escape_unprintable()
        try:
            return super().main(args, *rest, **more)
        except OSError as error:  # also while `--help` is printed
            from scalecore.api.files import is_disk_error

            if not is_disk_error(error) and (error.filename is None or error.errno not in UNUSABLE):
                raise
            # Of `os.replace`, `filename2` is the file to be replaced.
            print_line(f"{error.filename2 or error.filename or 'output'}: {error.strerror}", err=True)
            sys.exit(int(ExitCode.FAILED))
        finally:
            drop_broken_streams()
            if args is None:
                gc.freeze()  # the process ends: skip the last garbage collection

    def list_commands(self, ctx: click.Context) -> list[str]:
        return _ordered({*COMMANDS, *plugin_commands()})

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in COMMANDS:
            with suppress(PluginError) if ctx.resilient_parsing else nullcontext():  # shell completion
                return load_command(cmd_name)
            return None
        module, attribute, _ = COMMANDS[cmd_name]
        command = getattr(importlib.import_module(module), attribute)
        assert isinstance(command, click.Command)
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        name = args[0]
        # Shell completion after an unknown command must not fail.
        if name in COMMANDS or name in PROVIDERS or name.startswith("-") or ctx.resilient_parsing:
            return super().resolve_command(ctx, args)
        known = self.list_commands(ctx)
        if name not in known:
            _refuse_removed(name, args[1:])
            near = difflib.get_close_matches(name, known, n=1)
            hint = f"did you mean {near[0]!r}?" if near else f"the commands are {', '.join(known)}"
            ctx.fail(f"there is no command {name!r}; {hint}")
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        found = command_summaries()
        others = tuple(name for name in found if not any(name in names for names in SECTIONS.values()))
        for title, names in {**SECTIONS, "Plugins": others}.items():
            if names:
                with formatter.section(title):
                    formatter.write_dl([(name, found[name]) for name in names], col_max=10)

    def shell_complete(self, ctx: click.Context, incomplete: str) -> list[CompletionItem]:
        # From the table: click would import every command to read its help.
        lines, names = command_summaries(), self.list_commands(ctx)
        found = [(name, lines[name]) for name in names if name.startswith(incomplete)]
        options = click.Command.shell_complete(self, ctx, incomplete)
        return [*(CompletionItem(name, help=summary) for name, summary in found), *options]

    def invoke(self, ctx: click.Context) -> Any:
        try:
            with raising_stop_requests():
                try:
                    return super().invoke(ctx)
                except click.NoSuchOption as error:
                    _refuse_removed(f"{ctx.invoked_subcommand} {error.option_name}")
                    raise
        except ScalecoreError as error:
            text, code = str(error), int(error.exit_code)
        except StopRequested as request:
            text, code = f"stopped by {request}", int(ExitCode.STOPPED)
        except KeyboardInterrupt:
            text, code = "interrupted", INTERRUPTED
            if ctx.invoked_subcommand == "run":  # before its study begins or after it ended: the same as a stop
                text, code = "stopped by SIGINT", int(ExitCode.STOPPED)
        print_line(text, err=True)
        return ctx.exit(code)


def command_summaries() -> dict[str, str]:
    """Each command with its line of help; no plugin is imported."""
    found = summaries() | {name: summary for name, (_, _, summary) in COMMANDS.items()}
    return {name: found[name] for name in _ordered(found)}


def _ordered(names: Collection[str]) -> list[str]:
    """In the order of the sections of `--help`, other commands last."""
    known = [name for section in SECTIONS.values() for name in section]
    return [*(name for name in known if name in names), *sorted(set(names).difference(known))]


def _refuse_removed(name: str, arguments: Sequence[str] = ()) -> None:
    """Raise an error that names the replacement of a command, or an option, of an earlier version."""
    from scalecore.config.removed import removed, renamed

    text = renamed(name, arguments) or removed("command", name)
    if text is not None:
        raise ExperimentError(text)


@click.group(cls=_LazyGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, message="scalecore %(version)s")
def main() -> None:
    """Architecture search under a parameter budget, on the hardware that you have.

    Exit codes: 0 completed, 1 unexpected error (a bug), 2 bad file or command line, 3 plugin missing or broken, 4 data
    error, 5 refused by a guard or lock, 6 failed, 7 stopped, 8 timed out, 9 verify found a problem.

    \b
    Examples:
      scalecore init experiment.yaml
      scalecore check experiment.yaml
      scalecore plan experiment.yaml
      scalecore run experiment.yaml
      scalecore status experiment.yaml
    """
