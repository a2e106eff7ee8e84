"""The logger on real storages: SQLite, an Optuna journal, and PostgreSQL if a server can be started."""

from __future__ import annotations

import os
import pwd
import shutil
import signal
import sqlite3
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy
from attrs import evolve
from optuna import create_study, load_study
from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.study import Study
from optuna.trial import FrozenTrial, create_trial
from optuna.trial import TrialState as OptunaState

from scalecore.api.errors import RefusedError, StudyError
from scalecore.api.logger import LoggerContext
from scalecore.api.record_parts import EpochResult, Flag
from scalecore.api.space import Architecture
from scalecore.api.trials import Origin, StudyView, TrialRecord, TrialState
from scalecore.plugins.registry import load_registry
from scalecore.testing.logger import LoggerContract
from scalecore.testing.plans import make_plan
from scalecore_optuna.logger import OptunaLogger
from scalecore_optuna.options import OptunaOptions
from scalecore_optuna.storages import open_storage

SHAPE = Architecture(values={"width": 64, "depth": 2}, num_parameters=4_096, flops=8_192)


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
        hyperparameters={"rate": 1e-3, "epochs": 50, "dropout": 0.1, **values},
        started="2026-01-01T00:00:00.000Z",
        ended="2026-01-01T00:01:00.000Z",
        duration=60.0,
        best=EpochResult(epoch=2, metrics={"accuracy": 0.7}),
        learning_curve=[{"epoch": epoch, "val_loss": 0.9 - epoch / 10} for epoch in (1, 2)],
    )


def study(folder: Path, *records: TrialRecord, choices: tuple[int, ...] = (50, 75), **changes: Any) -> StudyView:
    space = {"rate": {"log_uniform": [1e-4, 1e-2]}, "epochs": {"choice": list(choices)}}
    return StudyView(
        name="walk",
        folder=folder,
        experiment={"search": {"space": space}, "objective": {"metric": "val_loss", "direction": "minimize"}},
        plan=make_plan(
            architectures={"dimensions": {"width": [32, 64], "depth": [1, 2, 4]}, "architectures": []}, space=space
        ),
        total=5,
        trials=records,
        **changes,
    )


@pytest.fixture(scope="module")
def postgresql() -> Iterator[str]:
    """A separate server from the system's packages, run as user `postgres` because it refuses to run as root."""
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
                assert time.monotonic() < deadline, "the server does not respond"
                time.sleep(0.1)
        yield f"postgresql://me@/postgres?host={root}"
    finally:
        server.send_signal(signal.SIGINT)  # SIGTERM would wait for every client
        server.wait(timeout=60)
        shutil.rmtree(root)


@pytest.fixture(params=["journal", "sqlite", "postgresql"])
def storage(request: pytest.FixtureRequest) -> str:
    """A value of the option `storage` of each kind."""
    kinds = {"journal": "journal", "sqlite": "sqlite:///study.db"}
    return kinds.get(request.param) or str(request.getfixturevalue("postgresql"))


def run(storage: str, view: StudyView, *later: StudyView, name: str | None = None) -> None:
    """The logger in one run that starts with a study and adds a trial in each of `later`."""
    logger = OptunaLogger(OptunaOptions(storage=storage, study_name=name), LoggerContext(folder=view.folder))
    try:
        logger.study_started(view)
        for one in later:
            logger.trial_finished(one.trials[-1], one)
        logger.study_finished(later[-1] if later else view)
    finally:
        logger.close()


@contextmanager
def loaded(storage: str, folder: Path, name: str = "walk") -> Iterator[Study]:
    """The study as another program reads it."""
    with open_storage(storage, folder) as reader:
        yield load_study(study_name=name, storage=reader)


def stored(storage: str, folder: Path, name: str = "walk") -> list[FrozenTrial]:
    with loaded(storage, folder, name) as found:
        return found.trials


class TestContract(LoggerContract):
    @pytest.fixture
    def make(self) -> Any:
        logger = load_registry().get("logger", "optuna").record
        return lambda context: logger.factory(OptunaOptions(), context)


def test_g20_every_finished_trial_is_there_with_its_architecture(storage: str, tmp_path: Path) -> None:
    """States, values, learning curves, origins and reasons are stored; an end without a value is a failure (G35)."""
    records = record(0), record(1, state=TrialState.PRUNED), record(2, state=TrialState.DIVERGED)
    name = f"shown-{tmp_path.name}"
    run(storage, study(tmp_path, *records), name=name)
    with loaded(storage, tmp_path, name) as found:
        assert found.best_trial.number == 0
        assert found.best_params == {"width": 64, "depth": 2, "rate": 1e-3, "epochs": 50}
        assert found.metric_names == ["val_loss"]
        trials = found.trials
    assert [trial.state for trial in trials] == [OptunaState.COMPLETE, OptunaState.PRUNED, OptunaState.FAIL]
    assert [trial.value for trial in trials] == [0.5, 0.51, None]
    for trial in trials:
        assert trial.distributions == {
            "width": IntDistribution(32, 64, log=True),
            "depth": IntDistribution(1, 4, log=True),
            "rate": FloatDistribution(1e-4, 1e-2, log=True),
            "epochs": CategoricalDistribution((50, 75)),
        }
        assert trial.intermediate_values == {1: 0.8, 2: 0.7}
        assert trial.duration is not None
        assert trial.duration.total_seconds() == 60
    told = trials[2].user_attrs
    assert (told["trial"], told["hash"], told["origin"], told["parameters"]) == (2, "hash-2", "redirected", 4_096)
    assert (told["state"], told["ended because"], told["moved from"]) == ("diverged", "it broke", {"width": 32})
    assert told["all hyperparameters"]["dropout"] == 0.1


def test_a_trial_is_added_when_it_ends_and_never_twice(storage: str, tmp_path: Path) -> None:
    """By a run that saw its end, by a run that starts later, and by one that does both."""
    name = f"once-{tmp_path.name}"
    views = [study(tmp_path, *map(record, range(count)), id="this") for count in range(5)]
    run(storage, views[0], views[1], name=name)
    run(storage, views[3], name=name)
    for _ in range(2):  # the second one knows less than is there, as beside an export
        run(storage, views[3], views[3], views[4], name=name)
        trials = stored(storage, tmp_path, name)
        assert [(t.number, t.user_attrs["trial"], t.user_attrs["hash"]) for t in trials] == [
            (number, number, f"hash-{number}") for number in range(4)
        ]


def test_g09_a_trial_that_predicts_a_constant_is_not_the_best_one(storage: str, tmp_path: Path) -> None:
    """Its value is stored, with a violated constraint."""
    name = f"constant-{tmp_path.name}"
    constant = evolve(record(0), flags=[Flag(guard="G09", kind="collapsed", text="predicts a constant")])
    run(storage, study(tmp_path, constant, record(1)), name=name)
    with loaded(storage, tmp_path, name) as found:
        assert [trial.value for trial in found.trials] == [0.5, 0.51]
        assert found.best_trial.number == 1


def test_g34_a_study_that_is_continued_with_another_grid_and_space(storage: str, tmp_path: Path) -> None:
    """Ranges are widened.

    A storage refuses other choices: the value becomes an attribute; under another name all become parameters.
    """
    name = f"changed-{tmp_path.name}"
    run(storage, study(tmp_path, record(0)), name=name)
    large = evolve(SHAPE, values={"width": 512, "depth": 2})
    later = evolve(record(1, epochs=20, rate=0.5), architecture=large)
    view = study(tmp_path, record(0), later, choices=(10, 20))
    run(storage, view, name=name)
    first, second = stored(storage, tmp_path, name)
    assert first.params == {"width": 64, "depth": 2, "rate": 1e-3, "epochs": 50}
    assert second.params == {"width": 512, "depth": 2, "rate": 0.5}
    assert second.distributions["width"] == IntDistribution(32, 512, log=True)
    assert second.distributions["rate"] == FloatDistribution(1e-4, 0.5, log=True)
    assert second.user_attrs["all hyperparameters"]["epochs"] == 20
    run(storage, view, name=f"{name}-anew")
    assert [trial.params["epochs"] for trial in stored(storage, tmp_path, f"{name}-anew")] == [50, 20]


def test_another_study_of_the_same_name_is_left_alone(storage: str, tmp_path: Path) -> None:
    """It is neither changed nor deleted, and the message contains a remedy."""
    name = f"foreign-{tmp_path.name}"
    run(storage, study(tmp_path, record(0), record(1)), name=name)
    with pytest.raises(RefusedError) as refusal:
        run(storage, study(tmp_path, evolve(record(0), hash="another")), name=name)
    assert str(refusal.value) == (
        f"{storage} contains another study named '{name}' (its trial 0 is not in this study); it was not changed. "
        "Use another `study_name` or `storage`"
    )
    assert len(stored(storage, tmp_path, name)) == 2


def test_a_study_of_another_program_is_left_alone(tmp_path: Path) -> None:
    """A study that scalecore did not write."""
    own = create_study(study_name="walk", storage=f"sqlite:///{tmp_path}/study.db")
    own.add_trial(create_trial(value=1.0))
    with pytest.raises(RefusedError, match="another study named 'walk'"):
        run("sqlite:///study.db", study(tmp_path, record(0)))
    assert len(stored("sqlite:///study.db", tmp_path)) == 1


def test_an_empty_study_of_the_other_direction_is_left_alone(tmp_path: Path) -> None:
    """Its best trial would be the worst one."""
    create_study(study_name="walk", storage=f"sqlite:///{tmp_path}/study.db", direction="maximize")
    with pytest.raises(RefusedError) as refusal:
        run("sqlite:///study.db", study(tmp_path, record(0)))
    assert str(refusal.value) == (
        "sqlite:///study.db contains a study named 'walk' that does not minimize; it was not changed. Use another "
        "`study_name` or `storage`"
    )


def test_a_storage_of_version_0_1_is_continued(storage: str, tmp_path: Path) -> None:
    """Finished trials stay, with their wide ranges. A running trial is marked as failed, and added when it ends."""
    name = f"old-{tmp_path.name}"
    with open_storage(storage, tmp_path) as file:
        old = create_study(study_name=name, storage=file)
        params = {"width": 64, "rate": 1e-3}
        wide = {"width": IntDistribution(1, 65_536, log=True), "rate": FloatDistribution(1e-4, 1e-2, log=True)}
        old.add_trial(
            create_trial(params=params, distributions=wide, value=0.5, user_attrs={"trial": 0, "hash": "hash-0"})
        )
        for state in (OptunaState.RUNNING, OptunaState.WAITING):
            number = {"trial": 1 if state is OptunaState.RUNNING else 2}
            old.add_trial(create_trial(state=state, params=params, distributions=wide, user_attrs=number))
    for _ in range(2):
        run(storage, study(tmp_path, record(0), record(1)), name=name)
        trials = stored(storage, tmp_path, name)
        assert [trial.state.name for trial in trials] == ["COMPLETE", "FAIL", "WAITING", "COMPLETE"]
        assert trials[3].user_attrs["hash"] == "hash-1"
        assert trials[3].distributions["width"] == wide["width"]


def test_a_torn_line_of_an_optuna_journal_is_set_aside(tmp_path: Path) -> None:
    """Optuna 5 cannot open such a journal after a power cut or a full disk.

    It is repaired, and the lost trial added again.
    """
    view = study(tmp_path, record(0), record(1))
    run("journal", view)
    file = tmp_path / "optuna.journal"
    file.write_bytes(file.read_bytes()[:-40])
    run("journal", view)
    assert [trial.user_attrs["trial"] for trial in stored("journal", tmp_path)] == [0, 1]
    assert (tmp_path / "optuna.journal.torn-0").exists()
    assert not (tmp_path / "optuna.journal.lock").exists()


def test_after_a_failure_a_new_logger_adds_missing_trials(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A database that was locked beyond the timeout has every trial once in the end."""
    monkeypatch.setattr("scalecore_optuna.storages.SECONDS", 0.1)
    view = study(tmp_path, *map(record, range(40)))
    run("sqlite:///study.db", study(tmp_path, record(0)))
    with closing(sqlite3.connect(tmp_path / "study.db")) as other:
        other.execute("BEGIN EXCLUSIVE")
        with pytest.raises(StudyError, match=r"^sqlite:///study\.db cannot be used: database is locked$"):
            run("sqlite:///study.db", view)
    run("sqlite:///study.db", view)
    assert [trial.user_attrs["trial"] for trial in stored("sqlite:///study.db", tmp_path)] == list(range(40))


def test_a_database_has_the_path_of_its_option(tmp_path: Path) -> None:
    """Special characters of URLs and Optuna are plain characters of the path, and no other file is created."""
    if not sqlalchemy.__version__.startswith("2.1"):
        pytest.skip("SQLAlchemy before 2.1 reads such a path out of no URL: it is refused")
    folder = tmp_path / "what? #1 100% %41 {x} \u00fc"
    folder.mkdir()
    run("sqlite:///trials of %42.db", study(folder, record(0)))
    made = {str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*.db")}
    assert made == {f"{folder.name}/trials of %42.db"}
    assert [one.name for one in tmp_path.iterdir()] == [folder.name]
    assert [trial.user_attrs["trial"] for trial in stored("sqlite:///trials of %42.db", folder)] == [0]


@pytest.mark.parametrize(
    ("storage", "message"),
    [
        ("sqlite:///what?.db", "`?` ends the path of a URL, got string 'sqlite:///what?.db'; use a path without `?`"),
        ("sqlite:///~/a.db", "`~` is not expanded here, got string 'sqlite:///~/a.db'; write the path itself"),
        ("journal:~/a.log", "`~` is not expanded here, got string 'journal:~/a.log'; write the path itself"),
        (
            "journal:$HOME/a.log",
            "variables such as $HOME are not expanded in paths, got string 'journal:$HOME/a.log'; write the path "
            "itself, or set this key on the command line without single quotes, where the shell expands the variable",
        ),
    ],
)
def test_a_storage_that_would_lie_elsewhere_is_refused(storage: str, message: str) -> None:
    """The path is used verbatim and must be representable in a URL."""
    from scalecore.api.errors import ExperimentError
    from scalecore.config.standalone import standalone_options

    with pytest.raises(ExperimentError) as caught:
        standalone_options(OptunaOptions, [f"storage={storage}"])
    assert str(caught.value) == f"<command line>: storage={storage}: {message}"


def test_a_password_in_the_experiment_is_refused() -> None:
    """It would be stored with the study; PostgreSQL's libraries offer better places."""
    from scalecore.config.constraints import bounds_of

    (pattern,) = bounds_of(OptunaOptions.__annotations__["storage"])
    import re

    fits = partial(re.fullmatch, pattern.regex)
    assert not fits("postgresql://me:secret@host/db")
    assert not fits("postgresql://me@host/db?password=secret")
    assert not fits("mysql+pymysql://me:secret@host/db")
    for storage in ("sqlite://", "sqlite:a.db", "memory", "journal://me@host/a.log"):
        assert not fits(storage) or storage.startswith("journal:"), storage
    for storage in (
        "journal",
        "journal:a.log",
        "sqlite:///a.db",
        "postgresql://me@host:5432/db",
        "postgresql://host/db",
        "mysql+pymysql://me@host/db",
    ):
        assert fits(storage), storage


def test_check_reports_a_missing_driver_of_a_server() -> None:
    """Like any extra; files need none."""
    needs = load_registry().get("logger", "optuna").record.needs
    assert needs is not None
    assert needs(OptunaOptions(storage="postgresql://me@host/db")) == {"psycopg": "scalecore-optuna[postgresql]"}
    for storage in ("journal", "sqlite:///a.db", "mysql+pymysql://me@host/db"):
        assert needs(OptunaOptions(storage=storage)) == {}
