"""Opens the Optuna storage that the option `storage` names."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from optuna.storages import BaseStorage, JournalStorage
from optuna.storages.journal import JournalFileBackend, JournalFileSymlinkLock

from scalecore.api.errors import ScalecoreError, StudyError

__all__ = ["open_storage", "study_errors"]

SECONDS = 5
"""Timeout of a connection and of an SQLite lock."""


@contextmanager
def study_errors(storage: str) -> Iterator[None]:
    """Convert errors of Optuna, SQLAlchemy and the system into a `StudyError` of one line that names the cause."""
    try:
        yield
    except ScalecoreError:
        raise
    except Exception as error:
        cause: BaseException = error
        while cause.__cause__ is not None:
            cause = cause.__cause__
        message = (str(cause).strip().splitlines() or [type(cause).__name__])[0]
        raise StudyError(f"{storage} cannot be used: {message}") from error


@contextmanager
def open_storage(storage: str, folder: Path) -> Iterator[BaseStorage]:
    """Open a storage, with paths relative to `folder`, and close its connections afterwards."""
    found = _open(storage, folder)
    try:
        yield found
    finally:
        found.remove_session()
        engine = getattr(found, "engine", None)
        if engine is not None:
            engine.dispose()


def _open(storage: str, folder: Path) -> BaseStorage:
    kind, _, rest = storage.partition(":")
    if kind == "journal":
        file = folder / (rest or "optuna.journal")
        _set_torn_line_aside(file)
        return JournalStorage(JournalFileBackend(str(file)))
    from optuna.storages import RDBStorage

    if kind == "sqlite":
        url = _sqlite_url(folder / rest.removeprefix("///"))
        return RDBStorage(url, engine_kwargs={"connect_args": {"timeout": SECONDS}})
    if kind != "postgresql":
        return RDBStorage(storage, engine_kwargs={"pool_pre_ping": True})
    url = storage.replace("postgresql://", "postgresql+psycopg://", 1)
    return RDBStorage(url, engine_kwargs={"pool_pre_ping": True, "connect_args": {"connect_timeout": SECONDS}})


def _sqlite_url(file: Path) -> str:
    """The URL of a database file.

    Raises `ValueError` for a path that the installed SQLAlchemy cannot represent in a URL: before 2.1 it does not quote
    special characters.
    """
    from sqlalchemy import URL, make_url

    url = URL.create("sqlite", database=str(file)).render_as_string()
    # Optuna replaces text in braces.
    if make_url(url).database != str(file) or "{" in url:
        raise ValueError(f"the path {file} cannot be part of a URL: install SQLAlchemy 2.1 or avoid ? and {{}} in it")
    return url


def _set_torn_line_aside(file: Path) -> None:
    """Move an incomplete last line of an Optuna journal into a file `*.torn-N`: Optuna cannot open such a journal."""
    content = file.read_bytes() if file.exists() else b""
    if not content or content.endswith(b"\n"):
        return
    lock = JournalFileSymlinkLock(str(file))
    lock.acquire()  # wait until other processes have finished writing
    try:
        content = file.read_bytes()
        end = content.rfind(b"\n") + 1
        if end < len(content):
            number = len(list(file.parent.glob(f"{file.name}.torn-*")))
            file.with_name(f"{file.name}.torn-{number}").write_bytes(content[end:])
            os.truncate(file, end)
    finally:
        lock.release()
