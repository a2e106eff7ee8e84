"""The journal: one JSON object a line, appended and flushed to the disk before anyone is told.

Each line carries a running number `seq`, the UTC `time` and the `event`. A last line without its newline was being
written when the power went: it is set aside beside the journal and the study goes on. A damaged line anywhere else is
refused with its number, since silently dropping it would lose what was acknowledged.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping
from itertools import count
from pathlib import Path
from typing import Any, BinaryIO

from scalecore.api.errors import RefusedError, StudyError
from scalecore.api.files import detach, plain, replacing, sync_folder, utc_now
from scalecore.api.plan_report import PlanReport
from scalecore.config.kept import json_of, structured

__all__ = ["Journal", "read_journal"]

RESTORE = "nothing was changed; restore the file from a backup"


def read_journal(path: Path) -> Iterator[dict[str, Any]]:
    """The events of a journal in their order; a torn last line is passed over.

    Raises `StudyError` for a damaged one.
    """
    with path.open("rb") as stream:
        for index, line in enumerate(stream):
            if not line.endswith(b"\n"):
                return
            try:
                event = json_of(line)
            except ValueError:
                event = None
            if not isinstance(event, dict) or event.get("seq") != index:
                raise StudyError(
                    f"{path}:{index + 1}: the journal is damaged in this line. Nothing was changed. Restore the file "
                    "from a backup; "
                    f"or, to go on without what follows, keep its first {index} lines in a copy."
                )
            if "plan" in event:  # the most that one line holds, and read by every command
                structured(PlanReport, event["plan"], place=f"{path}:{index + 1}: plan", remedy=RESTORE)
            yield event


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

    def append(self, event: str, content: Mapping[str, Any]) -> dict[str, Any]:
        """Store one event; when this returns it is on the disk.

        Raises OSError when the disk is full: what was written of the line is taken back, so that the journal stays
        whole.
        """
        line = {"seq": self._lines, "time": utc_now(), "event": event, **plain(content)}
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
        return line

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
