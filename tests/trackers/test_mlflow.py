"""Logger `mlflow`, read back with MLflow's client, from a database file and from a server that is killed."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from attrs import evolve
from mlflow import MlflowClient
from mlflow.entities import Run

from scalecore.api.errors import RefusedError, StudyError
from scalecore.api.logger import LoggerContext
from scalecore.api.trials import Origin, RestoredTrial, StudyEnd, StudyView, TrialState
from scalecore.study.background_logger import BackgroundLogger
from scalecore.testing.fakes import make_study
from scalecore_trackers.mlflow_client import Client
from scalecore_trackers.mlflow_logger import MlflowLogger, location
from scalecore_trackers.options import MlflowOptions

from .conftest import FIRST_USE, FirstUse, Server, curve, follow, proposal, quiet, record, started, wait_for, whole

# MLflow's own database code is not up to the latest SQLAlchemy.
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")


def logger_of(study: StudyView, **options: Any) -> MlflowLogger:
    return MlflowLogger(MlflowOptions(**options), LoggerContext(folder=study.folder))


def runs(uri: str, experiment: str = "walk") -> tuple[Run, dict[int, Run]]:
    """The run of the only study, and those of its trials."""
    client = MlflowClient(uri)
    found = client.get_experiment_by_name(experiment)
    assert found is not None
    everything = client.search_runs([found.experiment_id])
    (parent,) = [run for run in everything if "mlflow.parentRunId" not in run.data.tags]
    children = [run for run in everything if run.data.tags.get("mlflow.parentRunId") == parent.info.run_id]
    assert len(children) == len(everything) - 1
    by_number = {int(run.data.tags["scalecore.trial"]): run for run in children}
    assert len(by_number) == len(children)
    return parent, by_number


def steps(uri: str, run: Run, metric: str = "val_loss") -> list[int]:
    return sorted(one.step for one in MlflowClient(uri).get_metric_history(run.info.run_id, metric))


@pytest.fixture
def uri(tmp_path: Path, database: Path) -> str:
    """A database beside the study's folder, the default place."""
    (tmp_path / "mlflow.db").write_bytes(database.read_bytes())
    return f"sqlite:///{tmp_path / 'mlflow.db'}"


@pytest.mark.parametrize("name", ["what?", "room %41"])
def test_a_folder_that_a_url_cannot_carry_is_refused(name: str, tmp_path: Path) -> None:
    """MLflow would create its database elsewhere; nothing is created."""
    folder = tmp_path / name / "study"
    with pytest.raises(RefusedError) as caught:
        location(MlflowOptions(), folder)
    assert str(caught.value) == (
        f"logger 'mlflow': {folder.parent / 'mlflow.db'} cannot be part of a URL, where a path ends at `?` and `%41` "
        "is `A`; set a `uri` with another path, or another `output`"
    )
    assert list(tmp_path.iterdir()) == []


def test_a_database_has_the_path_of_its_option(tmp_path: Path, database: Path) -> None:
    """Spaces, number signs, braces and letters of any language are part of the path, also for artifacts."""
    folder = tmp_path / "a #1 100% {x} \u00fc"
    folder.mkdir()
    (folder / "mlflow.db").write_bytes(database.read_bytes())
    study = make_study(folder / "study", [record(0, 0.7)])
    assert whole(logger_of(study), study) == []
    assert [path.name for path in tmp_path.iterdir()] == [folder.name]
    assert sorted(path.name for path in folder.iterdir()) == ["mlartifacts", "mlflow.db", "study"]
    _, trials = runs(location(MlflowOptions(), study.folder)[0])
    assert sorted(trials) == [0]


def test_g28_a_database_that_moved_writes_no_artifacts_where_it_was(uri: str, tmp_path: Path) -> None:
    """MLflow stores the former place in the database permanently; everything else is written."""
    old = (tmp_path / "gone" / "mlartifacts").as_uri()
    MlflowClient(uri).create_experiment("walk", artifact_location=old)
    study = make_study(tmp_path / "study", [record(0, 0.7)])
    text = (
        f"mlflow stores no artifacts: the experiment stores them in {old}, the project's former place; set another "
        "`experiment`, or `artifacts: false`"
    )
    assert whole(logger_of(study), study) == [("warning", text)]
    assert runs(uri)[1][0].info.status == "FINISHED"
    assert not (tmp_path / "gone").exists()


def test_a_study_is_a_run_with_one_run_a_trial(uri: str, tmp_path: Path) -> None:
    """Parameters, metrics by epoch, outcomes and artifacts; running a finished study again adds nothing."""
    study = make_study(tmp_path / "study")
    logger = logger_of(study)
    logger.study_started(study)
    first = record(0, 0.7, origin=Origin(kind="forced", label="width:min"), flags=[{"guard": "G09"}])
    failed = record(1, None, reason="exit code -11", ended=None)
    study = follow(logger, study, first, failed)
    study = evolve(study, trials=(*study.trials, record(2, 0.65, state=TrialState.PRUNED)), end=StudyEnd.COMPLETED)
    assert whole(logger_of(study), study) == []  # the last one was never logged
    client = MlflowClient(uri)
    parent, trials = runs(uri)
    assert (parent.info.run_name, parent.info.status) == ("walk", "FINISHED")
    assert parent.data.params["model"] == "linear"
    assert parent.data.params["epochs"] == "2"
    assert parent.data.metrics == {"best": 0.7}
    assert parent.data.tags["scalecore.state"] == "completed"
    assert [trials[n].info.status for n in range(3)] == ["FINISHED", "FAILED", "FINISHED"]
    assert trials[1].data.tags["scalecore.reason"] == "exit code -11"
    assert trials[2].data.tags["scalecore.state"] == "pruned"
    assert trials[0].info.run_name == "trial_0000"
    assert trials[0].data.params == {
        "width": "8", "depth": "1", "num_parameters": "824", "flops": "6400", "learning_rate": "0.001"
    }  # fmt: skip
    assert trials[0].data.tags["scalecore.label"] == "width:min"
    assert trials[0].data.metrics["value"] == 0.7
    assert trials[0].data.metrics["best/accuracy"] == 0.53
    assert trials[0].data.tags["scalecore.flags"] == "G09"
    assert (trials[2].info.end_time - trials[2].info.start_time) == 60_000
    history = client.get_metric_history(trials[0].info.run_id, "val_loss")
    assert [(one.step, one.value) for one in history] == [(1, 0.89), (2, 0.88), (3, 0.87)]
    stored = client.download_artifacts(trials[0].info.run_id, "trial.json", str(tmp_path))
    assert json.loads(Path(stored).read_text())["hash"] == first.hash
    stored = client.download_artifacts(parent.info.run_id, "experiment.yaml", str(tmp_path))
    assert "model:\n  use: linear\n" in Path(stored).read_text()
    assert (tmp_path / "mlartifacts").is_dir()

    assert whole(logger_of(study), study) == []
    again, same = runs(uri)
    assert again.info.run_id == parent.info.run_id
    assert {n: run.info.run_id for n, run in same.items()} == {n: run.info.run_id for n, run in trials.items()}
    assert steps(uri, again, "best") == [1, 2, 3]
    assert steps(uri, same[0]) == [1, 2, 3]


def test_a_resumed_study_has_each_trial_once(uri: str, tmp_path: Path) -> None:
    """An interrupted trial's run is replaced by its record; another study in the experiment does not change."""
    other = make_study(tmp_path / "other", [record(0, 0.9)])
    assert whole(logger_of(other, experiment="shared"), other) == []
    study, trial = make_study(tmp_path / "study"), record(0, 0.7, epochs=4)
    logger = logger_of(study, experiment="shared")
    view = started(logger, study, trial, curve(1))
    logger.epoch(0, curve(1, start=2)[0])
    parent, (run,) = of_study(uri, study)
    assert (parent.info.status, run.info.status, steps(uri, run)) == ("RUNNING", "RUNNING", [1])
    # Killed here: the second epoch was not sent yet, and an export of what is left says that nothing runs.
    waiting = RestoredTrial(number=0, proposal=proposal(trial), outcome=None)
    left = evolve(study, unfinished=(waiting,))
    assert whole(logger_of(left, experiment="shared"), left) == []
    again, (run,) = of_study(uri, study)
    assert (again.info.run_id, again.info.status, run.info.status) == (parent.info.run_id, "KILLED", "KILLED")

    logger = logger_of(study, experiment="shared")
    view = started(logger, study, trial, curve(2, start=3))
    again, (run,) = of_study(uri, study)
    assert (again.info.run_id, again.info.status, run.info.status) == (parent.info.run_id, "RUNNING", "RUNNING")
    study = evolve(view, trials=(trial,), end=StudyEnd.COMPLETED)
    logger.trial_finished(trial, study)
    logger.study_finished(study)
    again, (run,) = of_study(uri, study)
    assert (again.info.status, run.info.status, steps(uri, run)) == ("FINISHED", "FINISHED", [1, 2, 3, 4])
    history = MlflowClient(uri).get_metric_history(run.info.run_id, "val_loss")
    times = [one.timestamp - run.info.start_time for one in history]
    assert times == [1500, 3000, 4500, 6000]
    _, (run,) = of_study(uri, other)
    assert run.data.metrics["value"] == 0.9


def of_study(uri: str, study: StudyView) -> tuple[Run, list[Run]]:
    """The study's run and those of its trials, in the experiment `shared`."""
    client = MlflowClient(uri)
    found = client.get_experiment_by_name("shared")
    assert found is not None
    mine = client.search_runs([found.experiment_id], f"tags.`scalecore.study` = '{study.id}'")
    (parent,) = [run for run in mine if "mlflow.parentRunId" not in run.data.tags]
    return parent, [run for run in mine if run.data.tags.get("mlflow.parentRunId") == parent.info.run_id]


def test_an_epoch_that_was_trained_twice_is_shown_as_in_the_record(uri: str, tmp_path: Path) -> None:
    """MLflow cannot replace a metric, so the run is replaced."""
    study, trial = make_study(tmp_path / "study"), record(0, 0.7)
    logger = logger_of(study)
    first, second, third = trial.learning_curve
    view = started(logger, study, trial, [first, {**second, "val_loss": 0.99}, second, third])
    logger.trial_finished(trial, evolve(view, trials=(trial,)))
    logger.close()
    _, trials = runs(uri)
    history = MlflowClient(uri).get_metric_history(trials[0].info.run_id, "val_loss")
    assert [(one.step, one.value) for one in history] == [(1, 0.89), (2, 0.88), (3, 0.87)]


def test_a_study_that_runs_is_exported_while_it_is_logged(uri: str, tmp_path: Path) -> None:
    """The running trial does not change, and no run is duplicated."""
    study, trial = make_study(tmp_path / "study", [record(0, 0.7)], runs=True), record(1, 0.6)
    logger = logger_of(study)
    view = started(logger, study, trial, curve(1))
    assert whole(logger_of(study), study) == []
    parent, trials = runs(uri)
    assert [parent.info.status, *(trials[n].info.status for n in (0, 1))] == ["RUNNING", "FINISHED", "RUNNING"]
    logger.trial_finished(trial, evolve(view, trials=(*study.trials, trial)))
    logger.study_finished(evolve(view, trials=(*study.trials, trial), end=StudyEnd.COMPLETED))
    parent, trials = runs(uri)
    assert [steps(uri, trials[n]) for n in (0, 1)] == [[1, 2, 3]] * 2
    assert (parent.info.status, steps(uri, parent, "best")) == ("FINISHED", [1, 2])


def test_artifacts_that_cannot_be_stored_cost_a_warning(uri: str, tmp_path: Path) -> None:
    """Everything else is written, and the artifacts too once a place for them exists."""
    (tmp_path / "mlartifacts").write_text("a file")
    study = make_study(tmp_path / "study", [record(0, 0.7), record(1, 0.6)])
    ((level, text),) = whole(logger_of(study), study)
    assert level == "warning"
    assert text.startswith(f"mlflow stores no artifacts: {uri}: ")
    before, trials = runs(uri)
    assert [run.info.status for run in trials.values()] == ["FINISHED"] * 2
    (tmp_path / "mlartifacts").unlink()
    assert whole(logger_of(study), study) == []
    client = MlflowClient(uri)
    assert runs(uri)[0].info.run_id == before.info.run_id
    for run in trials.values():
        assert [one.path for one in client.list_artifacts(run.info.run_id)] == ["trial.json"]


def background(study: StudyView, uri: str, **settings: float) -> BackgroundLogger:
    """A logger as in a run."""
    kind = type("Background", (BackgroundLogger,), settings)
    made: BackgroundLogger = kind(
        lambda: logger_of(study, uri=uri), name="mlflow", context=LoggerContext(folder=study.folder), export=True
    )
    return made


def test_a_server_that_dies_costs_one_warning_and_export_writes_the_rest(server: Server, tmp_path: Path) -> None:
    """It is killed during a trial. Repeated exports create no duplicates."""
    study, trial = make_study(tmp_path / "study"), record(1, 0.6, epochs=5)
    server.start()
    logger = background(study, server.uri, pause=0.1)
    logger.study_started(study)
    study = follow(logger, study, record(0, 0.7))
    logger.trial_started(1, proposal(trial), evolve(study, running=(1,)))
    logger.epoch(1, curve(1)[0])
    wait_for(lambda: not logger._events)
    server.kill()
    for line in curve(4, start=2):
        logger.epoch(1, line)
    study = evolve(study, trials=(*study.trials, trial))
    logger.trial_finished(trial, study)
    study = follow(logger, study, record(2, 0.5))
    study = evolve(study, end=StudyEnd.COMPLETED)
    logger.study_finished(study)
    assert logger.take_remarks() == [
        (
            "warning",
            f"logger 'mlflow' failed: {server.uri}: the server cannot be reached; the study continues without it, and "
            f"`scalecore export mlflow {study.folder}` writes the missing data",
        )
    ]
    server.start()
    for _ in range(2):
        assert whole(logger_of(study, uri=server.uri), study) == []
        parent, trials = runs(server.uri)
        assert [steps(server.uri, trials[n]) for n in range(3)] == [[1, 2, 3], [1, 2, 3, 4, 5], [1, 2, 3]]
        assert [trials[n].info.status for n in range(3)] == ["FINISHED"] * 3
        best = MlflowClient(server.uri).get_metric_history(parent.info.run_id, "best")
        assert [(one.step, one.value) for one in best] == [(1, 0.7), (2, 0.6), (3, 0.5)]
        stored = MlflowClient(server.uri).list_artifacts(trials[1].info.run_id)
        assert [one.path for one in stored] == ["trial.json"]
        assert parent.info.status == "FINISHED"


def test_a_server_that_hangs_is_not_waited_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It accepts connections without a response: the run ends after its own timeout, an export after MLflow's."""
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_TIMEOUT", "1")
    with socket.create_server(("127.0.0.1", 0)) as silent:
        uri = f"http://127.0.0.1:{silent.getsockname()[1]}"
        study = make_study(tmp_path / "study")
        logger = background(study, uri, patience=0.0)
        logger.study_started(study)
        logger.study_finished(study)
        with pytest.raises(StudyError) as caught:
            logger_of(study, uri=uri).study_started(study)
    assert str(caught.value) == f"{uri}: the server does not respond"
    assert logger.take_remarks()[0] == (
        "warning",
        "logger 'mlflow' is still writing 0 s after the end of the run; "
        f"`scalecore export mlflow {study.folder}` writes the missing data",
    )


def test_a_new_database_is_created_silently(first_use: FirstUse) -> None:
    """MLflow would print each step to the console."""
    assert first_use.path.exists()
    assert first_use.printed == ""


def test_a_database_whose_creation_was_killed_is_created_again(tmp_path: Path) -> None:
    """MLflow cannot open an incomplete database, so it appears only when complete."""
    making = subprocess.Popen([sys.executable, "-c", FIRST_USE, tmp_path], env=quiet())
    wait_for(lambda: any(path.stat().st_size for path in tmp_path.rglob("*.db")))
    making.kill()
    making.wait()
    assert not (tmp_path / "mlflow.db").exists()
    study = make_study(tmp_path / "study", [record(0, 0.7)])
    assert whole(logger_of(study), study) == []
    assert sorted(runs(location(MlflowOptions(), study.folder)[0])[1]) == [0]


@pytest.mark.parametrize(
    ("status", "why"),
    [
        (401, "the server requires another login (HTTP 401)"),
        (403, "the server does not permit this with the current login (HTTP 403)"),
        (404, "the server at this address is not an MLflow server (HTTP 404)"),
        (418, "API request to endpoint /api/2.0/mlflow/experiments/get-by-name failed with error code 418 != 200. "),
    ],
)
def test_responses_of_other_servers_are_explained(status: int, why: str, tmp_path: Path) -> None:
    """Another program uses the port, or a proxy requires a password."""

    class Answer(BaseHTTPRequestHandler):
        def do_GET(self) -> None:  # the name that the library asks for
            self.send_error(status)

        def log_message(self, *arguments: object) -> None:
            """Print nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Answer) as other:
        threading.Thread(target=other.serve_forever, daemon=True).start()
        uri = f"http://127.0.0.1:{other.server_port}"
        study = make_study(tmp_path / "study")
        with pytest.raises(StudyError) as caught:
            logger_of(study, uri=uri).study_started(study)
        other.shutdown()
    assert str(caught.value).startswith(f"{uri}: {why}")


def test_settings_of_the_user_stay(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """MLflow would retry for minutes; here only if the environment says so."""
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_TIMEOUT", "77")
    monkeypatch.delenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", raising=False)
    Client(f"sqlite:///{tmp_path / 'mlflow.db'}")
    assert os.environ["MLFLOW_HTTP_REQUEST_TIMEOUT"] == "77"
    assert os.environ["MLFLOW_HTTP_REQUEST_MAX_RETRIES"] == "0"
