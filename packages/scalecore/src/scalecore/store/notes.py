"""The user's notes on a study: a file each in the study's folder, until the process that owns its lock journals them.

The journal has one writer. `add_note` writes the file first, then journals it if no process runs the study; otherwise
the driver does. A file is removed after its line is on the disk, and its key prevents a second line.
"""

from __future__ import annotations

import os
import time
import unicodedata
from collections.abc import Callable, Sequence
from contextlib import closing

from scalecore.api.errors import ExperimentError, RefusedError
from scalecore.api.files import utc_now, write_json
from scalecore.api.trials import Note
from scalecore.config.kept import find_kept
from scalecore.store.disk import explained
from scalecore.store.events import Event, NoteAdded, Repaired
from scalecore.store.journal import Journal
from scalecore.store.layout import StudyFolder
from scalecore.store.lock import StudyLock
from scalecore.store.state import StudyState, read_state

LONGEST_NOTE = 10_000


def new_note(text: str) -> Note:
    """A note written now, without surrounding blanks.

    Raises `ExperimentError` for a text that is empty, too long, or has control characters.
    """
    text = text.replace("\r\n", "\n").strip()
    if not text:
        raise ExperimentError("--note: the note is empty")
    if len(text) > LONGEST_NOTE:
        raise ExperimentError(f"--note: the note has {len(text):,} characters; at most {LONGEST_NOTE:,} are stored")
    wrong = (one for one in text if unicodedata.category(one) in ("Cc", "Cs") and one not in "\n\t")
    if (one := next(wrong, None)) is not None:
        what = "half of a character or no UTF-8 text" if unicodedata.category(one) == "Cs" else "a control character"
        raise ExperimentError(f"--note: character {text.index(one) + 1} is {ascii(one)[1:-1]}, {what}; remove it")
    return Note(key=f"{time.time_ns()}-{os.urandom(4).hex()}", written=utc_now(), text=text)


def add_note(folder: StudyFolder, note: Note) -> bool:
    """Keep a note; return False if a process runs the study and will journal it.

    Raises `StudyError` for a damaged journal or a full disk.
    """
    read_state(folder.journal)  # not to a study that cannot be read
    with explained(folder.path):
        try:
            folder.notes.mkdir(exist_ok=True)
            write_json(folder.notes / f"{note.key}.json", note)
        except PermissionError as error:
            raise RefusedError(f"{folder.path}: the note cannot be written: {error.strerror}") from None
        try:
            lock = StudyLock(folder)
        except RefusedError:
            return False
        try:
            state = read_state(folder.journal)
            with closing(Journal(folder.journal, lines=state.events)) as journal:

                def record(event: Event) -> None:
                    for one in state.announced(event):
                        state.apply(journal.append(one))

                if journal.torn is not None:
                    record(Repaired.of_torn(journal.torn))
                journal_notes(folder, state, record)
        finally:
            lock.release()
    return True


def journal_notes(folder: StudyFolder, state: StudyState, record: Callable[[Event], None]) -> list[Note]:
    """Journal the notes in the folder with `record`, which also applies them to `state`; return the new ones.

    Only the owner of the study's lock calls this.
    """
    new: list[Note] = []
    for note in pending_notes(folder):
        if note.key not in state.notes:
            record(NoteAdded(key=note.key, written=note.written, text=note.text))
            new.append(note)
        (folder.notes / f"{note.key}.json").unlink(missing_ok=True)
    return new


def pending_notes(folder: StudyFolder) -> list[Note]:
    """The notes in the folder, in the order in which they were written; some may be in the journal too."""
    found = (find_kept(path, Note) for path in folder.notes.glob("[!.]*.json"))
    return sorted((note for note in found if note is not None), key=_order)


def notes_of(state: StudyState, pending: Sequence[Note]) -> tuple[Note, ...]:
    """All notes in the order in which they were written.

    `pending` must have been read before the journal, or a note journalled in between would be missing.
    """
    stored = (Note(key=one.key, written=one.written, text=one.text) for one in state.notes.values())
    return tuple(sorted({note.key: note for note in (*pending, *stored)}.values(), key=_order))


def _order(note: Note) -> tuple[str, str]:
    return note.written, note.key
