"""Logger `mlflow`, read back with MLflow's own client, from a database file and from a server that is killed."""

from __future__ import annotations

import json
import os
import socket
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from attrs import evolve
from mlflow import MlflowClient
from mlflow.entities import Run

from scalecore.api.errors import RefusedError
from scalecore.api.protocols import LoggerContext
from scalecore.api.trials import Origin, RestoredTrial, StudyEnd, StudyView, TrialState
from scalecore.testing.fakes import make_study
from scalecore_trackers.mlflow_logger import MlflowLogger, location
from scalecore_trackers.options import MlflowOptions

from .conftest import FirstUse, Server, curve, finish, follow, proposal, record, wait_for

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


def seen(uri: str, number: int, metric: str = "val_loss") -> list[int]:
    """The epochs of a trial, none where it is not there yet."""
    found = MlflowClient(uri).get_experiment_by_name("walk")
    if found is None:
        return []
    trials = MlflowClient(uri).search_runs([found.experiment_id], f"tags.`scalecore.trial` = '{number}'")
    return steps(uri, trials[0], metric) if trials else []


def steps(uri: str, run: Run, metric: str = "val_loss") -> list[int]:
    return sorted(one.step for one in MlflowClient(uri).get_metric_history(run.info.run_id, metric))


@pytest.fixture
def uri(tmp_path: Path, database: Path) -> str:
    """A database beside the study's folder, where the logger looks by default."""
    (tmp_path / "mlflow.db").write_bytes(database.read_bytes())
    return f"sqlite:///{tmp_path / 'mlflow.db'}"


@pytest.mark.parametrize("name", ["what?", "room %41"])
def test_a_folder_that_a_url_cannot_carry_is_refused(name: str, tmp_path: Path) -> None:
    """MLflow would make its database elsewhere; nothing is made."""
    folder = tmp_path / name / "study"
    with pytest.raises(RefusedError) as caught:
        location(MlflowOptions(), folder)
    assert str(caught.value) == (
        f"logger 'mlflow': {folder.parent / 'mlflow.db'} cannot be part of a URL, where a path ends at `?` and `%41` "
        "is `A`; give a `uri` with another path, or another `output`"
    )
    assert list(tmp_path.iterdir()) == []


def test_a_database_lies_where_its_path_says(tmp_path: Path, database: Path) -> None:
    """Blanks, number signs, braces and letters of any language are a part of the path, for artifacts too."""
    folder = tmp_path / "a #1 100% {x} \u00fc"
    folder.mkdir()
    (folder / "mlflow.db").write_bytes(database.read_bytes())
    study = make_study(folder / "study")
    logger = logger_of(study)
    logger.study_started(study)
    assert finish(logger, follow(logger, study, record(0, 0.7))) == []
    assert [path.name for path in tmp_path.iterdir()] == [folder.name]
    assert sorted(path.name for path in folder.iterdir()) == ["mlartifacts", "mlflow.db", "study"]
    _, trials = runs(location(MlflowOptions(), study.folder)[0])
    assert sorted(trials) == [0]


def test_g28_a_database_that_moved_writes_no_artifacts_where_it_was(uri: str, tmp_path: Path) -> None:
    """MLflow keeps that place in the database, where nobody can change it; everything else is written."""
    old = (tmp_path / "gone" / "mlartifacts").as_uri()
    MlflowClient(uri).create_experiment("walk", artifact_location=old)
    study = make_study(tmp_path / "study")
    logger = logger_of(study)
    logger.study_started(study)
    text = (
        f"mlflow stores no artifacts: the experiment keeps them in {old}, where the project was before; give another "
        "`experiment`, or `artifacts: false`"
    )
    assert finish(logger, follow(logger, study, record(0, 0.7))) == [text]
    assert runs(uri)[1][0].info.status == "FINISHED"
    assert not (tmp_path / "gone").exists()


def test_a_study_is_a_run_with_one_run_a_trial(uri: str, tmp_path: Path) -> None:
    """Parameters, metrics by epoch, how each ended, and artifacts; nothing more when a finished study is run again."""
    study = make_study(tmp_path / "study")
    logger = logger_of(study)
    logger.study_started(study)
    first = record(0, 0.7, origin=Origin(kind="forced", label="width:min"))
    failed = record(1, None, reason="exit code -11", ended=None)
    study = follow(logger, study, first, failed, record(2, 0.65, state=TrialState.PRUNED))
    assert finish(logger, study) == []
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
    assert (trials[0].info.end_time - trials[0].info.start_time) == 60_000
    history = client.get_metric_history(trials[0].info.run_id, "val_loss")
    assert [(one.step, one.value) for one in history] == [(1, 0.89), (2, 0.88), (3, 0.87)]
    stored = client.download_artifacts(trials[0].info.run_id, "trial.json", str(tmp_path))
    assert json.loads(Path(stored).read_text())["hash"] == first.hash
    stored = client.download_artifacts(parent.info.run_id, "experiment.yaml", str(tmp_path))
    assert "model:\n  use: linear\n" in Path(stored).read_text()
    assert (tmp_path / "mlartifacts").is_dir()

    logger = logger_of(study)
    logger.study_started(study)
    assert finish(logger, study) == []
    again, trials = runs(uri)
    assert (again.info.run_id, sorted(trials)) == (parent.info.run_id, [0, 1, 2])
    assert steps(uri, again, "best") == [1, 2, 3]
    assert steps(uri, trials[0]) == [1, 2, 3]


def test_a_resumed_study_goes_on_in_the_same_runs(uri: str, tmp_path: Path) -> None:
    """Nothing is there twice, what a killed run did not write is made up for, and another study stays apart."""
    other = make_study(tmp_path / "other", [record(0, 0.9)])
    study = make_study(tmp_path / "study")
    trial = record(0, 0.7, epochs=4)
    for view in (other, study):
        logger = logger_of(view, experiment="shared" if view is other else None)
        logger.study_started(view)
        logger.trial_started(0, proposal(trial), evolve(view, running=(0,)))
        if view is study:
            for line in curve(2):
                logger.epoch(0, line)
            wait_for(lambda: seen(uri, 0) == [1, 2])
            logger.study_finished(evolve(view, end=StudyEnd.STOPPED))
        else:
            assert finish(logger, view) == []
        logger.close()
    waiting = RestoredTrial(number=0, proposal=proposal(trial), outcome=None)
    study = evolve(study, unfinished=(waiting,))
    logger = logger_of(study)
    logger.study_started(study)
    wait_for(lambda: runs(uri)[0].info.status == "RUNNING")
    wait_for(lambda: runs(uri)[1][0].info.status == "KILLED")
    logger.trial_started(0, proposal(trial), evolve(study, running=(0,)))
    for line in curve(2, start=2):
        logger.epoch(0, line)
    wait_for(lambda: seen(uri, 0) == [1, 2, 3])
    study = evolve(study, unfinished=())
    study = evolve(study, trials=(trial, record(1, 0.6)))
    logger.trial_finished(trial, study)
    assert finish(logger, study) == []
    parent, trials = runs(uri)
    assert sorted(trials) == [0, 1]
    assert [steps(uri, trials[n]) for n in (0, 1)] == [[1, 2, 3, 4], [1, 2, 3]]
    history = MlflowClient(uri).get_metric_history(trials[0].info.run_id, "val_loss")
    times = [one.timestamp - trials[0].info.start_time for one in sorted(history, key=lambda one: one.step)]
    assert times == sorted(times)
    assert (parent.info.status, trials[0].info.status) == ("FINISHED", "FINISHED")
    assert [run.data.metrics["value"] for run in runs(uri, "shared")[1].values()] == [0.9]


def test_a_server_that_dies_costs_one_warning_and_nothing_else(server: Server, tmp_path: Path) -> None:
    """Killed in the middle of a trial; a run without it, and what was missed is there once it is back."""
    study = make_study(tmp_path / "study")
    server.start()
    logger = logger_of(study, uri=server.uri)
    logger.again = 0.2
    logger.study_started(study)
    study = follow(logger, study, record(0, 0.7))
    wait_for(lambda: seen(server.uri, 0, "value") == [3])
    trial = record(1, 0.6, epochs=5)
    logger.trial_started(1, proposal(trial), evolve(study, running=(1,)))
    logger.epoch(1, curve(1)[0])
    wait_for(lambda: seen(server.uri, 1) == [1])
    server.kill()
    for line in curve(4, start=2):
        logger.epoch(1, line)
    told: list[tuple[str, str]] = []
    wait_for(lambda: bool(told.extend(logger.take_remarks()) or told))
    assert [level for level, _ in told] == ["warning"]
    assert told[0][1] == (
        f"mlflow {server.uri} cannot be written: the server cannot be reached; the study goes on without it, "
        "and it is brought in line when that works again"
    )
    study = evolve(study, trials=(*study.trials, trial))
    logger.trial_finished(trial, study)
    assert finish(logger, study) == [f"mlflow {server.uri} is behind; the next run brings it in line"]

    logger = logger_of(study, uri=server.uri)
    logger.again = 0.2
    logger.study_started(study)
    wait_for(lambda: len(logger.take_remarks()) == 1)
    server.start()
    study = follow(logger, study, record(2, 0.5))
    wait_for(lambda: ("info", f"mlflow {server.uri} is in line again") in logger.take_remarks())
    assert finish(logger, study) == []
    parent, trials = runs(server.uri)
    assert [steps(server.uri, trials[n]) for n in range(3)] == [[1, 2, 3], [1, 2, 3, 4, 5], [1, 2, 3]]
    assert [trials[n].info.status for n in range(3)] == ["FINISHED"] * 3
    best = MlflowClient(server.uri).get_metric_history(parent.info.run_id, "best")
    assert [(one.step, one.value) for one in best] == [(1, 0.7), (2, 0.6), (3, 0.5)]
    stored = MlflowClient(server.uri).list_artifacts(trials[1].info.run_id)
    assert [one.path for one in stored] == ["trial.json"]


def test_a_server_that_hangs_is_told_and_not_waited_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It takes connections and says nothing; the environment says how long a request is waited for."""
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_TIMEOUT", "1")
    with socket.create_server(("127.0.0.1", 0)) as silent:
        uri = f"http://127.0.0.1:{silent.getsockname()[1]}"
        study = make_study(tmp_path / "study")
        logger = logger_of(study, uri=uri)
        logger.study_started(study)
        first, _ = finish(logger, study)
    assert first.startswith(f"mlflow {uri} cannot be written: the server does not answer; the study goes on without it")


def test_a_new_database_is_made_in_silence(first_use: FirstUse) -> None:
    """MLflow would tell of each step, in the middle of the console's picture."""
    assert first_use.path.exists()
    assert first_use.printed == ""


@pytest.mark.parametrize(
    ("status", "why"),
    [
        (401, "the server asks for another login (HTTP 401)"),
        (403, "the server does not allow it with this login (HTTP 403)"),
        (404, "what answers there is no server of MLflow (HTTP 404)"),
        (418, "API request to endpoint /api/2.0/mlflow/experiments/get-by-name failed with error code 418 != 200. "),
    ],
)
def test_what_answers_otherwise_than_mlflow_is_told_in_words(status: int, why: str, tmp_path: Path) -> None:
    """Another program has the port, or a proxy asks for a password."""

    class Answer(BaseHTTPRequestHandler):
        def do_GET(self) -> None:  # the name that the library asks for
            self.send_error(status)

        def log_message(self, *arguments: object) -> None:
            """Print nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Answer) as other:
        threading.Thread(target=other.serve_forever, daemon=True).start()
        uri = f"http://127.0.0.1:{other.server_port}"
        study = make_study(tmp_path / "study")
        logger = logger_of(study, uri=uri)
        logger.study_started(study)
        first, behind = finish(logger, study)
        other.shutdown()
    assert first.startswith(f"mlflow {uri} cannot be written: {why}")
    assert first.endswith("; the study goes on without it, and it is brought in line when that works again")
    assert behind == f"mlflow {uri} is behind; the next run brings it in line"


def test_settings_of_the_user_stay(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """MLflow tries a dead server for minutes: not here, unless the environment says so."""
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_TIMEOUT", "77")
    monkeypatch.delenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", raising=False)
    MlflowLogger(MlflowOptions(), LoggerContext(folder=tmp_path))
    assert os.environ["MLFLOW_HTTP_REQUEST_TIMEOUT"] == "77"
    assert os.environ["MLFLOW_HTTP_REQUEST_MAX_RETRIES"] == "0"
