"""Edited journals: each command reports one error with file and line, or works (B8)."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from contextlib import chdir
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from scalecore.api.errors import RefusedError, StudyError
from scalecore.cli.main import main
from scalecore.store.state import read_state

from .conftest import Project

Lines = list[bytes]
Edit = Callable[[Lines], Lines]

FINISHED, STARTED, ENDED, ASKED = 6, 4, 5, 3
"""Lines of the first trial, counted from 0."""


def at(index: int, old: bytes | None, new: bytes) -> Edit:
    """Replace the first `old` of a line, or the whole line if `old` is None."""

    def edit(lines: Lines) -> Lines:
        assert old is None or old in lines[index], (old, lines[index][:200])
        line = new + b"\n" if old is None else lines[index].replace(old, new, 1)
        return [*lines[:index], line, *lines[index + 1 :]]

    return edit


def key(index: int, path: str, value: Any) -> Edit:
    """Replace the value at `path`, or remove it if `value` is `...`."""

    def edit(lines: Lines) -> Lines:
        content = json.loads(lines[index])
        *above, last = path.split(".")
        inner = content
        for name in above:
            inner = inner[int(name) if isinstance(inner, list) else name]
        assert last in inner or value is not ...
        if value is ...:
            del inner[last]
        else:
            inner[last] = value
        text = json.dumps(content, separators=(",", ":"), ensure_ascii=False)
        return [*lines[:index], text.encode() + b"\n", *lines[index + 1 :]]

    return edit


def anew(lines: Lines) -> Lines:
    """Renumber the events without gaps."""
    return [re.sub(rb'^\{"seq":\d+', b'{"seq":%d' % number, line) for number, line in enumerate(lines)]


def without(index: int, *, numbered: bool = False) -> Edit:
    return lambda lines: (anew if numbered else list)([*lines[:index], *lines[index + 1 :]])


def twice(index: int, *, numbered: bool = False) -> Edit:
    return lambda lines: (anew if numbered else list)([*lines[: index + 1], *lines[index:]])


def swapped(index: int, *, numbered: bool = False) -> Edit:
    def edit(lines: Lines) -> Lines:
        changed = [*lines[:index], lines[index + 1], lines[index], *lines[index + 2 :]]
        return anew(changed) if numbered else changed

    return edit


NUMBER, WHOLE = "expected a finite number", "expected an integer of at most 64 bits"
STATES = "expected one of completed, pruned, failed, out_of_memory, diverged, timed_out"
HUGE = 10**400

DAMAGED: dict[str, tuple[Edit, int, str]] = {
    "no JSON": (at(FINISHED, b'"record":{', b'"record":{,'), 7, "not JSON (Expecting property name"),
    "NUL": (at(FINISHED, b'"completed"', b'"comp\0leted"'), 7, "not JSON (Invalid control character"),
    "broken UTF-8": (at(FINISHED, b'"completed"', b'"comp\xffleted"'), 7, "is not UTF-8 text"),
    "half of a character": (at(FINISHED, b'"completed"', rb'"comp\ud83dleted"'), 7, "half of a character"),
    "a list": (at(FINISHED, None, b"[]"), 7, "expected a JSON object"),
    "null": (at(FINISHED, None, b"null"), 7, "expected a JSON object"),
    "a blank line": (lambda lines: [*lines[:4], b"\n", *lines[4:]], 5, "not JSON (Expecting value"),
    "UTF-16": (lambda lines: [line.decode().encode("utf-16") + b"\n" for line in lines], 1, "is not UTF-8 text"),
    "nested without end": (at(FINISHED, None, b'{"seq":6,"x":' + b"[" * 60_000), 7, "nested too deeply"),
    "a number without a trial": (key(FINISHED, "number", 7), 7, "trial 7 was never asked for"),
    "digits without end": (at(FINISHED, b'"number":0', b'"number":' + b"1" * 5000), 7, "more than 4,300 digits"),
    "a huge number": (key(FINISHED, "record.duration", HUGE), 7,
                      f"record.duration: {NUMBER}, got a number of 401 digits"),
    "infinity": (at(FINISHED, b'"resumptions":0', b'"resumptions":1e999'), 7, f"record.resumptions: {WHOLE}, got inf"),
    "an infinite metric": (at(FINISHED, b'"clipped_share":0.0', b'"clipped_share":1e999'), 7,
                           f"record.best.clipped_share: {NUMBER}, got inf"),
    "NaN": (at(FINISHED, b'"resumptions":0', b'"resumptions":NaN'), 7, "not JSON (NaN is not a JSON number)"),
    "no number": (key(FINISHED, "number", ...), 7, "number: required, but missing"),
    "no record": (key(FINISHED, "record", ...), 7, "record: required, but missing"),
    "a null record": (key(FINISHED, "record", None), 7, "record: expected a mapping, got nothing"),
    "a record of text": (key(FINISHED, "record", "x"), 7, "record: expected a mapping, got string 'x'"),
    "an unknown state": (key(FINISHED, "record.state", "done"), 7, f"record.state: {STATES}, got string 'done'"),
    "a null state": (key(FINISHED, "record.state", None), 7, f"record.state: {STATES}, got nothing"),
    "no architecture": (key(FINISHED, "record.architecture", ...), 7, "record.architecture: required, but missing"),
    "an architecture without values": (key(FINISHED, "record.architecture.values", None), 7,
                                       "record.architecture.values: expected a mapping, got nothing"),
    "an unknown origin": (key(FINISHED, "record.origin.kind", "guessed"), 7, "record.origin.kind: expected one of"),
    "text for the value": (key(FINISHED, "record.value", "0.69"), 7, f"record.value: {NUMBER}, got string '0.69'"),
    "a list for the best epoch": (key(FINISHED, "record.best", []), 7, "record.best: expected a mapping, got a list"),
    "text for a metric": (key(FINISHED, "record.best.auc", "high"), 7, f"record.best.auc: {NUMBER}, got string 'high'"),
    "text in the curve": (key(FINISHED, "record.learning_curve.2.val_loss", "x"), 7,
                          f"record.learning_curve.2.val_loss: {NUMBER}, got string 'x'"),
    "a mapping for the flags": (key(FINISHED, "record.flags", {}), 7, "record.flags: expected a list, got a mapping"),
    "text for the memory": (key(FINISHED, "record.memory", "much"), 7, "record.memory: expected a mapping, got string"),
    "an attempt without index": (key(FINISHED, "record.attempts.0.index", ...), 7,
                                 "record.attempts.0.index: required, but missing"),
    "another trial's record": (key(FINISHED, "record.number", 5), 7, "trial 0 finished with the record of trial 5"),
    "no event": (key(FINISHED, "event", ...), 7, "event: required, but missing"),
    "an unknown event": (key(FINISHED, "event", "trial_finnished"), 7, "event: string 'trial_finnished' is unknown"),
    "an event of a number": (key(FINISHED, "event", 5), 7, "event: 5 is unknown"),
    "no time": (key(FINISHED, "time", ...), 7, "time: expected a string, got nothing"),
    "no seq": (key(FINISHED, "seq", ...), 7, "seq is missing, expected 6"),
    "seq of text": (key(FINISHED, "seq", "6"), 7, "seq is string '6', expected 6"),
    "seq of true": (key(1, "seq", True), 2, "seq is true, expected 1"),
    "a repeated line": (twice(FINISHED), 8, "seq is 6, expected 7"),
    "a repeated end": (twice(FINISHED, numbered=True), 8, "trial 0 finished twice"),
    "a repeated question": (twice(ASKED, numbered=True), 5, "trial 0 was asked for, expected trial 1"),
    "a repeated attempt": (twice(STARTED, numbered=True), 6, "attempt 0 of trial 0 starts, expected 1"),
    "an attempt that ended twice": (twice(ENDED, numbered=True), 7, "attempt 0 of trial 0 ended twice"),
    "a missing line": (without(ASKED), 4, "seq is 4, expected 3"),
    "a missing question": (without(ASKED, numbered=True), 4, "trial 0 was never asked for"),
    "a missing start": (without(STARTED, numbered=True), 5, "trial 0 ended, but it is not the last one started"),
    "a missing first line": (without(0, numbered=True), 1,
                             "the first event of a journal must be 'study', got 'run_started'"),
    "swapped lines": (swapped(STARTED), 5, "seq is 5, expected 4"),
    "swapped events": (swapped(ENDED, numbered=True), 7, "attempt 0 of trial 0: the trial is already finished"),
    "no experiment": (key(0, "experiment", ...), 1, "experiment: required, but missing"),
    "a null experiment": (key(0, "experiment", None), 1, "experiment: expected a mapping, got nothing"),
    "an experiment without objective": (key(0, "experiment.objective", ...), 1,
                                        "experiment.objective: required, but missing"),
    "an objective of text": (key(0, "experiment.objective", "val_loss"), 1, "experiment.objective: expected a mapping"),
    "no plan": (key(0, "plan", None), 1, "plan: expected a mapping, got nothing"),
    "a plan without data": (key(0, "plan.data", ...), 1, "plan.data: required, but missing"),
    "baselines of text": (key(0, "plan.data.baselines", "x"), 1, "plan.data.baselines: expected a list, got string"),
    "versions of numbers": (key(1, "versions.torch", 2.13), 2, "versions.torch: expected a string, got 2.13"),
    "a total of text": (key(1, "total", "11"), 2, f"total: {WHOLE}, got string '11'"),
    "no hyper-parameters": (key(ASKED, "hyperparameters", None), 4, "hyperparameters: expected a mapping, got nothing"),
    "a list of hyper-parameters": (key(ASKED, "hyperparameters.dropout", [0.1]), 4,
                                   "hyperparameters.dropout: expected"),
    "epochs in words": (key(ASKED, "hyperparameters.epochs", "ten"), 4, "hyperparameters.epochs: expected an integer"),
    "an unknown end": (key(-1, "end", "paused"), 40, "end: expected one of completed, exhausted, stopped"),
    "an unknown end of an attempt": (key(ENDED, "class", "vanished"), 6, "class: expected one of completed, pruned"),
}  # fmt: skip
"""For each name: the edit, and the line (counted from 1) and the text of the error."""

WHOLE_AFTER_ALL: dict[str, Edit] = {
    "a torn last line": lambda lines: [*lines[:-1], lines[-1][:40]],
    "spaces without a newline at the end": lambda lines: [*lines, b"   "],
    "a byte order mark": lambda lines: [b"\xef\xbb\xbf" + lines[0], *lines[1:]],
    "line ends of Windows": lambda lines: [line.replace(b"\n", b"\r\n") for line in lines],
    "an unknown field": key(FINISHED, "mood", {"x": [1e3]}),
    "an unknown field of the record": key(FINISHED, "record.mood", "good"),
    "an unknown part of the memory": key(FINISHED, "record.memory.swap", 5),
    "fields that version 0.1 lacked": key(FINISHED, "record.policy", {}),
    "a second begin": lambda lines: anew([*lines[:2], lines[0], *lines[2:]]),
    "a long line": key(FINISHED, "record.reason", "x" * 2_000_000),
    "no number of the format": key(0, "format", None),
}
"""Edits that are ignored; the study stays the same."""

COMMANDS = {
    "status": ["status", "{study}"],
    "status --json": ["status", "{study}", "--json"],
    "report": ["report", "{study}"],
    "analyze": ["analyze", "coverage", "{study}", "--no-files"],
    "run": ["run", "{project}/classification.yaml", "--allow-changed-code"],
    "plan": ["plan", "{project}/classification.yaml"],
    "evaluate": ["evaluate", "{study}", "--allow-changed-code"],
    "confirm": ["confirm", "{study}", "--allow-changed-code"],
    "import": ["import", "{study}", "--into", "{project}/forecast.yaml"],
    "import into": ["import", "{project}/studies/forecast", "--into", "{study}"],
    "export": ["export", "csv", "{study}", "path={project}/out.csv"],
    "several studies": ["analyze", "results", "{project}/studies", "--no-files"],
}


def edited(project: Project, edit: Edit) -> Path:
    """Write the edited journal and return its file."""
    journal = project.study("classification") / "journal.jsonl"
    journal.write_bytes(b"".join(edit(journal.read_bytes().splitlines(keepends=True))))
    return journal


def call(project: Project, *arguments: str) -> tuple[int, str]:
    """Run a command and return its exit code and messages; unexpected exceptions are raised."""
    places = {"study": str(project.study("classification")), "project": str(project.path)}
    with chdir(project.path):
        done = CliRunner().invoke(main, [one.format(**places) for one in arguments], catch_exceptions=False)
    return done.exit_code, done.output


def test_b8_there_are_fifty_edits() -> None:
    """The number that the specification requires."""
    assert len(DAMAGED) + len(WHOLE_AFTER_ALL) >= 50


@pytest.mark.parametrize("name", DAMAGED)
def test_b8_a_damaged_journal_is_one_error_with_its_line(name: str, project: Project) -> None:
    """`status` and `verify` end with exit codes 6 and 9; the file is not changed."""
    edit, line, said = DAMAGED[name]
    journal = edited(project, edit)
    before = journal.read_bytes()
    start = f"{journal}:{line}: the journal is damaged in this line. Nothing was changed. Problem: "
    code, output = call(project, "status", "{study}")
    assert code == 6, output
    assert output.startswith(start), output
    assert said in output
    assert len(output) < 1500
    code, output = call(project, "verify", "{study}")
    assert code == 9, output
    assert start in output
    assert journal.read_bytes() == before
    assert not list(journal.parent.glob("journal.torn*"))


@pytest.mark.parametrize("command", COMMANDS)
@pytest.mark.parametrize("name", ["a null record", "a missing question", "a plan without data"])
def test_b8_every_command_reports_it(name: str, command: str, project: Project) -> None:
    """The same error with exit code 6, before anything else."""
    edit, line, said = DAMAGED[name]
    journal = edited(project, edit)
    before = {path: path.read_bytes() for path in project.path.rglob("*") if path.is_file()}
    code, output = call(project, *COMMANDS[command])
    assert code == 6, output
    assert f"{journal}:{line}: the journal is damaged in this line." in output
    assert said in output
    after = {path: path.read_bytes() for path in project.path.rglob("*") if path.is_file()}
    assert {path.name for path in after if after[path] != before.get(path)} <= {".lock", "lease.json", ".epoch"}


@pytest.mark.parametrize("name", WHOLE_AFTER_ALL)
def test_b8_harmless_edits_are_ignored(name: str, project: Project) -> None:
    """The study is read as before."""
    expected = json.loads(call(project, "status", "{study}", "--json")[1])
    journal = edited(project, WHOLE_AFTER_ALL[name])
    if name == "a torn last line":
        expected |= {"state": "interrupted (its process is gone; `scalecore run` resumes it)", "end_reason": None}
    code, output = call(project, "status", "{study}", "--json")
    assert code == 0, output
    assert json.loads(output) == expected
    for command in ("report", "analyze"):
        code, output = call(project, *COMMANDS[command])
        assert code == 0, output
    assert journal.exists()


def test_a_journal_of_a_later_format_is_refused(project: Project) -> None:
    """The message has both numbers and the remedy, also for `verify`, which cannot check it."""
    journal = edited(project, key(0, "format", 7))
    for command in (["status", "{study}"], ["verify", "{study}"], COMMANDS["run"], COMMANDS["report"]):
        code, output = call(project, *command)
        assert code == 5, output
        assert (
            f"{journal}:1: this journal has format 7, and this scalecore reads formats up to 2: a later version wrote "
            "it. Nothing was changed. Use that version or a later one\n"
        ) in output


def test_a_format_that_is_not_a_number_is_damage(project: Project) -> None:
    """It is not reported as a later format."""
    for wrong in ("1", True, [1]):
        journal = edited(project, key(0, "format", wrong))
        with pytest.raises(StudyError, match=r"journal\.jsonl:1: .* Problem: format: expected an integer"):
            read_state(journal)


JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5) | st.just(HUGE),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=5), inner, max_size=2),
    max_leaves=3,
)


@settings(
    max_examples=150, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(data=st.data())
def test_b8_any_single_edit_is_read_or_refused(data: st.DataObject, project: Project) -> None:
    """Values, keys, bytes and lines are replaced, removed or repeated anywhere in the journal."""
    journal = project.study("classification") / "journal.jsonl"
    lines = (Path(__file__).parent / "v0_1/studies/classification/journal.jsonl").read_bytes().splitlines(keepends=True)
    index = data.draw(st.integers(0, len(lines) - 1))
    if data.draw(st.booleans()):
        content = json.loads(lines[index])
        inner: Any = content
        while True:
            name = data.draw(st.sampled_from(list(inner) if isinstance(inner, dict) else list(range(len(inner)))))
            if not isinstance(inner[name], dict | list) or not inner[name] or data.draw(st.integers(0, 3)) == 0:
                break
            inner = inner[name]
        if data.draw(st.integers(0, 4)) == 0:
            del inner[name]
        else:
            inner[name] = data.draw(JSON_VALUES)
        lines[index] = json.dumps(content).encode() + b"\n"
    else:
        at = data.draw(st.integers(0, len(lines[index]) - 2))
        lines[index] = lines[index][:at] + data.draw(st.binary(max_size=3)) + lines[index][at + 1 :]
    journal.write_bytes(b"".join(lines))
    try:
        state = read_state(journal)
    except (StudyError, RefusedError) as error:
        said, state = str(error), None
    else:
        said = f"{journal}:{state.events}: whole"
    assert re.match(rf"{re.escape(str(journal))}:\d+: ", said)
