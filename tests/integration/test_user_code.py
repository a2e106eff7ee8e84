"""A study with a user's loss, metric, optimizer and schedule in one file."""

from __future__ import annotations

import json
import os
import shutil
import signal
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from scalecore.cli.main import main

from .conftest import Study, output_of, tiny_experiment

CODE = '''\
import os
import pathlib

import torch
import torch.nn.functional as F

print("imported")


class Scaled:
    """Cross-entropy of scaled logits."""

    tasks = ("binary",)

    def __init__(self, scale=1.0):
        self.scale = scale

    def __call__(self, logits, labels):
        return F.softplus(-self.scale * logits[:, 0] * (2 * labels - 1))


class Heavy(torch.optim.SGD):
    """SGD with momentum."""


def hit_rate(outputs, labels):
    if os.environ.get("CHANGE_FILE"):  # while the study runs
        with open(os.environ["CHANGE_FILE"], "a") as file:
            file.write("# changed\\n")
    return ((outputs[:, 0] > 0) == (labels > 0.5)).mean()


def never(outputs, labels):
    return None


def of_validation(outputs, labels):
    if len(labels) > 300:  # no validation window
        raise IndexError("no such window")
    return float(outputs.mean())


def triangle(step, warmup_steps, total_steps):
    return min(1.0, (step + 1) / (warmup_steps + 1)) * (1 - step / total_steps)
'''

EXPERIMENT = """\
name: own
output: study
dataset: {use: parquet, path: BARS, features: [Close], target: {kind: direction}, context: 4}
model: {use: linear}
search: {use: random, trials: 2, space: {learning_rate: {log_uniform: [1e-3, 1e-1]}}}
objective: {metric: hit_rate, direction: maximize}
training:
  effective_batch: 64
  threads: 1
  loss: {use: "./own/code.py:Scaled", scale: 0.5}
  metrics: ["./own/code.py:hit_rate"]
  optimizer: {use: "./own/code.py:Heavy", momentum: 0.9}
  schedule: "./own/code.py:triangle"
  hyperparameters: {epochs: 2, warmup_steps: 5}
loggers: [files, csv]
"""


def cli(*arguments: str | Path) -> Result:
    """Run a command in this process, without installed plugins; attempts are separate processes."""
    return CliRunner().invoke(main, [*map(str, arguments), "--no-plugins"], catch_exceptions=False)


def ok(*arguments: str | Path) -> str:
    done = cli(*arguments)
    assert done.exit_code == 0, done.output
    return done.stdout


def records(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(one.read_text()) for one in sorted((folder / "trials").glob("*.json"))]


@pytest.fixture(scope="module")
def finished(bars: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project with a study of two trials, its code below the experiment file."""
    folder = tmp_path_factory.mktemp("finished") / "a project"
    (folder / "own").mkdir(parents=True)
    (folder / "own" / "code.py").write_text(CODE)
    shutil.copy(bars, folder / f"bars{bars.suffix}")
    (folder / "e.yaml").write_text(EXPERIMENT.replace("BARS", f"bars{bars.suffix}"))
    ok("run", folder / "e.yaml")
    return folder


@pytest.fixture
def mine(finished: Path, tmp_path: Path) -> Path:
    """A moved copy of the project."""
    return shutil.copytree(finished, tmp_path / "moved")


def test_a_metric_that_fails_on_the_training_part_does_not_fail_the_trial(bars: Path, tmp_path: Path) -> None:
    """The record has no results on the training part and a flag with the reason, without kept weights neither."""
    (tmp_path / "own").mkdir()
    (tmp_path / "own" / "code.py").write_text(CODE)
    text = EXPERIMENT.replace("BARS", str(bars)).replace(
        'metrics: ["./own/code.py:hit_rate"]', 'metrics: ["./own/code.py:hit_rate", "./own/code.py:of_validation"]'
    )
    (tmp_path / "e.yaml").write_text(text)
    ok("run", tmp_path / "e.yaml", "search.trials=1")
    ok("run", tmp_path / "e.yaml", "search.trials=2", "training.keep_weights=0")
    first, second = ([one["text"] for one in record["user_attrs"]["flags"]] for record in records(tmp_path / "study"))
    problem = "training part not measured: RefusedError: code.py:of_validation failed: IndexError: no such window"
    assert [text.startswith(problem) for text in first].count(True) == 1
    assert not any("training part" in text for text in second)
    for record in records(tmp_path / "study"):
        assert record["state"] == "completed"
        assert "train" not in record["user_attrs"]


def test_a_study_uses_the_users_code(finished: Path) -> None:
    """The record names them without folders, the learning rate follows the schedule, and the study is valid."""
    study = finished / "study"
    for record in records(study):
        attributes = record["user_attrs"]
        assert record["value"] == max(line["hit_rate"] for line in attributes["learning_curve"])
        assert len(attributes["versions"]["code.py"]) == 12
        last = attributes["learning_curve"][-1]
        assert last["hit_rate"] == pytest.approx(last["accuracy"])
        steps = -(-attributes["data"]["split"]["parts"]["train"]["windows"] // 64) * 2
        assert last["learning_rate"] == pytest.approx(record["params"]["learning_rate"] / steps)
        assert "hit_rate" not in attributes["best"]["intervals"]
        assert attributes["memory"]["source"] == "traced"
    assert "best: hit_rate 0." in CliRunner().invoke(main, ["status", str(study)]).stdout
    assert CliRunner().invoke(main, ["verify", str(study)]).exit_code == 0
    assert "loss: code.py:Scaled scale=0.5" in ok("plan", finished / "e.yaml")
    assert not list(finished.rglob("*.pyc"))


def test_a_moved_project_continues(mine: Path) -> None:
    """Through the experiment file or the study's folder, also with the code in another folder."""
    ok("run", mine / "e.yaml", "search.trials=3")
    ok("run", mine / "study" / "experiment.yaml", "search.trials=4")
    (mine / "own" / "code.py").rename(mine / "code.py")
    text = (mine / "e.yaml").read_text().replace("./own/code.py", "code.py")
    (mine / "e.yaml").write_text(text)
    ok("run", mine / "e.yaml", "search.trials=5")
    found = records(mine / "study")
    assert len(found) == 5
    assert len({one["hash"] for one in found}) == 5


def test_g26_a_changed_file_is_changed_code(mine: Path) -> None:
    """A resume needs `--allow-changed-code`; the records name both versions."""
    path = mine / "own" / "code.py"
    path.write_text(f"{CODE}\n# another thought\n")
    refused = cli("run", mine / "e.yaml", "search.trials=3")
    assert refused.exit_code == 5
    assert "the code changed since the study was last run" in refused.stderr
    assert "code.py" in refused.stderr
    ok("run", mine / "e.yaml", "search.trials=3", "--allow-changed-code")
    versions = [one["user_attrs"]["versions"]["code.py"] for one in records(mine / "study")]
    assert versions[0] == versions[1] != versions[2]


def test_g26_a_file_that_changes_while_a_study_runs_ends_it(mine: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No trial is trained with other code than in its record, none fails, and the study can be resumed."""
    path = mine / "own" / "code.py"
    monkeypatch.setenv("CHANGE_FILE", str(path))
    refused = cli("run", mine / "e.yaml", "search.trials=6")
    assert refused.exit_code == 5, refused.output
    assert f"{path} changed since the run began (SHA-256 " in refused.stderr
    assert all(one["state"] == "completed" for one in records(mine / "study"))
    monkeypatch.delenv("CHANGE_FILE")
    path.write_text(CODE)
    ok("run", mine / "e.yaml", "search.trials=6")
    assert [one["state"] for one in records(mine / "study")] == ["completed"] * 6
    assert CliRunner().invoke(main, ["verify", str(mine / "study")]).exit_code == 0


def test_another_option_is_another_experiment(mine: Path) -> None:
    """Training code may not change within a study (G22)."""
    refused = cli("run", mine / "e.yaml", "training.loss.scale=0.7", "search.trials=3")
    assert refused.exit_code == 5
    assert "training.loss.scale: 0.5 -> 0.7" in refused.stderr
    refused = cli("run", mine / "e.yaml", "training.optimizer=null", "search.trials=3")
    assert refused.exit_code == 5
    assert "contains a study of another experiment" in refused.stderr


def test_a_study_whose_plugin_file_is_missing_can_be_read(mine: Path) -> None:
    """`status` and `verify` need no user code; `run` names the missing file."""
    (mine / "own" / "code.py").unlink()
    for command in ("status", "verify"):
        done = CliRunner().invoke(main, [command, str(mine / "study")])
        assert done.exit_code == 0, done.output
    done = cli("run", mine / "e.yaml", "search.trials=3")
    assert done.exit_code == 2
    gone = f"{mine}/own/code.py cannot be read (No such file or directory)"
    assert done.stderr.splitlines()[0] == f"{mine}/e.yaml:10:15: training.loss.use: {gone}"


def test_an_objective_without_values_has_no_result(mine: Path) -> None:
    """Its trials end with the reason and without a value."""
    done = cli(
        *("run", mine / "e.yaml", "output=other", "training.metrics=[own/code.py:never]", "objective.metric=never"),
    )
    assert done.exit_code == 6, done.output
    for record in records(mine / "other"):
        assert (record["state"], record["value"]) == ("diverged", None)
        assert record["reason"] == "never has no value in any epoch"


def test_evaluate_uses_the_users_code(mine: Path) -> None:
    """`evaluate` uses the user's loss and metrics, also in the moved project."""
    ok("evaluate", mine / "study", "--quiet")
    (folder,) = (mine / "study" / "promoted").iterdir()
    assert json.loads((folder / "evaluation.json").read_text())["test"]["metrics"]["hit_rate"] is not None
    assert "| hit_rate | 0." in (folder / "model_card.md").read_text()


def test_an_interrupted_trial_continues_with_the_optimizers_state(tmp_path: Path, bars: Path) -> None:
    """From its checkpoint it reaches the weights of an uninterrupted study."""
    found = []
    for place in ("whole", "killed"):
        study = Study(tmp_path / place, tiny_experiment(bars))
        study.root.mkdir()
        (study.root / "code.py").write_text(CODE)
        study.experiment["training"] |= {
            "loss": "./code.py:Scaled",
            "optimizer": {"use": "./code.py:Heavy", "momentum": 0.9},
            "schedule": "./code.py:triangle",
            "hyperparameters": {"epochs": 6, "warmup_steps": 5},
        }
        study.experiment["search"] |= {"trials": 1}
        if place == "killed":
            study.hold("trial_0000/attempt_0/epochs.jsonl", beside=["checkpoint.json"])
            process = study.start()
            os.kill(study.held("trial_0000/attempt_0/epochs.jsonl"), signal.SIGKILL)
            assert "resuming from its last checkpoint" in output_of(process)
        else:
            study.run()
        record = study.finished()[0]
        found.append((record["hash"], record["value"], record["versions"]["weights"], record["loss"]))
    assert found[0] == found[1]
    assert found[0][3] == {"kind": "code.py:Scaled"}
