"""Logger `mlflow`: a run of MLflow for the study and one within it for each trial, in a file or on a server."""

from __future__ import annotations

import logging
import os
import re
from pathlib import Path
from typing import TYPE_CHECKING

from scalecore.api.errors import RefusedError
from scalecore.api.protocols import LoggerContext
from scalecore.study.following import Follower, StudyNow
from scalecore_trackers.options import MlflowOptions

if TYPE_CHECKING:
    from scalecore_trackers.mlflow_runs import StudyRuns

__all__ = ["MlflowLogger", "location"]

SETTINGS = {
    # MLflow would try each request for minutes; a follower tries again by itself.
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "0",
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "10",
    # Nothing is sent to anyone but the server that the file names.
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",
    "GIT_PYTHON_REFRESH": "quiet",
    # It tells how it makes a database, in the middle of the console.
    "MLFLOW_LOGGING_LEVEL": "WARNING",
}
"""Of the environment, where it does not set them itself; MLflow has no other way to be told."""

REFUSALS = {
    "401": "the server asks for another login",
    "403": "the server does not allow it with this login",
    "404": "what answers there is no server of MLflow",
}
"""What an answer that is not in MLflow's own form means, by its HTTP status."""


class MlflowLogger(Follower):
    """A server that is slow or gone never holds the study up: a follower writes in a thread of its own."""

    def __init__(self, options: MlflowOptions, context: LoggerContext) -> None:
        self._options = options
        self._uri, self._folder = location(options, context.folder)
        super().__init__(f"mlflow {self._uri}")
        self._runs: StudyRuns | None = None
        self._told = False
        for name, value in SETTINGS.items():
            os.environ.setdefault(name, value)

    def bring_in_line(self, now: StudyNow) -> None:
        if self._runs is None:
            logging.getLogger("alembic").setLevel(logging.WARNING)  # it tells each step of making a database
            from scalecore_trackers.mlflow_runs import StudyRuns

            self._runs = StudyRuns(
                now.study,
                uri=self._uri,
                experiment=self._options.experiment or now.study.name,
                artifacts=self._options.artifacts,
                folder=self._folder,
            )
            if self._runs.elsewhere is not None and self._options.artifacts and not self._told:
                self._told = True
                self.remark(
                    "warning",
                    f"mlflow stores no artifacts: the experiment keeps them in {self._runs.elsewhere}, where the "
                    "project was before; give another `experiment`, or `artifacts: false`",
                )
        self._runs.bring_in_line(now)

    def forget(self) -> None:
        self._runs = None

    def why(self, error: Exception) -> str:
        """What MLflow, requests and urllib3 wrap in each other, in words where no server answers."""
        import requests

        cause: BaseException | None = error
        while cause is not None:
            # Where nothing is tried again, a silent server is a ConnectionError too.
            if isinstance(cause, requests.Timeout) or "Read timed out" in str(cause):
                return "the server does not answer"
            if isinstance(cause, requests.ConnectionError):
                return "the server cannot be reached"
            cause = cause.__cause__ or cause.__context__
        text = super().why(error)
        status = re.search(r"^API request to endpoint \S+ failed with error code (\d+)", text)
        if status is not None and status[1] in REFUSALS:
            return f"{REFUSALS[status[1]]} (HTTP {status[1]})"
        return text[:300]


def location(options: MlflowOptions, folder: Path) -> tuple[str, str | None]:
    """The URI of the runs, and that of the artifacts of a new experiment; None where a server decides.

    Raises `RefusedError` for a file whose path MLflow would take for another one.
    """
    if not options.is_file:
        return str(options.uri), None
    path = folder.parent / "mlflow.db" if options.uri is None else folder / options.uri.removeprefix("sqlite:///")
    path = path.resolve()
    from sqlalchemy import make_url

    # Not quoted by `URL.create`: MLflow makes the folder that it reads in the text of the URL.
    uri = f"sqlite:///{path}"
    if make_url(uri).database != str(path):
        raise RefusedError(
            f"logger 'mlflow': {path} cannot be part of a URL, where a path ends at `?` and `%41` is `A`; give a `uri` "
            "with another path, or another `output`"
        )
    return uri, (path.parent / "mlartifacts").as_uri()
