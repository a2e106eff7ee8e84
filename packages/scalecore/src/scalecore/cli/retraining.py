"""Shared by the commands that train after the search: `confirm`, `evaluate`."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import wraps
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

import click

from scalecore.cli.common import plugin_options, warn_removed

if TYPE_CHECKING:
    from scalecore.api.analysis import TrainingContext
    from scalecore.api.trials import StudyEnd
    from scalecore.study.open_study import OpenStudy


def retraining_options(function: Callable[..., None]) -> Callable[..., None]:
    """Add the options of a command that retrains trials, and pass them as `how: TrainingContext`."""

    @wraps(function)
    def command(
        *,
        no_plugins: bool,
        block: tuple[str, ...],
        allow_changed_code: bool,
        quiet: bool,
        verbose: bool,
        **rest: Any,
    ) -> None:
        from scalecore.api.analysis import TrainingContext

        how = TrainingContext(
            registry={"no_plugins": no_plugins, "block": list(block)},
            verbosity=-1 if quiet else 1 if verbose else 0,
            allow_changed_code=allow_changed_code,
        )
        function(how=how, **rest)

    verbose = click.option("-v", "--verbose", is_flag=True, help="Print every epoch.")
    quiet = click.option("-q", "--quiet", is_flag=True, help="Print the result, warnings and errors only.")
    text = "Train although the code has changed since the study."
    code = click.option("--allow-changed-code", is_flag=True, help=text)
    return plugin_options(code(quiet(verbose(command))))


@contextmanager
def opened_study(study: Path, how: TrainingContext) -> Iterator[OpenStudy]:
    """Open the study of a command-line argument; end the process if the user stops an evaluation."""
    from scalecore.api.trials import StudyEnd
    from scalecore.store.layout import find_study
    from scalecore.study.measure import EvaluationStopped
    from scalecore.study.open_study import open_study

    folder = find_study(study)
    warn_removed([folder])
    try:
        with open_study(folder, how) as found:
            yield found
    except EvaluationStopped:
        end_early(StudyEnd.STOPPED)


def end_early(end: StudyEnd) -> NoReturn:
    """Print how a run ended before it was complete, and exit with the code of that end."""
    click.echo(f"{end}; run the same command again to resume")
    sys.exit(end.exit_code)
