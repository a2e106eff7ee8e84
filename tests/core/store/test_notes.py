"""Notes of the user on a study."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from scalecore.api.errors import ExperimentError, RefusedError
from scalecore.api.files import write_json
from scalecore.store import event_lines
from scalecore.store.events import StudyBegun
from scalecore.store.journal import Journal
from scalecore.store.layout import StudyFolder
from scalecore.store.lock import StudyLock
from scalecore.store.notes import add_note, journal_notes, new_note, notes_of, pending_notes
from scalecore.store.state import read_state
from scalecore.testing.plans import make_plan

EXPERIMENT = {
    "name": "x",
    "dataset": {},
    "model": {},
    "training": {},
    "objective": {"metric": "val_loss", "direction": "minimize"},
    "search": {"trials": 3},
}
ROUNDS = 8


@pytest.fixture
def folder(tmp_path: Path) -> StudyFolder:
    """A begun study that is not running."""
    folder = StudyFolder(tmp_path)
    journal = Journal(folder.journal)
    journal.append(StudyBegun(format=1, experiment=EXPERIMENT, plan=make_plan()))
    journal.close()
    return folder


def lines(folder: StudyFolder) -> list[dict[str, Any]]:
    return [json.loads(line) for line in folder.journal.read_text().splitlines()]


def texts(folder: StudyFolder) -> list[str]:
    """The notes as every reader shows them."""
    pending = pending_notes(folder)
    return [note.text for note in notes_of(read_state(folder.journal), pending)]


def test_a_note_on_a_study_that_does_not_run_is_journalled(folder: StudyFolder) -> None:
    """A line `study` before the first one names the format; nothing else of the study changes."""
    before = read_state(folder.journal)
    assert add_note(folder, new_note(" first\r\nline "))
    assert add_note(folder, new_note("second"))
    found = lines(folder)
    assert [(one["event"], one.get("format")) for one in found] == [
        ("study", 1),
        ("study", 2),
        ("note", None),
        ("note", None),
    ]
    assert {**found[1], **dict.fromkeys(("seq", "time", "format"))} == {
        **found[0],
        **dict.fromkeys(("seq", "time", "format")),
    }
    assert texts(folder) == ["first\nline", "second"]
    assert list(folder.notes.iterdir()) == []
    after = read_state(folder.journal)
    assert (after.id, after.experiment, after.plan) == (before.id, before.experiment, before.plan)


def test_an_earlier_version_refuses_the_format_of_a_journal_with_notes(
    folder: StudyFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It does not call the journal damaged; a journal without notes it reads."""
    monkeypatch.setattr(event_lines, "FORMAT", 1)
    read_state(folder.journal)
    monkeypatch.undo()
    add_note(folder, new_note("first"))
    monkeypatch.setattr(event_lines, "FORMAT", 1)
    with pytest.raises(RefusedError) as error:
        read_state(folder.journal)
    assert str(error.value) == (
        f"{folder.journal}:2: this journal has format 2, and this scalecore reads formats up to 1: a later version "
        "wrote it. Nothing was changed. Use that version or a later one"
    )


def test_a_note_on_a_running_study_waits_for_its_driver(folder: StudyFolder) -> None:
    """Until then every reader shows it from its file; the driver journals it once."""
    lock = StudyLock(folder)
    try:
        assert not add_note(folder, new_note("first"))
        assert not add_note(folder, new_note("second"))
        assert len(lines(folder)) == 1
        assert texts(folder) == ["first", "second"]
        state = read_state(folder.journal)
        journal = Journal(folder.journal)

        def record(event: Any) -> None:
            for one in state.announced(event):
                state.apply(journal.append(one))

        assert [note.text for note in journal_notes(folder, state, record)] == ["first", "second"]
        assert journal_notes(folder, state, record) == []
        journal.close()
    finally:
        lock.release()
    assert [one["event"] for one in lines(folder)] == ["study", "study", "note", "note"]
    assert texts(folder) == ["first", "second"]


def test_a_kill_between_the_line_and_the_removal_of_the_file_repeats_no_note(folder: StudyFolder) -> None:
    """The file is removed by the next writer, without a second line."""
    note = new_note("first")
    add_note(folder, note)
    write_json(folder.notes / f"{note.key}.json", note)
    assert texts(folder) == ["first"]
    add_note(folder, new_note("second"))
    assert [one["text"] for one in lines(folder) if one["event"] == "note"] == ["first", "second"]
    assert list(folder.notes.iterdir()) == []


def test_a_kill_before_the_line_loses_no_note(folder: StudyFolder) -> None:
    """Its file is shown, and journalled with the next note, in the order of writing."""
    note = new_note("first")
    folder.notes.mkdir()
    write_json(folder.notes / f"{note.key}.json", note)
    with folder.journal.open("ab") as stream:
        stream.write(b'{"seq":1')
    assert texts(folder) == ["first"]
    add_note(folder, new_note("second"))
    assert texts(folder) == ["first", "second"]
    assert [one["event"] for one in lines(folder)] == ["study", "repaired", "study", "note", "note"]


def write_notes(path: Path, name: str) -> None:
    for number in range(ROUNDS):
        add_note(StudyFolder(path), new_note(f"{name} {number}"))


def test_notes_of_several_processes_at_once_are_all_kept(folder: StudyFolder) -> None:
    """Each is journalled exactly once; one that finds the lock taken waits for the next writer."""
    writers = [subprocess.Popen([sys.executable, __file__, folder.path, name]) for name in "abc"]
    assert [writer.wait() for writer in writers] == [0] * 3
    add_note(folder, new_note("last"))
    written = [one["text"] for one in lines(folder) if one["event"] == "note"]
    assert sorted(written) == sorted([*(f"{name} {number}" for name in "abc" for number in range(ROUNDS)), "last"])
    assert texts(folder)[-1] == "last"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (" \n\t ", "the note is empty"),
        ("x" * 10_001, "the note has 10,001 characters; at most 10,000 are stored"),
        ("a\x1b[31mb", "character 2 is \\x1b, a control character; remove it"),
        ("ab\x00", "character 3 is \\x00, a control character; remove it"),
        ("\udcff", "character 1 is \\udcff, half of a character or no UTF-8 text; remove it"),
    ],
)
def test_texts_that_cannot_be_shown_are_refused(text: str, message: str) -> None:
    """With the first wrong character."""
    with pytest.raises(ExperimentError) as error:
        new_note(text)
    assert str(error.value) == f"--note: {message}"


def test_other_languages_line_breaks_and_tabs_are_kept() -> None:
    """Only what controls a terminal is refused."""
    assert new_note("größer\t大きい 👩\u200d🔬\nzwei\xa0Zeilen").text == "größer\t大きい 👩\u200d🔬\nzwei\xa0Zeilen"


if __name__ == "__main__":  # one of several processes of a test
    write_notes(Path(sys.argv[1]), sys.argv[2])
