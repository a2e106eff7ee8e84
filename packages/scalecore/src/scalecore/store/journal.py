"""The journal: one JSON object a line, appended and flushed to the disk before anyone is told.

Each line carries a running number `seq`, the UTC `time` and the `event`. A last line without its newline was being
written when the power went: it is set aside beside the journal and the study goes on. A damaged line anywhere else is
refused with its number, since silently dropping it would lose what was acknowledged.
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
    """The events of a journal in their order; a torn last line is passed over.

    Raises `StudyError` with file and line for a damaged one, and `RefusedError` for a journal of a later format.
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
    """The error of the line of this index."""
    before = f"or, to continue without what follows, keep its first {index} lines in a copy" if index else ""
    return StudyError(
        f"{path}:{index + 1}: the journal is damaged in this line. Nothing was changed. Problem: {problem}. Restore "
        f"the file from a backup{before and f'; {before}'}."
    )


def _event(line: bytes, index: int) -> Event:
    """Raises `ValueError` where the line is not the event of this index."""
    content = json_of(line)
    if type(content) is not dict:
        raise ValueError("expected a JSON object")
    if content.get("seq") != index or type(content["seq"]) is not int:
        found = "is missing" if "seq" not in content else f"is {described(content['seq'])}"
        raise ValueError(f"seq {found}, expected {index}: a line is missing, repeated or in another place")
    if type(content.get("time")) is not str:
        raise ValueError("time: expected text, got " + described(content.get("time")))
    event = event_from(content)
    if index == 0 and not isinstance(event, StudyBegun):
        raise ValueError(f"a journal begins with the event 'study', got {event.name!r}")
    return event


class Journal:
    """Appends to a study's journal. Only the driver that holds the study's lock opens one."""

    def __init__(self, path: Path, *, lines: int | None = None) -> None:
        """`lines` of a journal that was read under the study's lock, which are not counted again."""
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
        """Store one event, and return it as a reader gets it; when this returns it is on the disk.

        Raises `ValueError` for what no reader would take, before anything is written, and OSError when the disk is
        full: what was written of the line is taken back, so that the journal stays whole.
        """
        line = evolve(event, seq=self._lines, time=utc_now()).line()
        stored = event_from(line)
        data = (json.dumps(line, allow_nan=False, ensure_ascii=False, separators=(",", ":")) + "\n").encode()
        before = os.fstat(self._stream.fileno()).st_size
        try:
            while data:  # a disk that gets full takes a part, and says why at the next
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
        """Move what stands behind the last newline to `journal.torn-N.jsonl`; None where there is nothing."""
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
