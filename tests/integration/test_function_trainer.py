"""Studies of the trainer `function`: killed, stopped, with two slots, and commands after the search."""

from __future__ import annotations

import os
import signal
from pathlib import Path
from typing import Any

import pytest

from scalecore.testing.function_files import MODEL, TRAIN

from .conftest import Study, output_of


def function_study(root: Path, bars: Path, *, train: str = TRAIN, **training: Any) -> Study:
    """A study of three trials in numpy, in a new folder."""
    root.mkdir()
    (root / "flat.py").write_text(MODEL)
    (root / "train.py").write_text(train)
    dataset = {
        "use": "parquet",
        "path": str(bars),
        "features": ["Close"],
        "target": {"kind": "direction"},
        "context": 4,
    }
    given = {"use": "function", "target": "./train.py:train", "threads": 1, "hyperparameters": {"epochs": 6}}
    experiment = {
        "name": "fun",
        "plugins": ["./flat.py"],
        "dataset": dataset,
        "model": "flat",
        "search": {"use": "random", "trials": 3, "space": {"learning_rate": {"log_uniform": [1e-3, 1e-1]}}},
        "training": {**given, "early_stopping": None, **training},
        "monitors": [{"use": "memory", "min_free_gb": 0, "warn_free_gb": 0}],
    }
    return Study(root, experiment)


def curves(study: Study) -> dict[int, list[float]]:
    """Validation losses by trial, which must not depend on interruptions."""
    return {
        number: [line["val_loss"] for line in record["learning_curve"]] for number, record in study.finished().items()
    }


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory, bars: Path) -> Study:
    """An uninterrupted study."""
    study = function_study(tmp_path_factory.mktemp("whole") / "study", bars)
    study.run()
    return study


def test_a_study_trains_monitors_and_reports(whole: Study) -> None:
    """It has records, predictions and memory like any study, and `verify` finds nothing wrong."""
    for record in whole.finished().values():
        assert record["state"] == "completed"
        assert record["value"] == min(curves(whole)[record["number"]])
        assert record["loss"] == {"kind": "train.py:train"}
        assert len(record["versions"]["train.py"]) == 12
        assert record["memory"]["measured"] > 0
        assert record["memory"]["limit"] is not None
        assert (whole.folder / record["predictions"]["file"]).is_file()
    sources = [record["memory"]["source"] for _, record in sorted(whole.finished().items())]
    assert sources == ["training.memory_gb", "measured", "measured"]
    whole.cli("verify", str(whole.folder))
    assert "best: val_loss" in whole.cli("status", str(whole.folder)).stdout
    whole.cli("plan", str(whole.file))
    whole.cli("report", str(whole.folder))


def test_a_killed_trial_continues_from_its_checkpoint(tmp_path: Path, bars: Path, whole: Study) -> None:
    """After kill -9 during training, its learning curve is the same."""
    study = function_study(tmp_path / "killed", bars, checkpoint_epochs=1)
    study.hold("trial_0000/attempt_0/epochs.jsonl", beside=["checkpoint_2.own"])
    process = study.start()
    os.kill(study.held("trial_0000/attempt_0/epochs.jsonl"), signal.SIGKILL)
    assert "resuming from its last checkpoint" in output_of(process)
    assert curves(study) == curves(whole)
    assert study.finished()[0]["resumptions"] == 1
    study.cli("verify", str(study.folder))


def test_a_stopped_study_continues_two_at_a_time(tmp_path: Path, bars: Path, whole: Study) -> None:
    """Each trial ends as if it had not been stopped."""
    study = function_study(tmp_path / "stopped", bars)
    study.experiment["execution"] = {"slots": 2}
    study.hold("trial_0001/attempt_0/epochs.jsonl")
    process = study.start()
    held = study.held("trial_0001/attempt_0/epochs.jsonl")
    study.cli("stop", str(study.folder), code=None)
    os.kill(held, signal.SIGCONT)
    output_of(process, code=7)
    study.run()
    assert curves(study) == curves(whole)
    study.cli("verify", str(study.folder))


def test_commands_that_need_weights_are_refused(whole: Study) -> None:
    """They end before training and name an alternative; a confirmation on validation data needs no weights."""
    evaluated = whole.cli("evaluate", str(whole.folder), code=5)
    assert evaluated.stderr.strip() == (
        f"{whole.folder}: evaluate needs the weights of a model, but trainer 'function' stores none; `scalecore "
        "confirm` compares the best trials on validation data"
    )
    assert "confirm --test needs the weights" in whole.cli("confirm", str(whole.folder), "--test", code=5).stderr
    confirmed = whole.cli("confirm", str(whole.folder), "--top", "1", "--seeds", "2")
    assert "trial" in confirmed.stdout
    whole.cli("verify", str(whole.folder))


def test_a_trial_without_checkpoints_restarts(tmp_path: Path, bars: Path) -> None:
    """Killed, it trains from the start; without `epochs` the function decides when it ends."""
    train = """
def train(trial):
    rate = trial.hyperparameters["learning_rate"]
    for epoch in range(5):
        yield {"val_loss": rate / (epoch + 1)}
"""
    study = function_study(tmp_path / "plain", bars, train=train, hyperparameters={})
    study.hold("trial_0000/attempt_0/epochs.jsonl")
    process = study.start()
    os.kill(study.held("trial_0000/attempt_0/epochs.jsonl"), signal.SIGKILL)
    output_of(process)
    record = study.finished()[0]
    assert (record["state"], len(record["learning_curve"]), record["resumptions"]) == ("completed", 5, 0)
    study.cli("status", str(study.folder))
    study.cli("plan", str(study.file))
