"""`scalecore promote`, `predict` and `confirm`: what comes after a search."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from scalecore.cli.common import plugin_options
from scalecore.cli.study import exit_code
from scalecore.errors import ExitCode


@click.command()
@click.argument("study", type=click.Path(path_type=Path))
@click.option("--trial", type=int, metavar="N", help="The trial to promote; the best one by default.")
@click.option("--seed", type=click.IntRange(min=0), help="Another seed; that of the trial by default.")
@click.option("--epochs", type=int, help="Another number of epochs, at most; that of the trial by default.")
@click.option(
    "--split", metavar="KEY=VALUE", multiple=True, help="Another split, key by key: test_from=2022-01-03; repeatable."
)
@plugin_options
@click.option("--allow-changed-code", is_flag=True, help="Go on under other versions of the code than the study's.")
@click.option("-q", "--quiet", is_flag=True, help="Print the result, warnings and errors only.")
@click.option("-v", "--verbose", is_flag=True, help="Print every epoch.")
def promote(
    study: Path,
    trial: int | None,
    seed: int | None,
    epochs: int | None,
    split: tuple[str, ...],
    no_plugins: bool,
    block: tuple[str, ...],
    allow_changed_code: bool,
    quiet: bool,
    verbose: bool,
) -> None:
    """Make a model of a trial: train it again, whole, keep it, and measure it on the test data.

    STUDY is the study's folder or its experiment file. The training runs as a trial does: in its own process, watched
    by the study's monitors, and continued by the same command after any interruption. The model, its card and its test
    predictions are in `promoted/` of the study's folder. Each opening of the test data is counted in the journal before
    it is looked at.

    \b
    Exit codes: 0 completed, 2 bad command line, 3 plugin, 4 data, 5 refused, 6 failed, 7 stopped, 8 time limit.

    \b
    Examples: scalecore promote studies/spy-2m-h1
              scalecore promote studies/spy-2m-h1 --trial 17 --seed 3
              scalecore promote studies/spy-2m-h1 --epochs 200 --split val_from=2020-01-02 --split test_from=2022-01-03
    """
    from scalecore.promotion.card import summary_lines
    from scalecore.promotion.measure import Stopped
    from scalecore.promotion.opened import open_study
    from scalecore.promotion.promote import Wanted
    from scalecore.promotion.promote import promote as run
    from scalecore.study.layout import find_study

    opened = open_study(
        find_study(study),
        registry={"no_plugins": no_plugins, "block": list(block)},
        verbosity=-1 if quiet else 1 if verbose else 0,
        allow_changed_code=allow_changed_code,
    )
    try:
        with opened as found:
            done = run(found, Wanted(trial=trial, seed=seed, epochs=epochs, split=split))
    except Stopped:
        click.echo("stopped; the same command continues it")
        sys.exit(ExitCode.STOPPED)
    if done.evaluation is None:
        click.echo(f"{done.end}; the same command continues it")
        sys.exit(exit_code(done.end))
    click.echo("\n".join(summary_lines(done.evaluation)))
    click.echo(f"model: {done.folder}")
