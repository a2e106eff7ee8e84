"""Standard streams that are closed, or close while a command runs: a study needs nobody who reads or writes them."""

from __future__ import annotations

import os
import sys
from contextlib import suppress

import click


def open_closed_streams() -> None:
    """Point standard streams that are closed (`<&- >&- 2>&-`, some service managers) at the null device.

    Else the next files that are opened take their numbers, and what is printed goes into these.
    """
    for descriptor, name, mode in ((0, "stdin", "r"), (1, "stdout", "w"), (2, "stderr", "w")):
        try:
            os.fstat(descriptor)
        except OSError:
            opened = os.open(os.devnull, os.O_RDWR)  # the lowest number that is free
            if opened != descriptor:
                os.dup2(opened, descriptor)
                os.close(opened)
            os.set_inheritable(descriptor, True)
        if getattr(sys, name) is None:
            setattr(sys, name, os.fdopen(descriptor, mode, encoding="utf-8", closefd=False))


def tell(text: str, *, err: bool = False) -> None:
    """Print a line about a study that runs, or how a command ends: where nobody can read it that changes nothing."""
    with suppress(OSError):
        click.echo(text, err=err)


def drop_broken_streams() -> None:
    """Give up what nobody can read any more (a terminal that is gone): the exit code says how the command ended.

    The interpreter would try once more to write it, and exit with 120.
    """
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except (OSError, ValueError):
            with suppress(OSError, ValueError):
                os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())
