"""Logger `wandb`, read back with W&B's reader of run files."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import wandb
from attrs import evolve

from scalecore.api.errors import StudyError
from scalecore.api.logger import LoggerContext
from scalecore.api.trials import Origin, StudyView
from scalecore.testing.fakes import make_study
from scalecore_trackers.options import WandbOptions
from scalecore_trackers.wandb_logger import WandbLogger

from .conftest import curve, follow, record, started, whole


def logger_of(study: StudyView, **options: Any) -> WandbLogger:
    return WandbLogger(WandbOptions(**options), LoggerContext(folder=study.folder))


def folders(study: StudyView) -> dict[int, Path]:
    """The single folder of each trial's run."""
    found = sorted(study.folder.glob("wandb/*run-*"))
    by_number = {int(path.name.rpartition("-")[2]): path for path in found}
    assert len(by_number) == len(found)
    return by_number


def inspected(folder: Path, *options: str) -> str:
    """The content of a run's file, by W&B's reader."""
    command = [sys.executable, "-m", "wandb", "leet", "inspect", "--json", *options, str(folder)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def summary(folder: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(inspected(folder, "--summary"))
    return found


def history(folder: Path) -> list[tuple[int, float]]:
    lines = [json.loads(line) for line in inspected(folder).splitlines()]
    rows = [line["history"] for line in lines if line["type"] == "history"]
    return [(row["step"]["num"], row["item"]["val_loss"]) for row in rows]


def group(folder: Path) -> str:
    lines = [json.loads(line) for line in inspected(folder).splitlines()]
    (run,) = [line["run"] for line in lines if line["type"] == "run"]
    return str(run["run_group"])


def test_a_study_is_a_group_with_one_run_a_trial(tmp_path: Path) -> None:
    """Offline, each run's files contain values by epoch, configuration and summary."""
    study = make_study(tmp_path)
    logger = logger_of(study, project="budgets")
    logger.study_started(study)
    first = record(0, 0.7, origin=Origin(kind="forced", label="width:min"), flags=[{"guard": "G09"}])
    study = follow(logger, study, first, record(1, None, reason="exit code -11"))
    logger.study_finished(study)
    found = folders(study)
    assert sorted(found) == [0, 1]
    assert history(found[0]) == [(1, 0.89), (2, 0.88), (3, 0.87)]
    assert group(found[0]) == "walk"
    told = summary(found[0])
    assert (told["name"], told["project"], told["state"], told["exit_code"]) == ("trial_0000", "budgets", "finished", 0)
    config = told["config"]
    assert {name: config[name] for name in ("width", "depth", "num_parameters", "learning_rate")} == {
        "width": 8, "depth": 1, "num_parameters": 824, "learning_rate": 1e-3
    }  # fmt: skip
    assert (config["study"]["trial"], config["study"]["label"]) == (0, "width:min")
    assert (told["summary"]["value"], told["summary"]["best/epoch"], told["summary"]["state"]) == (0.7, 3, "completed")
    assert told["summary"]["flags"] == ["G09"]
    failed = summary(found[1])
    assert (failed["exit_code"], failed["summary"]["reason"]) == (1, "exit code -11")
    assert "value" not in failed["summary"]


def test_a_resumed_study_has_one_run_a_trial(tmp_path: Path) -> None:
    """Complete runs do not change; an interrupted trial's run is replaced by its whole curve."""
    study = make_study(tmp_path, [record(0, 0.7)])
    trial = record(1, 0.6, epochs=4)
    logger = logger_of(study)
    logger.study_finished(started(logger, study, trial, curve(2)))
    assert history(folders(study)[1]) == [(1, 0.89), (2, 0.88)]
    before = {number: path / "scalecore.json" for number, path in folders(study).items()}
    assert [path.exists() for path in before.values()] == [True, False]
    stamp = before[0].stat().st_mtime_ns

    logger = logger_of(study)
    view = started(logger, study, trial, curve(2, start=3))
    study = evolve(view, trials=(*study.trials, trial))
    logger.trial_finished(trial, study)
    logger.study_finished(study)
    assert before[0].stat().st_mtime_ns == stamp
    assert history(folders(study)[1]) == [(1, 0.89), (2, 0.88), (3, 0.87), (4, 0.86)]
    assert whole(logger_of(study), study) == []
    assert before[0].stat().st_mtime_ns == stamp


def test_an_epoch_that_was_trained_twice_is_shown_as_in_the_record(tmp_path: Path) -> None:
    """An attempt that resumed from an earlier checkpoint repeated it; the record has the second one."""
    study, trial = make_study(tmp_path), record(0, 0.6)
    logger = logger_of(study)
    study = started(logger, study, trial, [{**line, "val_loss": 0.5} for line in curve(2)])
    study = evolve(study, trials=(trial,))
    logger.trial_finished(trial, study)
    logger.study_finished(study)
    assert history(folders(study)[0]) == [(1, 0.89), (2, 0.88), (3, 0.87)]


@pytest.fixture
def address() -> Iterator[str]:
    """A server that accepts connections without a response."""
    with socket.create_server(("127.0.0.1", 0)) as silent:
        yield f"http://127.0.0.1:{silent.getsockname()[1]}"


@pytest.mark.parametrize("silent", [False, True])
def test_online_a_server_that_cannot_be_reached_is_one_error(
    silent: bool, address: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Nothing listens, or nothing responds; offline the same study is still written."""
    monkeypatch.setenv("WANDB_BASE_URL", address if silent else "http://127.0.0.1:9")
    monkeypatch.setenv("WANDB_API_KEY", "0" * 40)
    monkeypatch.setattr("scalecore_trackers.wandb_logger.SECONDS", 2)
    wandb.teardown()  # it reads the environment once in a process
    study = make_study(tmp_path, [record(0, 0.7)])
    logger = logger_of(study, mode="online")
    with pytest.raises(StudyError, match=r"\AW&B: .+\Z"):
        logger.study_started(study)
    logger.close()
    assert whole(logger_of(study), study) == []
    (offline,) = study.folder.glob("wandb/offline-run-*")
    assert len(history(offline)) == 3
