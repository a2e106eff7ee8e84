"""Artificial and real studies, an MLflow database, and an MLflow server."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from attrs import define, evolve

from scalecore.api.logger import Logger
from scalecore.api.trials import Epoch, Proposal, StudyView, TrialRecord
from scalecore.testing.fakes import make_trial

pytest_plugins = ["scalecore.testing.fixtures"]


def curve(epochs: int, *, start: int = 1) -> list[Epoch]:
    """Lines of a learning curve."""
    return [
        {
            "epoch": epoch,
            "val_loss": 0.9 - epoch / 100,
            "accuracy": 0.5 + epoch / 100,
            "auc": None,
            "train_seconds": 1.5,
        }
        for epoch in range(start, start + epochs)
    ]


def record(number: int, value: float | None = 0.7, *, epochs: int = 3, **changes: Any) -> TrialRecord:
    """A finished trial with this number of epochs; the last one is its best."""
    lines = curve(epochs) if value is not None else []
    best = {**lines[-1], "confusion_matrix": {"tn": 1}} if lines else None
    return make_trial(number, value, **{"learning_curve": lines, "best": best, **changes})


def proposal(trial: TrialRecord) -> Proposal:
    return Proposal(architecture=trial.architecture, hyperparameters=trial.hyperparameters, origin=trial.origin)


def follow(logger: Logger, study: StudyView, *trials: TrialRecord) -> StudyView:
    """Run these trials from start to end; return the continued study."""
    for trial in trials:
        logger.trial_started(trial.number, proposal(trial), evolve(study, running=(trial.number,)))
        for line in trial.learning_curve:
            logger.epoch(trial.number, line)
        study = evolve(study, trials=(*study.trials, trial))
        logger.trial_finished(trial, study)
    return study


def started(logger: Logger, study: StudyView, trial: TrialRecord, lines: Sequence[Epoch]) -> StudyView:
    """Start a run, and train these epochs of an unfinished trial."""
    logger.study_started(study)
    study = evolve(study, running=(trial.number,))
    logger.trial_started(trial.number, proposal(trial), study)
    for line in lines:
        logger.epoch(trial.number, line)
    return study


def whole(logger: Logger, study: StudyView) -> list[tuple[str, str]]:
    """The calls of `scalecore export`; returns the logger's remarks."""
    logger.study_started(study)
    logger.study_finished(study)
    remarks = list(logger.take_remarks())
    logger.close()
    return remarks


def wait_for(done: Callable[[], bool], seconds: float = 120.0) -> None:
    deadline = time.monotonic() + seconds
    while not done():
        assert time.monotonic() < deadline
        time.sleep(0.05)


@define
class FirstUse:
    """The database that a logger created, and the output meanwhile."""

    path: Path
    printed: str


FIRST_USE = """
import sys
from pathlib import Path
from scalecore.api.logger import LoggerContext
from scalecore.testing.fakes import make_study
from scalecore_trackers.mlflow_logger import MlflowLogger
from scalecore_trackers.options import MlflowOptions

study = make_study(Path(sys.argv[1]) / "study")
logger = MlflowLogger(MlflowOptions(experiment="first"), LoggerContext(folder=study.folder))
logger.study_started(study)
logger.study_finished(study)
assert logger.take_remarks() == []
logger.close()
"""


@pytest.fixture(scope="session")
def first_use(tmp_path_factory: pytest.TempPathFactory) -> FirstUse:
    """In a separate process with default settings."""
    folder = tmp_path_factory.mktemp("mlflow")
    env = {name: text for name, text in os.environ.items() if not name.startswith("MLFLOW_")}
    done = subprocess.run(
        [sys.executable, "-c", FIRST_USE, folder], check=True, env=env, capture_output=True, text=True
    )
    return FirstUse(folder / "mlflow.db", done.stdout + done.stderr)


@pytest.fixture(scope="session")
def database(first_use: FirstUse) -> Path:
    """An MLflow database: creating one takes seconds, copying it none."""
    return first_use.path


def quiet() -> dict[str, str]:
    """The environment of an MLflow process."""
    return {**os.environ, "MLFLOW_DISABLE_TELEMETRY": "true", "GIT_PYTHON_REFRESH": "quiet"}


@define
class Server:
    """An MLflow server on this machine that can be killed and restarted."""

    folder: Path
    port: int
    process: subprocess.Popen[bytes] | None = None

    @property
    def uri(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def start(self) -> None:
        command = [sys.executable, "-m", "mlflow", "server", "--host", "127.0.0.1", "--port", str(self.port)]
        stores = ["--backend-store-uri", f"sqlite:///{self.folder / 'mlflow.db'}"]
        stores += ["--artifacts-destination", str(self.folder / "artifacts"), "--workers", "1"]
        with (self.folder / "log.txt").open("ab") as log:
            # Its workers for jobs of language models would double the time that it takes to start.
            env = {**quiet(), "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"}
            self.process = subprocess.Popen(
                command + stores, stdout=log, stderr=log, env=env, start_new_session=True, cwd=self.folder
            )
        wait_for(self._answers)

    def kill(self) -> None:
        """Kill immediately, like a failing machine."""
        if self.process is not None:
            os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait()
            self.process = None

    def _answers(self) -> bool:
        import requests

        assert self.process is not None
        assert self.process.poll() is None, (self.folder / "log.txt").read_text()
        try:
            return bool(requests.get(f"{self.uri}/health", timeout=1).ok)
        except requests.RequestException:
            return False


@pytest.fixture
def server(tmp_path: Path, database: Path) -> Iterator[Server]:
    """Not started yet."""
    folder = tmp_path / "server"
    folder.mkdir()
    (folder / "mlflow.db").write_bytes(database.read_bytes())
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    server = Server(folder, port)
    try:
        yield server
    finally:
        server.kill()
