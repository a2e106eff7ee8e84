"""Evaluation retrains a trial; only it opens test data, and each opening is counted."""

from __future__ import annotations

import hashlib
import os
import shutil
import signal
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from attrs import evolve
from click.testing import CliRunner, Result

from scalecore.api.analysis import TrainingContext
from scalecore.api.components import ExecutorRecord
from scalecore.api.executor import AttemptStatus
from scalecore.api.files import read_json, write_json
from scalecore.api.trials import FIRST_RETRAINED
from scalecore.cli.main import main
from scalecore.data.predictions import read_predictions
from scalecore.execution.local.executor import LocalExecutor, LocalHandle
from scalecore.execution.local.options import LocalOptions
from scalecore.store.layout import find_study
from scalecore.study.measure import EvaluationStopped
from scalecore.study.open_study import open_study
from scalecore_promotion.evaluate import Evaluated, EvaluationRequest
from scalecore_promotion.evaluate import evaluate as evaluate_trial

from .conftest import Study, kill, output_of, tiny_experiment


def small(bars: Path) -> dict[str, Any]:
    """Two trials of a random search, none of them forced."""
    experiment = tiny_experiment(bars)
    experiment["search"] = {
        "use": "random",
        "budget": 4000,
        "tolerance": 0.6,
        "trials": 2,
        "space": experiment["search"]["space"],
    }
    experiment["loggers"] = ["console", "csv"]
    return experiment


@pytest.fixture(scope="module")
def finished(bars: Path, tmp_path_factory: pytest.TempPathFactory) -> Study:
    """A finished study; tests change only the copy `mine`."""
    study = Study(tmp_path_factory.mktemp("finished"), small(bars))
    study.run()
    return study


@pytest.fixture
def mine(finished: Study, tmp_path: Path) -> Study:
    """A copy of the finished study."""
    return copied(finished, tmp_path / "copy")


def copied(study: Study, root: Path) -> Study:
    shutil.copytree(study.root, root)
    return Study(root, study.experiment)


def evaluate(study: Study, *arguments: str) -> Result:
    return CliRunner().invoke(main, ["evaluate", str(study.folder), *arguments])


def openings(study: Study) -> list[dict[str, Any]]:
    return [event for event in study.events() if event["event"] == "test_opened"]


def break_test_data(folder: Path) -> None:
    """Write test windows that end after the last row, in a folder that still counts as complete."""
    path = folder / "test.npy"
    np.save(path, np.full_like(np.load(path), 1_000_000))
    stored = read_json(folder / "data.json")
    stored["files"]["test.npy"] = {
        "bytes": path.stat().st_size,
        "sha256": hashlib.sha256(path.read_bytes()).hexdigest(),
    }
    write_json(folder / "data.json", stored)


def test_g15_evaluate_retrains_the_trial_exactly(mine: Study) -> None:
    """The retrained model has the trial's architecture, hyper-parameters, seed and weights.

    A second call trains and opens nothing. With another seed it creates another model and opens the test data again.
    """
    records = mine.finished()
    worst = max(records, key=lambda number: records[number]["value"])
    done = evaluate(mine, "--trial", str(worst))
    assert done.exit_code == 0, done.stdout + done.stderr
    record, folder = records[worst], mine.folder / "promoted" / f"trial_{worst:04d}"
    model = read_json(folder / "model.json")
    assert model["architecture"] == record["architecture"]["values"]
    assert model["hyperparameters"] == record["hyperparameters"]
    assert (model["seed"], model["hash"], model["value"]) == (record["seed"], record["hash"], record["value"])
    assert model["versions"]["weights"] == record["versions"]["weights"]
    assert model["weights"]["sha256"] == hashlib.sha256((folder / "weights.safetensors").read_bytes()).hexdigest()
    card = (folder / "model_card.md").read_text()
    assert "with bit-identical weights" in card
    assert "The test data was opened once, for this result." in card
    assert "The test data was opened once, for this result." in done.stdout

    evaluation = read_json(folder / "evaluation.json")
    kept = read_predictions(folder / evaluation["test"]["predictions"]["file"])
    assert kept.about["part"] == "test"
    assert len(kept) == record["data"]["split"]["parts"]["test"]["windows"]
    assert kept.losses().mean() == evaluation["test"]["loss"]
    interval = evaluation["test"]["intervals"]["loss"]
    assert interval["low"] < evaluation["test"]["loss"] < interval["high"]
    for baseline in evaluation["test"]["baselines"]:
        assert baseline["less"] == pytest.approx(evaluation["test"]["loss"] - baseline["loss"])

    decided, chances = evaluation["threshold"], 1 / (1 + np.exp(-kept.outputs[:, 0].astype(float)))
    assert (decided["criteria"], decided["value"]) == (["mcc"], model["threshold"]["value"])
    positive = int((chances >= decided["value"]).sum())
    assert decided["test"]["confusion_matrix"]["tp"] + decided["test"]["confusion_matrix"]["fp"] == positive
    assert decided["test_at_half"]["metrics"]["f1"] == evaluation["test"]["metrics"]["f1"]
    assert decided["validation"]["windows"] == record["data"]["split"]["parts"]["val"]["windows"]
    assert f"## Decision threshold\n\n{decided['value']:.4g}: " in card

    before = mine.events()
    again = evaluate(mine, "--trial", str(worst))
    assert again.exit_code == 0
    assert again.stdout.endswith(done.stdout[done.stdout.index("validation loss") :])
    assert mine.events() == before
    assert mine.finished() == records

    by_f1 = evaluate(mine, "--trial", str(worst), "--threshold", "f1")
    assert by_f1.exit_code == 0, by_f1.stderr
    assert mine.events() == before
    assert read_json(folder / "evaluation.json")["threshold"]["criteria"] == ["mcc", "f1"]
    assert read_json(folder / "model.json")["threshold"]["criterion"] == "f1"

    other = evaluate(mine, "--trial", str(worst), "--seed", "7")
    assert other.exit_code == 0, other.stderr
    assert "The test data has been opened 2 times." in other.stdout
    assert [opening["by"] for opening in openings(mine)] == [f"evaluate, trial {worst}"] * 2
    (second,) = set((mine.folder / "promoted").iterdir()) - {folder}
    assert "The test data has been opened 2 times." in (second / "model_card.md").read_text()
    assert read_json(second / "model.json")["seed"] == 7
    assert mine.finished() == records

    whole = CliRunner().invoke(main, ["verify", str(mine.folder)])
    assert whole.exit_code == 0, whole.stdout
    assert whole.stdout.count("model: the weights match model.json") == 2
    (second / "weights.safetensors").unlink()
    broken = CliRunner().invoke(main, ["verify", str(mine.folder)])
    assert broken.exit_code == 9
    assert "weights.safetensors is missing; a model consists of model.json and its weights file" in broken.stdout


def test_g15_the_search_never_touches_test_data(mine: Study, tmp_path: Path) -> None:
    """With unreadable test windows the search has bit-identical results; only `evaluate` fails."""
    sound = copied(mine, tmp_path / "sound")
    data = mine.folder / "data"
    ends, values, labels = (np.load(data / f"{name}.npy") for name in ("test", "values", "labels"))
    values[ends[0] :], labels[ends[0] :] = np.nan, np.nan
    np.save(data / "values.npy", values)
    np.save(data / "labels.npy", labels)
    stored = read_json(data / "data.json")
    for name in ("values.npy", "labels.npy"):
        stored["files"][name]["sha256"] = hashlib.sha256((data / name).read_bytes()).hexdigest()
    write_json(data / "data.json", stored)
    break_test_data(data)

    sound.run("search.trials=3")
    mine.run("search.trials=3")
    new, poisoned = sound.finished()[2], mine.finished()[2]
    for key in ("value", "best", "learning_curve"):
        assert _without_times(poisoned[key]) == _without_times(new[key])
    assert poisoned["versions"]["weights"] == new["versions"]["weights"]
    assert openings(mine) == []

    stumbled = evaluate(mine, "--trial", "2")
    assert stumbled.exit_code == 6
    assert "test evaluation of trial 2, retrained failed: " in stumbled.stderr
    assert len(openings(mine)) == 1


def _without_times(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _without_times(one) for key, one in value.items() if not key.endswith("seconds")}
    return [_without_times(one) for one in value] if isinstance(value, list) else value


def test_g15_an_opening_counts_even_if_the_evaluation_fails(mine: Study) -> None:
    """The opening is in the journal before the data is read, so that a later crash cannot lose it."""
    shutil.copytree(mine.folder / "data", mine.root / "data")
    break_test_data(mine.folder / "data")
    broken = evaluate(mine)
    assert broken.exit_code == 6, broken.stdout
    assert len(openings(mine)) == 1
    shutil.rmtree(mine.folder / "data")
    shutil.move(mine.root / "data", mine.folder / "data")
    done = evaluate(mine)
    assert done.exit_code == 0, done.stderr
    assert "1 training" not in done.stdout, "the trained model was trained again"
    assert "The test data has been opened 2 times." in done.stdout


def test_a_killed_retraining_is_resumed(mine: Study) -> None:
    """A killed retraining resumes from its checkpoint and ends with the same weights."""
    curve = f"trial_{FIRST_RETRAINED}/attempt_0/epochs.jsonl"
    mine.hold(curve, beside=["checkpoint.json", "best_*.safetensors"])
    arguments = ("evaluate", str(mine.folder), "--epochs", "20")
    process = subprocess.Popen(
        mine.command(*arguments), cwd=mine.root, env=mine.environment, stdout=subprocess.PIPE, text=True
    )
    worker = mine.held(curve)
    kill(process)
    os.kill(worker, signal.SIGKILL)
    (folder,) = (mine.folder / "promoted").iterdir()
    attempts = mine.folder / "attempts"
    assert list(attempts.glob(f"trial_{FIRST_RETRAINED}/attempt_0/best_*.safetensors"))
    continued = evaluate(mine, "--epochs", "20")
    assert continued.exit_code == 0, continued.output
    started = [one for one in mine.events() if one["event"] == "attempt_started" and one["number"] >= FIRST_RETRAINED]
    assert [one["resumes"] for one in started] == [False, True]
    killed = read_json(folder / "model.json")
    shutil.rmtree(folder)
    assert evaluate(mine, "--epochs", "20").exit_code == 0
    whole = read_json(folder / "model.json")
    assert killed["weights"] == whole["weights"]
    assert killed["epoch"] == whole["epoch"]
    assert not list(attempts.rglob("best_*")), "weights of other epochs were not removed"
    assert not list(attempts.rglob("checkpoint*"))


def test_a_stopped_retraining_reports_how_to_resume(mine: Study) -> None:
    """Ctrl-C ends it with exit code 7 and without an opening of the test data."""
    process = subprocess.Popen(
        mine.command("evaluate", str(mine.folder), "--epochs", "100000"),
        cwd=mine.root,
        env=mine.environment,
        stdout=subprocess.PIPE,
        text=True,
    )
    mine.wait_for(
        lambda: bool(list(mine.folder.glob(f"attempts/trial_{FIRST_RETRAINED}/*/epochs.jsonl"))), "an attempt"
    )
    second = evaluate(mine)
    assert second.exit_code == 5
    assert "this study is already running: process" in second.stderr
    process.send_signal(signal.SIGINT)
    out = output_of(process, code=7)
    assert out.endswith("stopped; run the same command again to resume\n")
    assert openings(mine) == []


class Interrupts(LocalExecutor):
    """Send Ctrl-C once when an attempt of this folder has ended."""

    def __init__(self, name: str) -> None:
        super().__init__(LocalOptions(), worker="scalecore_torch.worker")
        self.name: str | None = name

    def poll(self, handles: Sequence[LocalHandle]) -> Sequence[AttemptStatus]:
        found = super().poll(handles)
        for handle, status in zip(handles, found, strict=True):
            if status.state != "running" and handle.folder.path.name == self.name:
                self.name = None
                os.kill(os.getpid(), signal.SIGINT)
        return found


def interrupted(study: Study, name: str) -> Evaluated:
    """Retrain the best trial and send Ctrl-C when the attempt of this folder has ended."""
    with open_study(find_study(study.folder), TrainingContext(registry={})) as opened:
        record = ExecutorRecord(name="local", summary="Interrupts.", factory=lambda *_: Interrupts(name))
        known = opened.plan.resolved
        plan = evolve(opened.plan, resolved=evolve(known, executor=evolve(known.executor, record=record)))
        return evaluate_trial(evolve(opened, plan=plan), EvaluationRequest())


def test_g15_a_stop_request_loses_no_measurement(mine: Study) -> None:
    """A stop after the training opens no test data; a result that exists at the stop is stored and not repeated."""
    with pytest.raises(EvaluationStopped):
        interrupted(mine, "attempt_0")
    assert openings(mine) == []
    (best,) = [int(path.name.removeprefix("trial_")) for path in (mine.folder / "promoted").iterdir()]
    done = interrupted(mine, f"test_{FIRST_RETRAINED}")
    assert done.evaluation is not None
    assert done.evaluation["trial"] == best
    assert len(openings(mine)) == 1
    assert evaluate(mine).exit_code == 0
    assert len(openings(mine)) == 1


def test_another_split_is_reported_on_the_card(mine: Study) -> None:
    """The card counts test windows that the search had used; the study's data does not change."""
    before = (mine.folder / "data" / "data.json").read_bytes()
    done = evaluate(mine, "--split", "train=0.6", "--split", "val=0.2", "--split", "test=0.2")
    assert done.exit_code == 0, done.stdout + done.stderr
    (folder,) = (mine.folder / "promoted").iterdir()
    evaluation = read_json(folder / "evaluation.json")
    seen = evaluation["test"]["seen_in_search"]
    assert 0 < seen < evaluation["test"]["windows"]
    card = (folder / "model_card.md").read_text()
    assert f"{seen:,} of {evaluation['test']['windows']:,} test windows were training or validation windows" in card
    assert (mine.folder / "data" / "data.json").read_bytes() == before


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (("--trial", "9"), 2, "--trial 9: the study has no finished trial with this number\n"),
        (("--epochs", "0"), 2, "--epochs: 0 is below 1\n"),
        (("--split", "test"), 2, "--split test: write KEY=VALUE, as in `--split test_from=2020-01-02`\n"),
        (("--split", "tset=0.2"), 2, "<command line>: dataset.split.tset=0.2: unknown key; did you mean 'test'?\n"),
    ],
)
def test_evaluate_refuses_other_trials_and_studies(
    finished: Study, arguments: tuple[str, ...], code: int, message: str
) -> None:
    """One clear message, and no file is written."""
    done = evaluate(finished, *arguments)
    assert (done.exit_code, done.stderr) == (code, message)
    assert not (finished.folder / "promoted").exists()
