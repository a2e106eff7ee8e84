"""The journal: one JSON object per line, appended and flushed to the disk before it is reported to anyone.

Each line contains a running number `seq`, the UTC `time` and the `event`. A last line without a newline was being
written when the machine lost power: it is moved to a file next to the journal, and the study continues. A damaged line
anywhere else is an error with its number, since silently dropping it would lose recorded results.
"""

from __future__ import annotations

import codecs
import json
import os
from collections.abc import Iterator
from itertools import count
from pathlib import Path
from typing import BinaryIO

from attrs import evolve

from scalecore.api.errors import RefusedError, StudyError
from scalecore.api.files import detach, replacing, sync_folder, utc_now
from scalecore.config.constraints import described
from scalecore.config.kept import json_of
from scalecore.store.event_lines import event_from
from scalecore.store.events import Event, StudyBegun


def read_journal(path: Path) -> Iterator[Event]:
    """Yield the events of a journal in order; skip an incomplete last line.

    Raises `StudyError` with file and line for a damaged line, and `RefusedError` for a later format.
    """
    with path.open("rb") as stream:
        for index, line in enumerate(stream):
            if not line.endswith(b"\n"):
                return
            try:
                yield _event(line if index else line.removeprefix(codecs.BOM_UTF8), index)
            except ValueError as problem:
                raise damaged(path, index, str(problem)) from None
            except RefusedError as problem:
                raise RefusedError(f"{path}:{index + 1}: {problem}") from None


def damaged(path: Path, index: int, problem: str) -> StudyError:
    """Return the error for the damaged line with this index."""
    before = f"; or keep only its first {index} lines in a copy of the study, and continue from there" if index else ""
    return StudyError(
        f"{path}:{index + 1}: the journal is damaged in this line. Nothing was changed. Problem: {problem}. Restore "
        f"the file from a backup{before}."
    )


def _event(line: bytes, index: int) -> Event:
    """Parse a line; raise `ValueError` if it is not the event with this index."""
    content = json_of(line)
    if type(content) is not dict:
        raise ValueError("expected a JSON object")
    if content.get("seq") != index or type(content["seq"]) is not int:
        found = "is missing" if "seq" not in content else f"is {described(content['seq'])}"
        raise ValueError(f"seq {found}, expected {index}: a line is missing, repeated or misplaced")
    if type(content.get("time")) is not str:
        raise ValueError("time: expected a string, got " + described(content.get("time")))
    event = event_from(content)
    if index == 0 and not isinstance(event, StudyBegun):
        raise ValueError(f"the first event of a journal must be 'study', got {event.name!r}")
    return event


class Journal:
    """Appends to a study's journal. Only the driver that owns the study's lock opens it."""

    def __init__(self, path: Path, *, lines: int | None = None) -> None:
        """`lines` is the number of lines if the journal was already read under the study's lock."""
        if path.is_symlink():
            raise RefusedError(f"{path} is a symbolic link to a file elsewhere; put the file itself in its place")
        self.path = path
        detach(path)
        self.torn = self._set_torn_line_aside()
        created = not path.exists()
        self._lines = lines if lines is not None else 0 if created else sum(1 for _ in read_journal(path))
        self._stream: BinaryIO = path.open("ab", buffering=0)
        if created:
            sync_folder(path.parent)

    def append(self, event: Event) -> Event:
        """Append one event, flush it to the disk, and return it as a reader gets it.

        Raises `ValueError` before writing if a reader would refuse the event. Raises OSError if the disk is full, after
        removing the part of the line that was written, so that the journal stays intact.
        """
        line = evolve(event, seq=self._lines, time=utc_now()).line()
        stored = event_from(line)
        data = (json.dumps(line, allow_nan=False, ensure_ascii=False, separators=(",", ":")) + "\n").encode()
        before = os.fstat(self._stream.fileno()).st_size
        try:
            while data:  # a disk that becomes full accepts a part, and raises at the next write
                data = data[self._stream.write(data) :]
            os.fsync(self._stream.fileno())
        except OSError:
            os.ftruncate(self._stream.fileno(), before)
            raise
        self._lines += 1
        return stored

    def close(self) -> None:
        self._stream.close()

    def _set_torn_line_aside(self) -> Path | None:
        """Move an incomplete last line to `journal.torn-N.jsonl`; return that path, or None if there is none."""
        if not self.path.exists():
            return None
        content = self.path.read_bytes()
        end = content.rfind(b"\n") + 1
        if end == len(content):
            return None
        names = (self.path.with_name(f"journal.torn-{number}.jsonl") for number in count())
        aside = next(path for path in names if not path.exists())
        with replacing(aside) as temporary:
            temporary.write_bytes(content[end:])
        with self.path.open("r+b") as stream:
            stream.truncate(end)
            os.fsync(stream.fileno())
        return aside
