"""The commands `scalecore evaluate` and `predict`, which follow a search."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from scalecore.api.commands import (
    NewPath,
    end_early,
    opened_study,
    plugin_options,
    retraining_options,
    study_argument,
)

if TYPE_CHECKING:
    from scalecore.api.analysis import TrainingContext
    from scalecore_promotion.threshold import Criterion


@click.command()
@study_argument
@click.option("--trial", type=int, metavar="N", help="The trial to retrain. Default: the best trial.")
@click.option("--seed", type=click.IntRange(min=0, max=2**63 - 1), help="Training seed. Default: the trial's seed.")
@click.option("--epochs", type=int, help="Maximum number of epochs. Default: as in the trial.")
@click.option(
    "--split", metavar="KEY=VALUE", multiple=True, help="Change a key of the split: test_from=2022-01-03; repeatable."
)
@click.option(
    "--threshold",
    type=click.Choice(["mcc", "f1", "balanced_accuracy"]),
    default="mcc",
    show_default=True,
    help="Binary targets: choose the decision threshold with the largest value of this on validation windows.",
)
@retraining_options
def evaluate(
    study: Path,
    trial: int | None,
    seed: int | None,
    epochs: int | None,
    split: tuple[str, ...],
    threshold: Criterion,
    how: TrainingContext,
) -> None:
    """Retrain a trial, store its model, and evaluate it on the test set.

    STUDY is the study's folder or its experiment file. The configuration is the trial's, apart from the options given
    here. The training runs like a trial: in its own process and watched by the study's monitors. After an interruption
    the same command resumes it. The model, its card and its test predictions are written to `promoted/` in the study's
    folder. Each opening of the test data is recorded in the journal before the data is read.

    \b
    Exit codes: 0 completed, 2 bad command line, 3 plugin, 4 data, 5 refused, 6 failed, 7 stopped, 8 time limit.

    \b
    Examples:
      scalecore evaluate studies/spy-2m-h1
      scalecore evaluate studies/spy-2m-h1 --trial 17 --seed 3
      scalecore evaluate studies/spy-2m-h1 --split val_from=2020-01-02 --split test_from=2022-01-03
    """
    from scalecore_promotion.card import summary_lines
    from scalecore_promotion.evaluate import EvaluationRequest
    from scalecore_promotion.evaluate import evaluate as run

    with opened_study(study, how) as found:
        done = run(found, EvaluationRequest(trial=trial, seed=seed, epochs=epochs, split=split, threshold=threshold))
    if done.evaluation is None:
        end_early(done.end)
    else:
        click.echo("\n".join(summary_lines(done.evaluation)))
        click.echo(f"model: {done.folder}")


@click.command()
@click.argument("model", type=click.Path(path_type=Path))
@click.argument("data", type=click.Path(path_type=Path), required=False)
@click.option("--time", metavar="COLUMN", help="The time column of DATA, if its name is not a usual one.")
@click.option(
    "--dataset",
    metavar="KEY=VALUE",
    multiple=True,
    help="Instead of DATA: read the dataset of the training with this option changed; repeatable.",
)
@click.option("--last", type=click.IntRange(min=1), metavar="N", help="Only the newest N windows.")
@click.option("--output", type=NewPath(), help="A .parquet or .csv file. Default: print CSV.")
@click.option("--device", type=click.Choice(["auto", "cpu", "cuda", "mps"]), default="auto", show_default=True)
@plugin_options
def predict(
    model: Path,
    data: Path | None,
    time: str | None,
    dataset: tuple[str, ...],
    last: int | None,
    output: Path | None,
    device: str,
    no_plugins: bool,
    block: tuple[str, ...],
) -> None:
    """Apply a retrained MODEL to new data and report the time and prediction of each window.

    MODEL is a folder written by `scalecore evaluate`. DATA is a parquet or CSV file with one column per feature of the
    model. A window ends at the row of its time and includes no later row. The newest rows, whose targets are still
    unknown, are predicted as well.

    \b
    Exit codes: 0 completed, 2 bad command line or no model, 3 plugin, 4 data, 5 refused.

    \b
    Examples:
      scalecore predict studies/spy-2m-h1/promoted/trial_0017 features.parquet --output predictions.parquet
      scalecore predict studies/spy-2m-h1/promoted/trial_0017 --dataset file=spy-new.parquet --last 5
    """
    from scalecore.api.data import stamp
    from scalecore_promotion.model import read_model
    from scalecore_promotion.predict import csv_text, rows_of_dataset, rows_of_file, write_table
    from scalecore_promotion.predict import predict as run

    if (data is None) == (not dataset):
        raise click.UsageError("give either DATA or --dataset KEY=VALUE")
    if dataset and time is not None:
        raise click.UsageError("--time applies to DATA only; write --dataset time=COLUMN")
    if output is not None and output.suffix not in (".parquet", ".csv"):
        raise click.UsageError(f"--output {output}: the suffix must be .parquet or .csv")
    registry = {"no_plugins": no_plugins, "block": list(block)}
    stored = read_model(model)
    if data is not None:
        rows = rows_of_file(stored, data, time=time)
    else:
        rows = rows_of_dataset(stored, dataset, registry=registry)
    table = run(stored, rows, registry=registry, device=device)
    if last is not None:
        table = table.tail(last)
    if output is None:
        click.echo(csv_text(table), nl=False)
        return
    write_table(table, output)
    first, newest = (stamp(moment) for moment in table["time"].to_numpy()[[0, -1]])
    click.echo(f"{len(table):,} predictions, {first} to {newest}: {output}")
