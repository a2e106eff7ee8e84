"""Files of a study that were edited, truncated or replaced: each command works, or names the wrong file."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from click.testing import CliRunner, Result

from scalecore.cli.main import main
from scalecore.testing.fakes import EXPERIMENT, write_walk

EXECUTOR = '''
import json

from attrs import frozen

from scalecore import hookimpl
from scalecore.api.components import AnalysisRecord, ExecutorRecord
from scalecore.api.analysis import AnalysisResult
from scalecore.api.executor import AttemptStatus


@frozen(kw_only=True)
class Options:
    """None."""


class Instant:
    """Attempts that have ended when they are submitted."""

    def submit(self, folder):
        spec = json.loads((folder / "spec.json").read_text())
        result = {"attempt": spec["attempt"], "state": "completed", "reason": None, "device": "cpu", "threads": 1}
        result |= {"memory": {"peak": 3 * 10**8, "source": "resident", "micro_batch": 64}, "seconds": 0.5}
        (folder / "process.json").write_text(json.dumps({"pid": 1, "host": "elsewhere", "contained": ["nothing"]}))
        if spec["mode"] == "train":
            loss = 0.6 + spec["seed"] % 10**6 / 10**7
            curve = [{"epoch": epoch, "train_loss": loss, "val_loss": loss + 0.1 / epoch} for epoch in (1, 2)]
            (folder / "epochs.jsonl").write_text("".join(json.dumps(line) + "\\n" for line in curve))
            (folder / "progress.json").write_text(json.dumps({"phase": "evaluate", "epoch": 2, "step": 9}))
            best = {**curve[-1], "predictions": {"min": 0.2, "max": 0.8, "std": 0.1}, "intervals": {}}
            result |= {"value": loss + 0.05, "best": best, "last": curve[-1], "learning_curve": curve}
            result |= {"policy": {"precision": "fp32", "why": {}}, "windows": 600, "epochs_ended": 2}
            result |= {"train_seconds": 0.4, "weights": "0" * 64, "unread": [], "warnings": []}
            result |= {"batching": {"micro_batch": 64, "halvings": [], "invariance": "exact"}}
        (folder / "result.json").write_text(json.dumps(result))
        return folder

    def poll(self, handles):
        return [AttemptStatus(state="ended", exit_code=0) for _ in handles]

    def stop(self, handle, *, kill):
        return None

    def close(self):
        return None


@hookimpl
def scalecore_executors():
    return [ExecutorRecord(name="instant", summary="Ends at once.", options=Options, factory=lambda *_: Instant())]


class Values:
    """Every trial's value and the length of its curve."""

    def run(self, studies):
        rows = [
            {"trial": trial.number, "value": trial.value, "epochs": len(trial.learning_curve)}
            for study in studies
            for trial in study.trials
        ]
        return AnalysisResult(title="Values", tables={"Trials": rows}, data={"trials": rows})


@hookimpl
def scalecore_analyses():
    return [AnalysisRecord(name="values", summary="Values.", options=Options, factory=lambda _: Values())]
'''

Edit = Callable[[Path], object]


def command(*arguments: str) -> Result:
    return CliRunner().invoke(main, list(arguments))


@pytest.fixture(scope="module")
def interrupted(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The project of a study with two finished trials and one whose driver died before its attempt ended."""
    root = tmp_path_factory.mktemp("interrupted")
    write_walk(root)
    (root / "instant.py").write_text(EXECUTOR)
    experiment = {**EXPERIMENT, "search": {**EXPERIMENT["search"], "trials": 3}, "loggers": ["files"]}
    experiment |= {"plugins": ["./instant.py"], "execution": {"use": "instant"}, "output": "study"}
    (root / "experiment.yaml").write_text(yaml.safe_dump(experiment))
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(root)
        done = command("run", "experiment.yaml")
    assert done.exit_code == 0, done.output
    journal = root / "study" / "journal.jsonl"
    lines = journal.read_text().splitlines(keepends=True)
    started = max(at for at, line in enumerate(lines) if json.loads(line)["event"] == "attempt_started")
    journal.write_text("".join(lines[: started + 1]))
    (root / "study" / "hardware.json").write_text('{"time": "now", "readings": [], "texts": {"memory": "1 GB"}}\n')
    return root


@pytest.fixture
def study(interrupted: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of it, with its project as the working directory."""
    shutil.copytree(interrupted, tmp_path / "project")
    monkeypatch.chdir(tmp_path / "project")
    return tmp_path / "project" / "study"


def text(content: str) -> Edit:
    return lambda path: path.write_text(content)


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def nul(path: Path) -> None:
    path.write_bytes(bytes(path.stat().st_size))


def folder(path: Path) -> None:
    path.unlink()
    path.mkdir()


def key(name: str, value: Any) -> Edit:
    def change(path: Path) -> None:
        path.write_text(json.dumps({**json.loads(path.read_text()), name: value}))

    return change


def without(name: str) -> Edit:
    def change(path: Path) -> None:
        path.write_text(json.dumps({one: value for one, value in json.loads(path.read_text()).items() if one != name}))

    return change


def line(content: str) -> Edit:
    """Add a first line; the others stay."""
    return lambda path: path.write_text(f"{content}\n{path.read_text()}")


LAST, FIRST = "attempts/trial_0002/attempt_0", "attempts/trial_0001/attempt_0"
WHOLE: dict[str, Edit] = {"empty": text(""), "cut off": cut, "NUL": nul, "null": text("null"), "a list": text("[1]")}
EDITS: list[tuple[str, str, Edit]] = [
    *((f"{LAST}/result.json", name, edit) for name, edit in {**WHOLE, "gone": Path.unlink, "a folder": folder}.items()),
    (f"{LAST}/result.json", "no state", without("state")),
    (f"{LAST}/result.json", "unknown state", key("state", "fine")),
    (f"{LAST}/result.json", "huge value", key("value", 10**400)),
    (f"{LAST}/result.json", "infinite value", key("value", float("inf"))),
    (f"{LAST}/result.json", "text as seconds", key("seconds", "x")),
    (f"{LAST}/result.json", "best is a number", key("best", 5)),
    (f"{LAST}/result.json", "a curve of nulls", key("learning_curve", [None])),
    (f"{LAST}/result.json", "predictions of nobody", key("predictions", {"sha256": 1})),
    *((f"{FIRST}/result.json", name, WHOLE[name]) for name in ("cut off", "null")),
    *((f"{LAST}/progress.json", name, edit) for name, edit in {**WHOLE, "a folder": folder}.items()),
    (f"{LAST}/progress.json", "no phase", without("phase")),
    (f"{LAST}/progress.json", "text as epoch", key("epoch", "x")),
    *((f"{LAST}/process.json", name, edit) for name, edit in {**WHOLE, "a folder": folder}.items()),
    (f"{LAST}/process.json", "negative pid", key("pid", -1)),
    (f"{LAST}/process.json", "no pid", without("pid")),
    *((f"{LAST}/epochs.jsonl", name, edit) for name, edit in {**WHOLE, "a folder": folder}.items()),
    (f"{LAST}/epochs.jsonl", "a line twice", line('{"epoch": 1, "val_loss": 0.7}')),
    (f"{LAST}/epochs.jsonl", "text as loss", line('{"epoch": 1, "val_loss": "x"}')),
    (f"{LAST}/epochs.jsonl", "no epoch", line('{"val_loss": 0.7}')),
    (f"{LAST}/epochs.jsonl", "a huge loss", line('{"epoch": 1, "val_loss": 1' + 400 * "0" + "}")),
    *((f"{LAST}/spec.json", name, edit) for name, edit in WHOLE.items()),
    *(("hardware.json", name, edit) for name, edit in WHOLE.items()),
    (".epoch", "a list", text("[1]")),
    (".epoch", "huge", text("1" + 400 * "0")),
    ("memory.json", "one answer is a number", lambda path: key(min(json.loads(path.read_text())), 5)(path)),
    ("memory.json", "a list", text("[1]")),
]


@pytest.mark.parametrize(("place", "name", "edit"), EDITS, ids=[f"{Path(one[0]).name}, {one[1]}" for one in EDITS])
def test_a_damaged_file_ends_no_command_with_a_traceback_and_loses_no_trial(
    study: Path, place: str, name: str, edit: Edit
) -> None:
    """The journal keeps its lines, and the interrupted trial ends."""
    before = (study / "journal.jsonl").read_text()
    edit(study / place)
    for words in (["status", "study"], ["verify", "study"], ["analyze", "values", "study"]):
        done = command(*words)
        assert isinstance(done.exception, SystemExit | None), (words, done.exception)
        assert done.exit_code in (0, 9), done.output
    done = command("run", "experiment.yaml")
    assert (done.exit_code, done.exception) == (0, None), done.output
    after = (study / "journal.jsonl").read_text()
    assert after.startswith(before)
    events = [json.loads(one) for one in after.splitlines()]
    finished = [event["record"] for event in events if event["event"] == "trial_finished"]
    assert [(record["number"], record["state"]) for record in finished] == [(n, "completed") for n in range(3)]
    if place == f"{LAST}/result.json" and name != "gone":
        (first, *_) = [event for event in events if event["event"] == "attempt_ended" and event["number"] == 2]
        assert first["class"] == "interrupted"
        began = "the driver ended before the attempt did; the attempt's result cannot be read: "
        assert first["reason"].startswith(f"{began}{study / place}: ")


REPLACED: dict[str, Edit] = {"cut off": cut, "null": text("null"), "gone": Path.unlink, "a folder": folder}
OTHERS: list[tuple[str, str, Edit]] = [
    *(("data/data.json", name, edit) for name, edit in {**WHOLE, **REPLACED}.items()),
    *(("experiment.yaml", name, edit) for name, edit in {**WHOLE, **REPLACED}.items()),
    *(
        (place, name, edit)
        for place in ("data/values.npy", "data/labels.npy", "trials/trial_0000.json", "walk_study_summary.json")
        for name, edit in REPLACED.items()
    ),
]
"""Files that the study has beside its journal and its attempts: data, and what is derived."""


@pytest.mark.parametrize(("place", "name", "edit"), OTHERS, ids=[f"{one[0]}, {one[1]}" for one in OTHERS])
def test_another_damaged_file_is_written_anew_or_named(study: Path, place: str, name: str, edit: Edit) -> None:
    """No command ends with a traceback, and the journal stays: `run` completes the study or says what to do."""
    before = (study / "journal.jsonl").read_text()
    edit(study / place)
    for words in (["status", "study"], ["verify", "study"], ["analyze", "values", "study"]):
        done = command(*words)
        assert isinstance(done.exception, SystemExit | None), (words, done.exception)
        assert done.exit_code in (0, 9), done.output
    done = command("run", "experiment.yaml")
    assert isinstance(done.exception, SystemExit | None), done.exception
    assert (study / "journal.jsonl").read_text().startswith(before)
    if done.exit_code:
        assert done.stderr.count("\n") == 1
        assert str(study) in done.stderr


def test_verify_names_the_file_and_the_key_that_is_wrong(study: Path) -> None:
    """An unreadable result of a finished trial no longer proves its value."""
    path = study / FIRST / "result.json"
    key("value", "0.6")(path)
    done = command("verify", "study")
    assert done.exit_code == 9
    assert f"  wrong  results: {path}: value: expected a finite number, got string '0.6'\n" in done.stdout


@pytest.mark.parametrize("place", ["memory.json", ".epoch"])
def test_a_folder_in_the_place_of_a_file_is_named(study: Path, place: str) -> None:
    """The run ends with one line that names it, and continues after it is removed."""
    folder(study / place)
    done = command("run", "experiment.yaml")
    assert (done.exit_code, done.stderr) == (6, f"{study / place}: Is a directory\n")
    (study / place).rmdir()
    assert command("run", "experiment.yaml").exit_code == 0
