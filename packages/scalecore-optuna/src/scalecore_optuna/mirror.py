"""A copy of a study in a storage of Optuna: SQLite, an Optuna journal, PostgreSQL. Brought in line, never trusted.

The journal of the study stays the truth. `Mirror.bring_in_line` compares what the storage has with what the study is,
and writes what is missing, so that it does not matter what was lost, when, and by whom; a trial is known by its number
and hash, and is never there twice.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

from attrs import define, field
from optuna.exceptions import DuplicatedStudyError
from optuna.logging import WARNING, get_verbosity, set_verbosity
from optuna.storages import BaseStorage, JournalStorage
from optuna.storages.journal import JournalFileBackend
from optuna.study import StudyDirection
from optuna.trial import FrozenTrial, TrialState

from scalecore.api.errors import ScalecoreError
from scalecore_optuna.pictures import NUMBER, Picture, StudyPicture

__all__ = ["ForeignStudyError", "Mirror", "close_storage", "open_storage", "reason_of", "sqlite_url", "storage_file"]

SPACE = "scalecore space"
"""The attribute of the study that tells with which distributions it was filled."""
SECONDS = 5
"""How long a connection, or a lock of SQLite, is waited for before it counts as unavailable."""


class ForeignStudyError(ScalecoreError):
    """The storage holds a study of this name that is another one. It is left alone."""


def storage_file(storage: str, folder: Path) -> Path | None:
    """The file of a storage, relative ones in the study's folder; None for a server."""
    if storage == "journal":
        return folder / "optuna.journal"
    kind, _, rest = storage.partition(":")
    if kind == "journal":
        return folder / rest
    return folder / rest.removeprefix("///") if kind == "sqlite" else None


def open_storage(storage: str, folder: Path, *, repair: bool) -> BaseStorage:
    """Open the storage that the option names. With `repair` a torn last line of an Optuna journal is set aside first,
    which no reader beside a writer may do. Raises whatever Optuna, SQLAlchemy or the system raise.
    """
    file = storage_file(storage, folder)
    if file is not None and storage.startswith("journal"):
        if repair:
            _set_torn_line_aside(file)
        return JournalStorage(JournalFileBackend(str(file)))
    from optuna.storages import RDBStorage

    if file is not None:
        return RDBStorage(sqlite_url(file), engine_kwargs={"connect_args": {"timeout": SECONDS}})
    url = storage.replace("postgresql://", "postgresql+psycopg://", 1)
    return RDBStorage(url, engine_kwargs={"pool_pre_ping": True, "connect_args": {"connect_timeout": SECONDS}})


def sqlite_url(file: Path) -> str:
    """The URL of a database file, whatever characters its path has.

    Raises `ValueError` for a path that the installed SQLAlchemy cannot put into a URL: before 2.1 it quotes nothing.
    """
    from sqlalchemy import URL, make_url

    url = URL.create("sqlite", database=str(file)).render_as_string()
    # Optuna replaces what is in braces.
    if make_url(url).database != str(file) or "{" in url:
        raise ValueError(f"the path {file} cannot be part of a URL; SQLAlchemy 2.1 or a path without ? and {{}} helps")
    return url


def close_storage(storage: BaseStorage) -> None:
    """Give back the connections of this thread."""
    storage.remove_session()
    engine = getattr(storage, "engine", None)
    if engine is not None:
        engine.dispose()


def reason_of(error: BaseException) -> str:
    """One line that names the cause, which Optuna and SQLAlchemy wrap in several others."""
    while error.__cause__ is not None:
        error = error.__cause__
    return (str(error).strip().splitlines() or [type(error).__name__])[0]


def _set_torn_line_aside(file: Path) -> None:
    """Optuna cannot open a journal that ends in the middle of a line: what stands behind the last newline is moved."""
    if not file.exists():
        return
    content = file.read_bytes()
    end = content.rfind(b"\n") + 1
    if end < len(content):
        number = len(list(file.parent.glob(f"{file.name}.torn-*")))
        file.with_name(f"{file.name}.torn-{number}").write_bytes(content[end:])
        os.truncate(file, end)


@define
class _Written:
    """What the storage has of a trial."""

    id: int
    state: TrialState
    reports: set[int] = field(factory=set)


class Mirror:
    """One study in one storage. Not for several threads; whatever a call raises, the next one begins anew."""

    def __init__(self, connect: Callable[[], BaseStorage], *, file: Path | None = None) -> None:
        # Optuna speaks to the terminal at level INFO by itself.
        set_verbosity(max(get_verbosity(), WARNING))
        self._connect = connect
        self._file = file
        self._storage: BaseStorage | None = None
        self._study = -1
        self._space: str | None = None
        self._inode: int | None = None
        self._written: dict[int, _Written] = {}

    def bring_in_line(self, study: StudyPicture) -> None:
        """Write what the storage lacks. Raises `ForeignStudyError` where it holds another study of that name, and
        whatever the storage raises where it cannot be read or written.
        """
        try:
            if self._storage is None or self._space != study.space or self._inode != self._inode_now():
                self._open(study)
            assert self._storage is not None
            for number, picture in study.pictures.items():
                self._write(self._storage, number, picture)
        except BaseException:
            self.forget()
            raise

    def forget(self) -> None:
        """Close the connection; the next call looks at the storage anew."""
        storage, self._storage, self._written = self._storage, None, {}
        if storage is not None:
            close_storage(storage)

    def _open(self, study: StudyPicture) -> None:
        self.forget()
        # Held from here on, so that it is closed again whatever is raised.
        storage = self._storage = self._connect()
        direction = StudyDirection[study.direction.upper()]
        try:
            self._study = storage.create_new_study([direction], study.name)
            known: list[FrozenTrial] = []
        except DuplicatedStudyError:
            self._study = storage.get_study_id_from_name(study.name)
            known = storage.get_all_trials(self._study, deepcopy=False)
            self._check(known, study)
            attributes = storage.get_study_user_attrs(self._study)
            if attributes.get(SPACE) != study.space or storage.get_study_directions(self._study) != [direction]:
                # Choices that changed are refused within one study, so it is filled anew. Everything in it is ours.
                storage.delete_study(self._study)
                self._study = storage.create_new_study([direction], study.name)
                known = []
        if not known:
            storage.set_study_user_attr(self._study, SPACE, study.space)
            storage.set_study_system_attr(self._study, "study:metric_names", [study.metric])
        self._written = {
            int(trial.user_attrs[NUMBER]): _Written(trial._trial_id, trial.state, set(trial.intermediate_values))
            for trial in known
        }
        self._space, self._inode = study.space, self._inode_now()

    @staticmethod
    def _check(known: list[FrozenTrial], study: StudyPicture) -> None:
        for trial in known:
            number, content = trial.user_attrs.get(NUMBER), trial.user_attrs.get("hash")
            picture = study.pictures.get(number) if isinstance(number, int) else None
            if picture is None or (content is not None and picture.hash != content):
                raise ForeignStudyError(
                    f"it holds another study of the name {study.name!r} (its trial {trial.number} is none of this "
                    "study); nothing of it is touched. Give another `study_name`, another `storage`, or delete it"
                )

    def _write(self, storage: BaseStorage, number: int, picture: Picture) -> None:
        written = self._written.get(number)
        if written is None:
            # With its number among the attributes from the first moment, in one step: never the same trial twice.
            new = storage.create_new_trial(self._study, template_trial=picture.frozen())
            self._written[number] = _Written(new, picture.state, set(picture.reports))
            return
        if written.state.is_finished():
            return
        if written.state is TrialState.WAITING and picture.state is not TrialState.WAITING:
            storage.set_trial_state_values(written.id, TrialState.RUNNING)
            written.state = TrialState.RUNNING
        for epoch in sorted(set(picture.reports) - written.reports):
            storage.set_trial_intermediate_value(written.id, epoch, picture.reports[epoch])
            written.reports.add(epoch)
        if picture.state is written.state:
            return
        # Attributes cannot be set any more once a trial is finished.
        for name, value in picture.attributes.items() if picture.state.is_finished() else ():
            storage.set_trial_user_attr(written.id, name, value)
        for name, value in picture.system.items():
            storage.set_trial_system_attr(written.id, name, value)
        values = None if picture.value is None else [picture.value]
        storage.set_trial_state_values(written.id, picture.state, values)
        written.state = picture.state

    def _inode_now(self) -> int | None:
        """None for a server, and for a file that is not there; a deleted file can still be written, in vain."""
        try:
            return None if self._file is None else os.stat(self._file).st_ino
        except FileNotFoundError:
            return None
