"""Logger `parquet`: tables of trials and of epochs, whole at any time, each trial in them once."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pyarrow.parquet as pq

from scalecore.api.protocols import LoggerContext
from scalecore.api.trials import StudyView
from scalecore.builtin.options import ParquetLoggerOptions
from scalecore.builtin.results_parquet import ParquetLogger, differences

from .conftest import shape, trial

Make = Callable[..., StudyView]


def logged(view: StudyView, folder: Path) -> tuple[pd.DataFrame, pd.DataFrame]:
    """What the logger leaves when it is told of the trials one after the other."""
    logger = ParquetLogger(ParquetLoggerOptions(path=folder), LoggerContext(folder=folder))
    logger.study_started(view)
    for record in view.trials:
        logger.trial_finished(record, view)
    logger.close()
    return pd.read_parquet(folder / "trials.parquet"), pd.read_parquet(folder / "epochs.parquet")


def test_trials_and_epochs_are_rows(study: Make, tmp_path: Path) -> None:
    """With the types that they are of, and null for what is missing; read with pandas."""
    curve = [{"epoch": epoch, "val_loss": 0.9 - epoch / 10, "auc": None} for epoch in (1, 2)]
    view = study(
        [
            trial(0, 0.7, learning_curve=curve),
            trial(1, state="failed", reason="exit code -11", started=None, hyperparameters={"learning_rate": 1}),
        ],
        id="abc",
    )
    trials, epochs = logged(view, tmp_path)
    assert list(trials["trial"]) == [0, 1]
    assert list(trials["state"]) == ["completed", "failed"]
    assert trials["value"][0] == 0.7
    assert trials["value"].isna()[1]
    assert list(trials["architecture.width"]) == [16, 8]
    assert list(trials["hyperparameters.learning_rate"]) == [0.001, 1.0]
    assert (trials["best.accuracy"][0], trials["best_epoch"][0]) == (0.75, 3)
    assert trials["started"][0] == dt.datetime(2026, 1, 1, tzinfo=dt.UTC)
    assert list(trials["reason"])[1] == "exit code -11"
    assert list(epochs["trial"]) == [0, 0]
    assert list(epochs["epoch"]) == [1, 2]
    assert list(epochs["val_loss"]) == [0.8, 0.7]
    assert epochs["auc"].dtype == "float64"
    assert set(epochs["study"]) == {"abc"}


def test_a_resumed_study_has_each_trial_once(study: Make, tmp_path: Path) -> None:
    """Whatever the files held: also where a trial has metrics that earlier ones had not, or a kill left nothing."""
    logged(study([trial(0, 0.7)]), tmp_path)
    (tmp_path / "epochs.parquet").unlink()
    other = trial(1, 0.6, learning_curve=[{"epoch": 1, "val_loss": 0.6, "crps": 0.1}], architecture=shape(8, 3))
    trials, epochs = logged(study([trial(0, 0.7), other]), tmp_path)
    assert list(trials["trial"]) == [0, 1]
    assert list(epochs["trial"]) == [0, 1]
    assert list(epochs["crps"].isna()) == [True, False]


def test_a_study_without_a_trial_has_tables_without_rows(study: Make, tmp_path: Path) -> None:
    """Their columns have their types already."""
    trials, epochs = logged(study([]), tmp_path)
    assert (len(trials), len(epochs)) == (0, 0)
    assert str(pq.read_schema(tmp_path / "trials.parquet").field("value").type) == "double"
    assert {"study", "trial", "epoch"} <= set(epochs.columns)


def test_a_hyper_parameter_of_several_types_is_text(study: Make, tmp_path: Path) -> None:
    """A choice may be among `none`, a number and a switch."""
    mixed = [trial(n, 0.7, hyperparameters={"a": a, "b": n % 2 == 0}) for n, a in enumerate(("none", 0.5, 3))]
    trials, _ = logged(study(mixed), tmp_path)
    assert list(trials["hyperparameters.a"]) == ["none", "0.5", "3"]
    assert trials["hyperparameters.b"].dtype == bool


def test_what_differs_from_the_study_is_found(study: Make, tmp_path: Path) -> None:
    """A table that lacks a trial, is torn, or is gone."""
    view = study([trial(0, 0.7), trial(1, 0.6)])
    logged(view, tmp_path)
    assert list(differences(tmp_path, view)) == []
    logged(study([trial(0, 0.7)]), tmp_path)
    (tmp_path / "epochs.parquet").unlink()
    assert list(differences(tmp_path, view)) == [
        "trials.parquet differs from what the journal gives",
        "epochs.parquet is missing",
    ]
    (tmp_path / "trials.parquet").write_bytes(b"PAR1")
    assert next(differences(tmp_path, view)).startswith("trials.parquet cannot be read: ")
