"""MLflow's client without console output, and with one-line errors."""

from __future__ import annotations

import logging
import os
import re
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

from scalecore.api.errors import StudyError

__all__ = ["Client", "key"]

SETTINGS = {
    # MLflow would retry each request for minutes.
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "0",
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "10",
    # Send data only to the configured server.
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",
    "GIT_PYTHON_REFRESH": "quiet",
    # MLflow would print its progress while it creates a database.
    "MLFLOW_LOGGING_LEVEL": "WARNING",
}
"""Environment variables, set unless the user has set them. MLflow has no other way to configure them."""

REFUSALS = {
    "401": "the server requires another login",
    "403": "the server does not permit this with the current login",
    "404": "the server at this address is not an MLflow server",
}
"""Messages for HTTP statuses of responses that are not in MLflow's format."""

BATCH = 900
"""Metrics in one request; MLflow accepts a thousand entries."""
TEXT = 5000
"""Characters of a tag or parameter; MLflow accepts slightly more."""
NONE: Mapping[str, Any] = MappingProxyType({})


class Client:
    """Has the methods of `mlflow.MlflowClient`, but raises `StudyError`. Creating a client imports mlflow."""

    def __init__(self, uri: str) -> None:
        for name, value in SETTINGS.items():
            os.environ.setdefault(name, value)
        logging.getLogger("alembic").setLevel(logging.WARNING)  # it logs each step of creating a database
        from mlflow import MlflowClient

        self._uri = uri
        path = Path(uri.removeprefix("sqlite:///"))
        if uri.startswith("sqlite:") and not path.exists():
            self._raising_study_error(_create_database)(path)
        self._client = self._raising_study_error(MlflowClient)(tracking_uri=uri)

    def __getattr__(self, name: str) -> Any:
        return self._raising_study_error(getattr(self._client, name))

    def log(
        self,
        run: str,
        *,
        metrics: Iterable[tuple[str, float, int, int]] = (),
        params: Mapping[str, Any] = NONE,
        tags: Mapping[str, str] = NONE,
    ) -> None:
        """Log metrics (name, value, milliseconds since 1970, step), parameters and tags of a run."""
        from mlflow.entities import Metric, Param, RunTag

        found = [Metric(key(name), value, at, step) for name, value, at, step in metrics]
        for start in range(0, len(found), BATCH):
            self.log_batch(run, metrics=found[start : start + BATCH])
        if params or tags:
            self.log_batch(
                run,
                params=[Param(key(name), str(value)[:TEXT]) for name, value in params.items()],
                tags=[RunTag(name, text[:TEXT]) for name, text in tags.items()],
            )

    def runs_of(self, experiment: str, condition: str) -> Iterator[Any]:
        """All runs of an experiment that match the condition and are not deleted."""
        token: str | None = None
        while True:
            page = self.search_runs([experiment], condition, max_results=1000, page_token=token)
            yield from page
            token = page.token
            if not token:
                return

    def _raising_study_error(self, method: Callable[..., Any]) -> Callable[..., Any]:
        def call(*arguments: Any, **options: Any) -> Any:
            try:
                return method(*arguments, **options)
            except Exception as error:
                raise StudyError(f"{self._uri}: {_why(error)}") from error

        return call


def _create_database(path: Path) -> None:
    """Create a database under a temporary name. MLflow needs seconds to create its tables and cannot open an
    incomplete database.
    """
    from mlflow import MlflowClient

    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=f".{path.name}.", dir=path.parent) as folder:
        new = Path(folder) / "new.db"
        MlflowClient(tracking_uri=f"sqlite:///{new}").search_experiments()
        try:
            os.link(new, path)
        except FileExistsError:
            return  # another study has created it meanwhile
        except OSError:  # a file system without hard links
            new.replace(path)


def key(name: str) -> str:
    """A name that MLflow accepts: letters, digits, and `_-. /`."""
    return re.sub(r"[^\w\-. /]", "_", name)[:250]


def _why(error: Exception) -> str:
    """A one-line message for nested errors of MLflow, requests and urllib3."""
    import requests

    cause: BaseException | None = error
    while cause is not None:
        # Without retries, a server that does not respond also raises ConnectionError.
        if isinstance(cause, requests.Timeout) or "Read timed out" in str(cause):
            return "the server does not respond"
        if isinstance(cause, requests.ConnectionError | requests.exceptions.ChunkedEncodingError):
            return "the server cannot be reached"
        cause = cause.__cause__ or cause.__context__
    text = (str(error).strip().splitlines() or [type(error).__name__])[0]
    status = re.search(r"^API request to endpoint \S+ failed with error code (\d+)", text)
    return f"{REFUSALS[status[1]]} (HTTP {status[1]})" if status and status[1] in REFUSALS else text[:300]
