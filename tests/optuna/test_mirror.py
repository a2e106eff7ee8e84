"""The mirror on real storages: SQLite, an Optuna journal, and PostgreSQL where a server can be started."""

from __future__ import annotations

import os
import pwd
import shutil
import signal
import sqlite3
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from attrs import evolve
from optuna.exceptions import StorageInternalError
from optuna.storages import BaseStorage, RDBStorage
from optuna.study import load_study
from optuna.trial import FrozenTrial
from optuna.trial import TrialState as OptunaState
from sqlalchemy import event
from sqlalchemy.exc import OperationalError

from scalecore.api.protocols import LoggerContext
from scalecore.api.space import Architecture
from scalecore.api.trials import Origin, Proposal, RestoredTrial, StudyView, TrialRecord, TrialState
from scalecore_optuna.mirror import ForeignStudyError, Mirror, close_storage, open_storage, reason_of, storage_file
from scalecore_optuna.mirror_logger import MirrorLogger
from scalecore_optuna.options import MirrorOptions
from scalecore_optuna.pictures import picture_of

SHAPE = Architecture(values={"width": 64, "depth": 2}, num_parameters=4_096, flops=8_192)


def proposal(**values: Any) -> Proposal:
    values = {"rate": 1e-3, "epochs": 50, **values}
    return Proposal(architecture=SHAPE, hyperparameters=values, origin=Origin(kind="sampled", reason="why not"))


def record(number: int, *, state: TrialState = TrialState.COMPLETED, **values: Any) -> TrialRecord:
    valued = state in (TrialState.COMPLETED, TrialState.PRUNED)
    return TrialRecord(
        number=number,
        hash=f"hash-{number}",
        seed=number,
        state=state,
        reason=None if valued else "it broke",
        value=0.5 + number / 100 if valued else None,
        origin=Origin(kind="redirected", reason="tried before", moved_from={"width": 32}),
        architecture=SHAPE,
        hyperparameters={**proposal(**values).hyperparameters, "dropout": 0.1},
        started="2026-01-01T00:00:00.000Z",
        ended="2026-01-01T00:01:00.000Z",
        duration=60.0,
        best={"epoch": 2, "accuracy": 0.7},
        learning_curve=[{"epoch": epoch, "val_loss": 0.9 - epoch / 10} for epoch in (1, 2)],
    )


def study(folder: Path, *records: TrialRecord, choices: tuple[int, ...] = (50, 75), **changes: Any) -> StudyView:
    space = {"rate": {"log_uniform": [1e-4, 1e-2]}, "epochs": {"choice": list(choices)}}
    return StudyView(
        name="mirrored",
        folder=folder,
        experiment={"search": {"space": space}, "objective": {"metric": "val_loss", "direction": "minimize"}},
        plan={"architectures": {"dimensions": {"width": [64], "depth": [2]}}},
        total=5,
        trials=records,
        **changes,
    )


@pytest.fixture(scope="module")
def postgresql() -> Iterator[str]:
    """A server of its own, from the system's packages; as the user `postgres`, since it refuses to run as root."""
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin")) if shutil.which("initdb") is None else []
    folder = found[-1] if found else Path(shutil.which("initdb") or "/nowhere").parent
    if not (folder / "initdb").exists():
        pytest.skip("no PostgreSQL server is installed here")
    psycopg = pytest.importorskip("psycopg", reason="psycopg is not installed: scalecore-optuna[postgresql]")
    me: dict[str, Any] = {}
    root = Path(tempfile.mkdtemp(prefix="pg"))
    if os.geteuid() == 0:
        try:
            user = pwd.getpwnam("postgres")
        except KeyError:
            pytest.skip("PostgreSQL refuses to run as root, and there is no user postgres")
        os.chown(root, user.pw_uid, user.pw_gid)
        me = {"user": user.pw_uid, "group": user.pw_gid, "extra_groups": []}
    data = root / "data"
    quiet: dict[str, Any] = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL, "cwd": root, **me}
    subprocess.run([folder / "initdb", "-D", data, "-U", "me", "-A", "trust", "--no-sync"], check=True, **quiet)
    settings = ["-c", "listen_addresses=", "-c", f"unix_socket_directories={root}", "-c", "fsync=off"]
    server = subprocess.Popen([folder / "postgres", "-D", data, *settings], **quiet)
    try:
        deadline = time.monotonic() + 60
        while True:
            try:
                psycopg.connect(f"host={root} user=me dbname=postgres").close()
                break
            except psycopg.OperationalError:
                assert time.monotonic() < deadline, "the server does not answer"
                time.sleep(0.1)
        yield f"postgresql://me@/postgres?host={root}"
    finally:
        server.send_signal(signal.SIGINT)  # SIGTERM would wait for every client
        server.wait(timeout=60)
        shutil.rmtree(root)


@pytest.fixture(params=["journal", "sqlite", "postgresql"])
def storage(request: pytest.FixtureRequest) -> str:
    """What the option `storage` says, of each kind."""
    kinds = {"journal": "journal", "sqlite": "sqlite:///study.db"}
    return kinds.get(request.param) or str(request.getfixturevalue("postgresql"))


def connected(storage: str, folder: Path) -> Mirror:
    return Mirror(partial(open_storage, storage, folder, repair=True), file=storage_file(storage, folder))


def brought_in_line(storage: str, view: StudyView, *, name: str = "mirrored") -> None:
    """As a run does that lasts for one look."""
    with closing_mirror(connected(storage, view.folder)) as mirror:
        mirror.bring_in_line(picture_of(view, name=name))


@contextmanager
def closing_mirror(mirror: Mirror) -> Iterator[Mirror]:
    try:
        yield mirror
    finally:
        mirror.forget()


def shown(storage: str, folder: Path, name: str = "mirrored") -> list[FrozenTrial]:
    """What another reader of the storage sees."""
    reader = open_storage(storage, folder, repair=False)
    try:
        return load_study(study_name=name, storage=reader).trials
    finally:
        close_storage(reader)


def test_g20_a_mirror_shows_every_trial_with_its_architecture(storage: str, tmp_path: Path) -> None:
    """States, values, learning curves, and who proposed what and why; every end that is no value is a failure (G35)."""
    running = RestoredTrial(number=3, proposal=proposal(), outcome=None, reports={1: 0.8})
    waiting = RestoredTrial(number=4, proposal=proposal(), outcome=None)
    records = record(0), record(1, state=TrialState.PRUNED), record(2, state=TrialState.DIVERGED)
    view = study(tmp_path, *records, unfinished=(running, waiting), running=(3,))
    name = f"shown-{tmp_path.name}"
    brought_in_line(storage, view, name=name)
    trials = shown(storage, tmp_path, name)
    assert [trial.state.name for trial in trials] == ["COMPLETE", "PRUNED", "FAIL", "RUNNING", "WAITING"]
    assert [trial.value for trial in trials] == [0.5, 0.51, None, None, None]
    assert all(trial.params["width"] == 64 and trial.params["epochs"] == 50 for trial in trials)
    assert trials[0].intermediate_values == {1: 0.8, 2: 0.7}
    assert trials[3].intermediate_values == {1: 0.8}
    told = trials[2].user_attrs
    assert (told["trial"], told["hash"], told["origin"], told["parameters"]) == (2, "hash-2", "redirected", 4_096)
    assert (told["state"], told["ended because"], told["moved from"]) == ("diverged", "it broke", {"width": 32})
    assert told["all hyperparameters"]["dropout"] == 0.1
    assert trials[0].duration is not None
    assert trials[0].duration.total_seconds() == 60


def test_a_mirror_is_brought_in_line_and_never_has_a_trial_twice(storage: str, tmp_path: Path) -> None:
    """Whatever is missing, in one connection or a new one, after a run that ended in the middle of anything."""
    name = f"line-{tmp_path.name}"
    going = RestoredTrial(number=1, proposal=proposal(), outcome=None, reports={1: 0.8})
    started = study(tmp_path, record(0), unfinished=(going,), running=(1,))
    finished = study(tmp_path, record(0), record(1), record(2))
    with closing_mirror(connected(storage, tmp_path)) as mirror:
        mirror.bring_in_line(picture_of(started, name=name))
        mirror.bring_in_line(picture_of(evolve(started, running=()), name=name))
        assert [trial.state.name for trial in shown(storage, tmp_path, name)] == ["COMPLETE", "WAITING"]
        mirror.bring_in_line(picture_of(finished, name=name))
    for _ in range(2):
        trials = shown(storage, tmp_path, name)
        assert [(t.number, t.user_attrs["trial"], t.state.name) for t in trials] == [
            (0, 0, "COMPLETE"),
            (1, 1, "COMPLETE"),
            (2, 2, "COMPLETE"),
        ]
        assert trials[1].intermediate_values == {1: 0.8, 2: 0.7}
        assert trials[1].user_attrs["hash"] == "hash-1"
        brought_in_line(storage, finished, name=name)


def test_g09_a_trial_that_predicts_a_constant_is_not_the_best_one_of_a_mirror(storage: str, tmp_path: Path) -> None:
    """Its value is there, and breaks a constraint, whether the mirror saw it run or not."""
    name = f"constant-{tmp_path.name}"
    flags = [{"guard": "G09", "kind": "collapsed", "text": "predicts a constant"}]
    constant, other = evolve(record(0), flags=flags), evolve(record(1), value=0.1, flags=flags)
    going = RestoredTrial(number=1, proposal=proposal(), outcome=None)
    brought_in_line(storage, study(tmp_path, constant, unfinished=(going,), running=(1,)), name=name)
    brought_in_line(storage, study(tmp_path, constant, other, record(2)), name=name)
    reader = open_storage(storage, tmp_path, repair=False)
    try:
        found = load_study(study_name=name, storage=reader)
        assert [trial.value for trial in found.trials] == [0.5, 0.1, 0.52]
        assert found.best_trial.number == 2
    finally:
        close_storage(reader)


def test_g34_choices_that_change_do_not_break_a_mirror(storage: str, tmp_path: Path) -> None:
    """A study that goes on with other choices is filled anew, with the values of the earlier trials among them."""
    name = f"choices-{tmp_path.name}"
    brought_in_line(storage, study(tmp_path, record(0)), name=name)
    view = study(tmp_path, record(0), record(1, epochs=20, rate=0.5), choices=(10, 20))
    brought_in_line(storage, view, name=name)
    assert [trial.params["epochs"] for trial in shown(storage, tmp_path, name)] == [50, 20]
    assert [trial.params["rate"] for trial in shown(storage, tmp_path, name)] == [1e-3, 0.5]


def test_another_study_of_the_same_name_is_left_alone(storage: str, tmp_path: Path) -> None:
    """Nothing of it is changed or deleted, and the message says what to do."""
    name = f"foreign-{tmp_path.name}"
    brought_in_line(storage, study(tmp_path, record(0), record(1)), name=name)
    other = study(tmp_path, evolve(record(0), hash="another"), choices=(1, 2))
    with pytest.raises(ForeignStudyError) as refusal:
        brought_in_line(storage, other, name=name)
    assert str(refusal.value) == (
        f"it holds another study of the name '{name}' (its trial 0 is none of this study); nothing of it is touched. "
        "Give another `study_name`, another `storage`, or delete it"
    )
    assert len(shown(storage, tmp_path, name)) == 2


@pytest.mark.parametrize("storage", ["journal", "sqlite:///study.db"])
def test_a_mirror_that_was_deleted_is_made_again(storage: str, tmp_path: Path) -> None:
    """Also while it is open: writing to a deleted file would succeed, and nobody would see it."""
    with closing_mirror(connected(storage, tmp_path)) as mirror:
        mirror.bring_in_line(picture_of(study(tmp_path, record(0)), name="mirrored"))
        file = storage_file(storage, tmp_path)
        assert file is not None
        file.unlink()
        mirror.bring_in_line(picture_of(study(tmp_path, record(0), record(1)), name="mirrored"))
    assert len(shown(storage, tmp_path)) == 2


def test_a_torn_line_of_an_optuna_journal_is_set_aside(tmp_path: Path) -> None:
    """What Optuna 5 cannot open after a power cut or a full disk is mended, and the lost operation made up for."""
    view = study(tmp_path, record(0), record(1))
    brought_in_line("journal", view)
    file = tmp_path / "optuna.journal"
    file.write_bytes(file.read_bytes()[:-40])
    brought_in_line("journal", view)
    assert [trial.user_attrs["trial"] for trial in shown("journal", tmp_path)] == [0, 1]
    assert (tmp_path / "optuna.journal.torn-0").exists()


def full(folder: Path) -> BaseStorage:
    """SQLite that may not grow any more: it says what it says on a full disk."""
    storage = RDBStorage(f"sqlite:///{folder / 'study.db'}")

    def limit(connection: Any, _: Any) -> None:
        connection.execute("PRAGMA max_page_count = 1")

    event.listen(storage.engine, "connect", limit)
    storage.engine.dispose()
    return storage


def locked(folder: Path) -> BaseStorage:
    """SQLite that waits a tenth of a second for a lock."""
    return RDBStorage(f"sqlite:///{folder / 'study.db'}", engine_kwargs={"connect_args": {"timeout": 0.1}})


@pytest.mark.parametrize("trouble", ["locked", "full"])
def test_a_mirror_goes_on_after_trouble(trouble: str, tmp_path: Path) -> None:
    """What raised does not stay behind: the next call writes all that is missing, once."""
    view = study(tmp_path, *(record(number) for number in range(40)))
    brought_in_line("sqlite:///study.db", study(tmp_path, record(0)))
    with closing(sqlite3.connect(tmp_path / "study.db")) as other:
        if trouble == "locked":
            other.execute("BEGIN EXCLUSIVE")
        connect: Callable[[], BaseStorage] = partial(locked if trouble == "locked" else full, tmp_path)
        with (
            pytest.raises((StorageInternalError, OperationalError)) as raised,
            closing_mirror(Mirror(connect)) as mirror,
        ):
            mirror.bring_in_line(picture_of(view, name="mirrored"))
    assert reason_of(raised.value) == {"locked": "database is locked", "full": "database or disk is full"}[trouble]
    brought_in_line("sqlite:///study.db", view)
    assert [trial.user_attrs["trial"] for trial in shown("sqlite:///study.db", tmp_path)] == list(range(40))


def test_a_logger_whose_storage_fails_warns_once_and_makes_up_for_it(tmp_path: Path) -> None:
    """The study goes on without it; the next run, with the cause gone, finds everything in line."""
    options = MirrorOptions(storage="sqlite:///there/study.db")
    for run in range(2):
        logger = MirrorLogger(options, LoggerContext(folder=tmp_path))
        logger.study_started(study(tmp_path))
        logger.trial_started(0, proposal(), study(tmp_path, running=(0,)))
        logger.epoch(0, {"epoch": 1, "val_loss": 0.8})
        logger.trial_finished(record(0), study(tmp_path, record(0)))
        logger.study_finished(study(tmp_path, record(0)))
        remarks = logger.take_remarks()
        logger.close()
        if run == 0:
            assert [level for level, _ in remarks] == ["warning", "warning"]
            assert remarks[0][1] == (
                "mirror sqlite:///there/study.db cannot be written: unable to open database file; the study goes on "
                "without it, and it is brought in line when that works again"
            )
            assert remarks[1][1] == "mirror sqlite:///there/study.db is behind; the next run brings it in line"
            (tmp_path / "there").mkdir()
    assert remarks == []
    (trial,) = shown("sqlite:///there/study.db", tmp_path)
    assert (trial.state, trial.intermediate_values) == (OptunaState.COMPLETE, {1: 0.8, 2: 0.7})


def test_a_database_lies_where_its_path_says_whatever_it_is_called(tmp_path: Path) -> None:
    """What has a meaning in a URL or for Optuna has none in the name of a folder: nothing is made beside it."""
    folder = tmp_path / "what? #1 100% %41 {x} \u00fc"
    folder.mkdir()
    brought_in_line("sqlite:///mirrors of %42.db", study(folder, record(0)))
    made = {str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*.db")}
    assert made == {f"{folder.name}/mirrors of %42.db"}
    assert [one.name for one in tmp_path.iterdir()] == [folder.name]
    assert [trial.user_attrs["trial"] for trial in shown("sqlite:///mirrors of %42.db", folder)] == [0]


@pytest.mark.parametrize(
    ("storage", "message"),
    [
        ("sqlite:///what?.db", "a URL ends its path at `?`, got text 'sqlite:///what?.db'; give a path without it"),
        ("sqlite:///~/a.db", "`~` is not replaced here, got text 'sqlite:///~/a.db'; write the path itself"),
        ("journal:~/a.log", "`~` is not replaced here, got text 'journal:~/a.log'; write the path itself"),
        (
            "journal:$HOME/a.log",
            "variables such as $HOME are not replaced in paths, got text 'journal:$HOME/a.log'; write the path itself, "
            "or give this key on the command line without single quotes, where the shell replaces the variable",
        ),
    ],
)
def test_a_storage_that_would_lie_elsewhere_is_refused(storage: str, message: str) -> None:
    """The path is taken as it is written, and must survive as a part of a URL."""
    from scalecore.api.errors import ExperimentError
    from scalecore.config.standalone import standalone_options

    with pytest.raises(ExperimentError) as caught:
        standalone_options(MirrorOptions, [f"storage={storage}"])
    assert str(caught.value) == f"<command line>: storage={storage}: {message}"


def test_a_password_in_the_experiment_is_refused() -> None:
    """It would be stored with the study; the libraries of PostgreSQL have better places."""
    from scalecore.config.bounds import bounds_of

    (pattern,) = bounds_of(MirrorOptions.__annotations__["storage"])
    import re

    fits = partial(re.fullmatch, pattern.regex)
    assert not fits("postgresql://me:secret@host/db")
    assert not fits("postgresql://me@host/db?password=secret")
    assert not fits("mysql://host/db")
    for storage in (
        "journal",
        "journal:a.log",
        "sqlite:///a.db",
        "postgresql://me@host:5432/db",
        "postgresql://host/db",
    ):
        assert fits(storage), storage
