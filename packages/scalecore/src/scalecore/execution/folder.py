"""The folder of an attempt: the complete protocol between the driver and the training process.

| file | writer | content |
|---|---|---|
| `spec.json` | driver | what to run; complete before the attempt is submitted |
| `group.json` | executor | the control group that the attempt enters and the GPU that it may use, if any |
| `process.json` | attempt | host, boot, process id, start, the folder's device and inode; created first, exclusively |
| `control.json` | driver | the current request: go_on, pause, stop, prune |
| `progress.json` | attempt | phase, epoch, step, replaced twice a second and at each evaluation: the sign of progress |
| `epochs.jsonl` | attempt | one line per epoch |
| `checkpoint.pt`, `.json` | attempt | see `scalecore_torch.training.checkpoint` |
| `predictions.npz` | attempt | validation logits of its best epoch, see `scalecore.data.predictions` |
| `compiled/` | attempt | the files of a compiler, only while it compiles |
| `result.json` | attempt | how it ended, written once at the end; its attempt id identifies late results |
| `log.txt` | attempt | standard output and error; shortened by the driver when it grows too long |
"""

from __future__ import annotations

import errno
import os
import shutil
from contextlib import suppress
from pathlib import Path
from typing import Any, Literal, TypeVar

from attrs import frozen

from scalecore.api.errors import RefusedError, StudyError
from scalecore.api.escaping import masked, printable
from scalecore.api.executor import AttemptStatus
from scalecore.api.files import is_disk_error, write_json
from scalecore.api.record_parts import EpochResult, Part
from scalecore.config.kept import checked, find_kept, json_of, prepare, read_kept
from scalecore.execution.attempt_result import AttemptProgress, AttemptResult
from scalecore.execution.attempt_spec import AttemptSpec
from scalecore.execution.process_file import ProcessFile
from scalecore.execution.relative_paths import Below

DISK_EXIT = 74
"""The exit code of an attempt that could not write to its folder (EX_IOERR of sysexits.h)."""

TAKEN_EXIT = 73
"""The exit code of a second process in an attempt's folder (EX_CANTCREAT): the first one owns the attempt."""

CANNOT_WRITE = "the attempt cannot write: "
"""The start of the last log line of such an attempt."""

LOG_BYTES = 1 << 20
"""Maximum size of a log; a longer one is cut to its first and last quarter MiB."""

Kind = TypeVar("Kind")
Control = Literal["go_on", "pause", "stop", "prune"]


@frozen(kw_only=True, slots=False)
class ControlFile(Part):
    """The driver's request to the attempt: `control.json`."""

    action: Control


@frozen(kw_only=True, slots=False)
class GroupFile(Part):
    """The executor's settings for the attempt: `group.json`."""

    group: str | None = None
    """The folder of its control group."""
    gpu: str | None = None
    """The only GPU that it may use."""


@frozen
class AttemptFolder:
    """Paths and contents of one attempt."""

    path: Path

    spec = Below("spec.json")
    process = Below("process.json")
    group = Below("group.json")
    control = Below("control.json")
    progress = Below("progress.json")
    epochs = Below("epochs.jsonl")
    predictions = Below("predictions.npz")
    result = Below("result.json")
    log = Below("log.txt")
    compiled = Below("compiled")

    def clear(self) -> None:
        """Remove the folder of an earlier attempt in the place of this one.

        Raises `RefusedError` for a link or a file, which scalecore did not create.
        """
        for path in (self.path.parent, self.path):
            if path.is_symlink() or (path.exists() and not path.is_dir()):
                raise RefusedError(f"{path} is a link or a file, not a folder created by scalecore; remove it")
        if self.path.exists():
            shutil.rmtree(self.path)

    def create(self, spec: AttemptSpec) -> None:
        """Create the folder with its `spec.json`."""
        self.path.mkdir(parents=True, exist_ok=False)
        write_json(self.spec, spec)

    def tell(self, action: Control) -> None:
        """Send a request to the attempt, which reads it at its next step."""
        write_json(self.control, ControlFile(action=action), durable=False)

    def read_spec(self) -> AttemptSpec:
        """Read the spec fields of all trainers. Raises `StudyError` if it cannot be read."""
        return self.read_own_spec(AttemptSpec)

    def read_own_spec(self, kind: type[Kind]) -> Kind:
        """Read the spec as the class of one trainer; `kind` is a subclass of `AttemptSpec`."""
        return _read(self.spec, kind)

    def read_result(self, attempt: str) -> AttemptResult | None:
        """Read the result; None if there is none of this attempt. Raises `StudyError` if it cannot be read."""
        try:
            result = _read(self.result, AttemptResult)
        except FileNotFoundError:
            return None
        return result if result.attempt == attempt else None

    def read_process(self) -> ProcessFile | None:
        """Read the process that runs the attempt; None if none has started or the file cannot be read."""
        return find_kept(self.process, ProcessFile)

    def read_group(self) -> GroupFile:
        """Read the executor's settings for the attempt; empty if there is no file."""
        return find_kept(self.group, GroupFile) or GroupFile()

    def read_control(self) -> Control | None:
        """Read the driver's request to the attempt; None if there is none."""
        found = find_kept(self.control, ControlFile)
        return None if found is None else found.action

    def read_progress(self) -> AttemptProgress | None:
        """Read the progress of the attempt; None before its first step."""
        return find_kept(self.progress, AttemptProgress)

    def read_epochs(self, *, after: int) -> list[dict[str, Any]]:
        """Read complete lines of the learning curve, starting at line `after`.

        An incomplete line is left for the next call. Since this file is not flushed to the disk, a power cut may damage
        it: reading stops before a damaged line.
        """
        try:
            lines = self.epochs.read_bytes().split(b"\n")[after:-1]
        except (FileNotFoundError, IsADirectoryError):
            return []
        found: list[dict[str, Any]] = []
        with suppress(ValueError):
            found.extend(map(_epoch, lines))
        return found

    def log_tail(self, *, characters: int = 2000) -> str:
        """Return the end of the attempt's log."""
        try:
            with self.log.open("rb") as stream:
                stream.seek(0, 2)
                stream.seek(max(0, stream.tell() - 4 * characters))
                text = stream.read().decode("utf-8", errors="replace")[-characters:].strip()
                return printable(masked(text), keep="\n\t")
        except FileNotFoundError:
            return ""

    def raise_disk_error(self, status: AttemptStatus) -> None:
        """Raise a disk error that the attempt could report only by its exit code (guard G48)."""
        if status.exit_code == DISK_EXIT:
            raise OSError(errno.EIO, self.disk_problem())

    def disk_problem(self) -> str:
        """Describe the failed write, from the end of the attempt's log if that could be written."""
        said = self.log_tail().rpartition("\n")[2]
        return said if said.startswith(CANNOT_WRITE) else "the attempt could not write to its folder"

    def trim_log(self) -> None:
        """Keep the start and the end of a log longer than `LOG_BYTES`, since a model may print without limit.

        Output printed meanwhile is appended after the cut, or lost with the removed part.
        """
        try:
            if self.log.stat().st_size <= LOG_BYTES:
                return
        except FileNotFoundError:
            return
        with self.log.open("r+b") as stream:
            cut = stream.seek(-LOG_BYTES // 4, os.SEEK_END) - LOG_BYTES // 4
            tail = stream.read()
            stream.truncate(LOG_BYTES // 4)
        with self.log.open("ab") as stream:
            stream.write(f"\n[scalecore: {cut:,} bytes were left out here]\n".encode() + tail)

    def has_checkpoint(self) -> bool:
        """Whether the attempt left a checkpoint, ignoring its `.json` file."""
        return any(one.suffix not in (".json", ".tmp") for one in self.path.glob("checkpoint*"))

    def remove_checkpoints(self, *, weights: bool = False) -> None:
        """Delete files that only an unfinished trial needs (guard G44); with `weights`, its best weights too."""
        for name in (
            "checkpoint*",
            "predictions*",
            ".*.tmp",
            ".tmp*",
            *(["best_*"] if weights else []),
        ):  # safetensors writes `.tmp*`
            for path in self.path.glob(name):
                path.unlink(missing_ok=True)
        shutil.rmtree(self.compiled, ignore_errors=True)  # left if the attempt was killed while it compiled


def _read(path: Path, kind: type[Kind]) -> Kind:
    """Like `read_kept`, but raise a `StudyError` also for an existing path that is not a readable file."""
    try:
        return read_kept(path, kind)
    except FileNotFoundError:
        raise
    except OSError as error:
        if is_disk_error(error):
            raise
        raise StudyError(f"{path}: {error.strerror}") from None


def _epoch(line: bytes) -> dict[str, Any]:
    """Parse a line of the learning curve; raise ValueError if it is invalid."""
    content: Any = json_of(line)
    epoch = checked(EpochResult, content).epoch
    if epoch is None or epoch < 1:
        raise ValueError(f"epoch {epoch}")
    return dict(content)


def prepare_readers(spec: type[AttemptSpec]) -> None:
    """Prepare the readers and writers of an attempt's files, which takes some milliseconds the first time."""
    prepare(spec, AttemptResult, AttemptProgress, ControlFile, GroupFile, ProcessFile)
