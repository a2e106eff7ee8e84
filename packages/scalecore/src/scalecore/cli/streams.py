"""Standard streams that are closed before or during a command: a study does not depend on them."""

from __future__ import annotations

import os
import sys
from contextlib import suppress

import click

from scalecore.api.escaping import without_guards


def open_closed_streams() -> None:
    """Redirect closed standard streams (`<&- >&- 2>&-`, some service managers) to the null device.

    Otherwise the next files opened would get their numbers, and output would be printed into those files.
    """
    for descriptor, name, mode in ((0, "stdin", "r"), (1, "stdout", "w"), (2, "stderr", "w")):
        try:
            os.fstat(descriptor)
        except OSError:
            opened = os.open(os.devnull, os.O_RDWR)  # the lowest free number
            if opened != descriptor:
                os.dup2(opened, descriptor)
                os.close(opened)
            os.set_inheritable(descriptor, True)
        if getattr(sys, name) is None:
            setattr(sys, name, os.fdopen(descriptor, mode, encoding="utf-8", closefd=False))


def print_line(text: str, *, err: bool = False) -> None:
    """Print a line about a running study or the end of a command; an output that is gone is ignored."""
    with suppress(OSError):
        click.echo(without_guards(text), err=err)


def drop_broken_streams() -> None:
    """Drop the output to a stream that is gone, such as a closed terminal; the exit code reports the result.

    Otherwise the interpreter would try to write it once more, and exit with 120.
    """
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except (OSError, ValueError):
            with suppress(OSError, ValueError):
                os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())
