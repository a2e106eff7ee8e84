"""A real study with every tracker at once, and one logger that raises."""

from __future__ import annotations

import csv
from collections.abc import Callable
from pathlib import Path

import pytest
from mlflow import MlflowClient
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from scalecore.study.layout import StudyFolder
from scalecore.study.results import read_study
from scalecore.testing.fixtures import CliResult

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")


def test_several_loggers_show_the_same_and_one_that_raises_costs_nothing(
    experiment: Callable[..., Path], run_cli: Callable[..., CliResult], database: Path, tmp_path: Path
) -> None:
    """Each has every trial once with its value and epochs, also after the study went on with more trials."""
    (tmp_path / "broken.csv").mkdir()
    (tmp_path / "mlflow.db").write_bytes(database.read_bytes())
    loggers = [
        {"use": "csv", "path": "broken.csv"},
        {"use": "csv", "path": "results.csv"},
        *("tensorboard", "mlflow", "wandb"),
    ]
    path = experiment(loggers=loggers)
    for total in (2, 3):
        done = run_cli("run", path, f"search.trials={total}")
        assert done.exit_code == 0, done.stderr
    study = read_study(StudyFolder(tmp_path / "study"))
    assert all("logger 'csv' raised IsADirectoryError" in text for text in study.degraded)
    assert len(study.degraded) == 2
    values = {record.number: record.value for record in study.trials}
    assert sorted(values) == [0, 1, 2]

    with (tmp_path / "results.csv").open() as stream:
        assert {int(row["trial"]): float(row["value"]) for row in csv.DictReader(stream)} == values

    for number, value in values.items():
        found = EventAccumulator(str(study.folder / "tensorboard" / f"trial_{number:04d}"))
        found.Reload()
        assert [event.step for event in found.Scalars("val_loss")] == [1, 2]
        assert [event.value for event in found.Scalars("value")] == [pytest.approx(value)]

    client = MlflowClient(f"sqlite:///{tmp_path / 'mlflow.db'}")
    place = client.get_experiment_by_name("walk")
    assert place is not None
    (parent,) = client.search_runs([place.experiment_id], "tags.`mlflow.parentRunId` IS NULL")
    runs = client.search_runs([place.experiment_id], f"tags.`mlflow.parentRunId` = '{parent.info.run_id}'")
    assert {int(run.data.tags["scalecore.trial"]): run.data.metrics["value"] for run in runs} == values
    assert parent.info.status == "FINISHED"
    assert study.best is not None
    assert parent.data.tags["scalecore.best"] == str(study.best.number)

    wandb = sorted(study.folder.glob("wandb/offline-run-*"))
    assert sorted(folder.name.rpartition("-")[2] for folder in wandb) == ["0", "1", "2"]
    assert all((folder / "scalecore.json").exists() for folder in wandb)
