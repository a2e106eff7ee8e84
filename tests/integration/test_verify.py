"""`scalecore verify` finds everything that is lost, duplicated, changed, unexplained or left over."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from scalecore.cli.main import main

from .conftest import Study, tiny_experiment

Lines = list[dict[str, Any]]


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory, bars: Path) -> Study:
    """A completed study; tests damage copies of it."""
    study = Study(tmp_path_factory.mktemp("whole"), tiny_experiment(bars))
    study.experiment["search"]["trials"] = 2
    study.experiment["loggers"] = ["files"]
    study.run()
    return study


@pytest.fixture
def copy(whole: Study, tmp_path: Path) -> Path:
    folder = tmp_path / "copy"
    shutil.copytree(whole.folder, folder)
    return folder


def verify(folder: Path) -> tuple[int, list[str], list[str]]:
    """Run `verify` and return exit code, faults and notes."""
    done = CliRunner().invoke(main, ["verify", str(folder), "--json"], catch_exceptions=False)
    (checks,) = json.loads(done.stdout).values()
    texts = {level: [f"{c['subject']}: {c['message']}" for c in checks if c["level"] == level] for level in LEVELS}
    return done.exit_code, texts["wrong"], texts["note"]


LEVELS = ("ok", "note", "wrong")


def rewrite(folder: Path, change: Callable[[Lines], Lines]) -> None:
    """Change the journal's events and renumber them."""
    journal = folder / "journal.jsonl"
    events = change([json.loads(line) for line in journal.read_text().splitlines()])
    journal.write_text("".join(json.dumps({**event, "seq": at}) + "\n" for at, event in enumerate(events)))


def of(events: Lines, name: str, number: int) -> dict[str, Any]:
    return next(event for event in events if event["event"] == name and event.get("number") == number)


def test_a_completed_study_has_no_faults(copy: Path) -> None:
    """Exit code 0, with a line for each check."""
    assert verify(copy) == (0, [], [])
    shown = CliRunner().invoke(main, ["verify", str(copy)])
    assert "  ok     trials: 2 finished, no duplicates; every trial without a value has a reason\n" in shown.stdout
    assert "  ok     end: completed, 2 of 2 trials\n" in shown.stdout


def twice(event: str) -> Callable[[Lines], Lines]:
    def change(events: Lines) -> Lines:
        found = of(events, event, 1)
        return [*events[: events.index(found)], found, *events[events.index(found) :]]

    return change


def without(event: str) -> Callable[[Lines], Lines]:
    return lambda events: [one for one in events if one is not of(events, event, 1)]


def changed(**values: Any) -> Callable[[Lines], Lines]:
    def change(events: Lines) -> Lines:
        of(events, "trial_finished", 1)["record"] |= values
        return events

    return change


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (twice("trial_finished"), "journal: "),
        (twice("attempt_ended"), "journal: "),
        (without("attempt_ended"), "attempts: attempt 0 of trial 1 has no end"),
        (without("trial_finished"), "end: the study ended as completed, but these trials have no end: 1"),
        (changed(value=None), "trials: trial 1 is completed and has no value"),
        (changed(state="failed", value=None, reason=None), "trials: trial 1 is failed and has no reason"),
        (changed(state="failed", reason="x"), "trials: trial 1 is failed and has the value"),
        (changed(value=0.5), "results: trial 1 has the value 0.5, the result of its attempt is"),
        (changed(hash="0" * 64), "trials: trial 1: the hash of its record differs from the hash of its proposal"),
    ],
)
def test_a_changed_journal_is_found(copy: Path, change: Callable[[Lines], Lines], expected: str) -> None:
    """Duplicated, lost and changed entries are reported with exit code 9."""
    rewrite(copy, change)
    code, wrong, _ = verify(copy)
    assert code == 9
    assert any(text.startswith(expected) for text in wrong), wrong


def test_only_the_damaged_line_is_reported(copy: Path) -> None:
    """A journal that cannot be read is not checked further."""
    journal = copy / "journal.jsonl"
    lines = journal.read_bytes().splitlines(keepends=True)
    lines[3] = lines[3][:50] + b"\x00" + lines[3][51:]
    journal.write_bytes(b"".join(lines))
    code, wrong, _ = verify(copy)
    assert code == 9
    (text,) = wrong
    assert text.startswith(f"journal: {journal}:4: the journal is damaged in this line.")


@pytest.mark.parametrize(
    "name",
    ["tiny_4000_best.json", "tiny_all_trials.json", "tiny_study_summary.md", "trials/trial_0001.json"],
)
def test_a_derived_file_that_differs_from_the_journal_is_found(copy: Path, name: str) -> None:
    """A derived file that was edited or is missing is reported."""
    (copy / name).write_text((copy / name).read_text().replace("completed", "compleated"))
    code, wrong, _ = verify(copy)
    assert (code, wrong) == (
        9,
        [f"logger files: {name} differs from the journal; run the study again to rebuild it"],
    )
    (copy / name).unlink()
    assert verify(copy)[1] == [f"logger files: {name} is missing; run the study again to rebuild it"]


def test_traces_of_a_kill_are_notes(copy: Path) -> None:
    """The next run repairs a torn line, an unfinished trial and outdated files."""
    rewrite(copy, lambda events: events[: events.index(of(events, "trial_finished", 1))])
    with (copy / "journal.jsonl").open("a") as stream:
        stream.write('{"seq": 99')
    code, wrong, notes = verify(copy)
    assert (code, wrong) == (0, [])
    assert (
        "journal: the last line is incomplete (interrupted while writing); the next run moves it to a separate file"
        in notes
    )
    text = "end: the last run was killed; 1 of 2 trials are finished; `scalecore run` resumes the study"
    assert text in notes


def test_leftover_processes_and_checkpoints_are_found(copy: Path) -> None:
    """An attempt without a driver and a checkpoint of an ended trial are reported."""
    import os

    import psutil

    attempt = copy / "attempts/trial_0001/attempt_0"
    me = {"pid": os.getpid(), "started": psutil.Process().create_time()}
    (attempt / "process.json").write_text(json.dumps(me))
    (attempt / "checkpoint.pt").touch()
    code, wrong, _ = verify(copy)
    assert code == 9
    assert wrong == [
        "results: trial 1 is finished and still has checkpoints (1)",
        f"processes: process {os.getpid()} of trial_0001/attempt_0 is alive although the study is not running",
    ]


def test_changed_predictions_are_found(copy: Path) -> None:
    """Predictions that do not match their trial are reported."""
    (path,) = (copy / "predictions").glob("trial_0001.npz")
    path.write_bytes(path.read_bytes()[:-1])
    code, wrong, _ = verify(copy)
    assert code == 9
    assert wrong[0].startswith(f"results: {path}: not the predictions of trial 1")
