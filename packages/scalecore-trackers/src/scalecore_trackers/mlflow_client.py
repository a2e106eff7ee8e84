"""MLflow's client, quiet, and with errors that say in one line why a server does not answer."""

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
    # MLflow would try each request for minutes.
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "0",
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "10",
    # Nothing is sent to anyone but the server that the file names.
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",
    "GIT_PYTHON_REFRESH": "quiet",
    # It reports how it makes a database, in the middle of the console.
    "MLFLOW_LOGGING_LEVEL": "WARNING",
}
"""Of the environment, where it does not set them itself; MLflow has no other way to set them."""

REFUSALS = {
    "401": "the server asks for another login",
    "403": "the server does not allow it with this login",
    "404": "what answers there is no server of MLflow",
}
"""What an answer that is not in MLflow's own form means, by its HTTP status."""

BATCH = 900
"""Metrics in one request; MLflow takes a thousand entries."""
TEXT = 5000
"""Characters of a tag or parameter; MLflow takes some more."""
NONE: Mapping[str, Any] = MappingProxyType({})


class Client:
    """Has the methods of `mlflow.MlflowClient`; what they raise becomes a `StudyError`. Imports mlflow when made."""

    def __init__(self, uri: str) -> None:
        for name, value in SETTINGS.items():
            os.environ.setdefault(name, value)
        logging.getLogger("alembic").setLevel(logging.WARNING)  # it reports each step of making a database
        from mlflow import MlflowClient

        self._uri = uri
        path = Path(uri.removeprefix("sqlite:///"))
        if uri.startswith("sqlite:") and not path.exists():
            self._in_words(_make_database)(path)
        self._client = self._in_words(MlflowClient)(tracking_uri=uri)

    def __getattr__(self, name: str) -> Any:
        return self._in_words(getattr(self._client, name))

    def log(
        self,
        run: str,
        *,
        metrics: Iterable[tuple[str, float, int, int]] = (),
        params: Mapping[str, Any] = NONE,
        tags: Mapping[str, str] = NONE,
    ) -> None:
        """Metrics are name, value, milliseconds since 1970, and step."""
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
        """All runs of an experiment that are not deleted."""
        token: str | None = None
        while True:
            page = self.search_runs([experiment], condition, max_results=1000, page_token=token)
            yield from page
            token = page.token
            if not token:
                return

    def _in_words(self, method: Callable[..., Any]) -> Callable[..., Any]:
        def call(*arguments: Any, **options: Any) -> Any:
            try:
                return method(*arguments, **options)
            except Exception as error:
                raise StudyError(f"{self._uri}: {_why(error)}") from error

        return call


def _make_database(path: Path) -> None:
    """Make it under another name: MLflow takes seconds for its tables, and can never open a file with some of them."""
    from mlflow import MlflowClient

    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=f".{path.name}.", dir=path.parent) as folder:
        new = Path(folder) / "new.db"
        MlflowClient(tracking_uri=f"sqlite:///{new}").search_experiments()
        try:
            os.link(new, path)
        except FileExistsError:
            return  # another study made it meanwhile
        except OSError:  # a file system without links
            new.replace(path)


def key(name: str) -> str:
    """A name that MLflow takes: letters, digits, and `_-. /`."""
    return re.sub(r"[^\w\-. /]", "_", name)[:250]


def _why(error: Exception) -> str:
    """What MLflow, requests and urllib3 wrap in each other, in words where no server answers."""
    import requests

    cause: BaseException | None = error
    while cause is not None:
        # Where nothing is tried again, a silent server is a ConnectionError too.
        if isinstance(cause, requests.Timeout) or "Read timed out" in str(cause):
            return "the server does not answer"
        if isinstance(cause, requests.ConnectionError | requests.exceptions.ChunkedEncodingError):
            return "the server cannot be reached"
        cause = cause.__cause__ or cause.__context__
    text = (str(error).strip().splitlines() or [type(error).__name__])[0]
    status = re.search(r"^API request to endpoint \S+ failed with error code (\d+)", text)
    return f"{REFUSALS[status[1]]} (HTTP {status[1]})" if status and status[1] in REFUSALS else text[:300]
