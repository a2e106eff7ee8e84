"""Real studies with all trackers, and their exports."""

from __future__ import annotations

import csv
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from mlflow import MlflowClient
from mlflow.entities import Run
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from scalecore.api.trials import StudyView
from scalecore.store.layout import StudyFolder
from scalecore.testing.fixtures import CliResult
from scalecore.views.read_study import read_study

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")

KEPT = Path(__file__).parents[1] / "old" / "v0_1" / "studies"
TRACKERS = ("tensorboard", "mlflow", "wandb")

Cli = Callable[..., CliResult]


def check(study: StudyView, database: Path) -> Run:
    """Each tracker has every trial once with its value and epochs; return the study's run in MLflow."""
    values = {record.number: record.value for record in study.trials}
    curves = {record.number: [line["epoch"] for line in record.learning_curve] for record in study.trials}
    for number, value in values.items():
        found = EventAccumulator(str(study.folder / "tensorboard" / f"trial_{number:04d}"))
        found.Reload()
        shown = {tag: found.Scalars(tag) for tag in found.Tags()["scalars"]}
        assert [event.step for event in shown.get("val_loss", [])] == curves[number]
        assert [event.value for event in shown.get("value", [])] == ([] if value is None else [pytest.approx(value)])

    client = MlflowClient(f"sqlite:///{database}")
    place = client.get_experiment_by_name(study.name)
    assert place is not None
    (parent,) = client.search_runs([place.experiment_id], "tags.`mlflow.parentRunId` IS NULL")
    runs = client.search_runs([place.experiment_id], f"tags.`mlflow.parentRunId` = '{parent.info.run_id}'")
    by_number = {int(run.data.tags["scalecore.trial"]): run for run in runs}
    assert len(by_number) == len(runs)
    assert {number: run.data.metrics.get("value") for number, run in by_number.items()} == values
    for number, run in by_number.items():
        history = client.get_metric_history(run.info.run_id, "val_loss")
        assert [metric.step for metric in history] == curves[number]
    assert study.best is not None
    assert parent.data.tags["scalecore.best"] == str(study.best.number)

    wandb = sorted(study.folder.glob("wandb/offline-run-*"))
    assert sorted(int(folder.name.rpartition("-")[2]) for folder in wandb) == sorted(values)
    assert all((folder / "scalecore.json").exists() for folder in wandb)
    return parent


def test_several_loggers_show_the_same_and_one_that_raises_costs_nothing(
    experiment: Callable[..., Path], run_cli: Cli, database: Path, tmp_path: Path
) -> None:
    """Each has every trial once, also after the study was continued and after an export."""
    (tmp_path / "broken.csv").mkdir()
    (tmp_path / "mlflow.db").write_bytes(database.read_bytes())
    loggers = [{"use": "csv", "path": "broken.csv"}, {"use": "csv", "path": "results.csv"}, *TRACKERS]
    path = experiment(loggers=loggers)
    for total in (2, 3):
        done = run_cli("run", path, f"search.trials={total}")
        assert done.exit_code == 0, done.stderr
    study = read_study(StudyFolder(tmp_path / "study"))
    assert all("logger 'csv' raised IsADirectoryError" in text for text in study.degraded)
    assert len(study.degraded) == 2
    with (tmp_path / "results.csv").open() as stream:
        rows = {int(row["trial"]): float(row["value"]) for row in csv.DictReader(stream)}
    assert rows == {record.number: record.value for record in study.trials}
    assert sorted(rows) == [0, 1, 2]
    parent = check(study, tmp_path / "mlflow.db")
    assert parent.info.status == "FINISHED"
    for name in TRACKERS:
        assert run_cli("export", name, path).exit_code == 0
    assert check(study, tmp_path / "mlflow.db").info.run_id == parent.info.run_id


def test_a_study_of_0_1_is_exported_however_often(run_cli: Cli, database: Path, tmp_path: Path) -> None:
    """With completed, pruned, failed and interrupted trials; only its folder is read."""
    (tmp_path / "mlflow.db").write_bytes(database.read_bytes())
    folder = Path(shutil.copytree(KEPT / "classification", tmp_path / "classification"))
    journal = (folder / "journal.jsonl").read_bytes()
    for _ in range(2):
        for name in TRACKERS:
            done = run_cli("export", name, folder)
            assert (done.exit_code, done.stderr) == (0, "")
            assert done.stdout.startswith(f"classification: 8 finished trials exported to {name}")
        assert check(read_study(StudyFolder(folder)), tmp_path / "mlflow.db").info.status == "KILLED"
    assert (folder / "journal.jsonl").read_bytes() == journal


@pytest.mark.parametrize("name", ["mlflow", "wandb"])
def test_an_unreachable_server_changes_no_study(
    name: str, experiment: Callable[..., Path], run_cli: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The run completes with one warning; the command in it fails while the server is unreachable."""
    import wandb

    monkeypatch.setenv("WANDB_BASE_URL", "http://127.0.0.1:9")
    monkeypatch.setenv("WANDB_API_KEY", "0" * 40)
    monkeypatch.setattr("scalecore_trackers.wandb_logger.SECONDS", 1)
    wandb.teardown()  # it reads the environment once in a process
    logger = {"use": "mlflow", "uri": "http://127.0.0.1:9"} if name == "mlflow" else {"use": "wandb", "mode": "online"}
    done = run_cli("run", experiment(loggers=["console", logger]), "search.trials=2")
    assert done.exit_code == 0, done.stderr
    said = done.stdout + done.stderr
    command = f"`scalecore export {name} {tmp_path / 'study'}` writes the missing data"
    assert said.count("; the study continues without it, and ") == said.replace("\n", " ").count(command) == 1
    study = read_study(StudyFolder(tmp_path / "study"))
    assert (study.state, len(study.trials), study.degraded) == ("completed", 2, ())
    done = run_cli("export", name, tmp_path / "study")
    assert (done.exit_code, done.stderr.count("\n")) == (6, 1)
    assert done.stderr.startswith("http://127.0.0.1:9: the server cannot be reached\n" if name == "mlflow" else "W&B: ")
