"""The folder of an attempt: the whole protocol between the driver and the process that trains.

| file | writer | content |
|---|---|---|
| `spec.json` | driver | what to run; complete before the attempt is submitted |
| `group.json` | executor | the control group that the attempt enters and the GPU that it may see, where it has such |
| `process.json` | attempt | host, boot, process id and start, the folder's device and inode; made first, exclusively |
| `control.json` | driver | what to do now: go_on, pause, stop, prune |
| `progress.json` | attempt | phase, epoch, step, replaced twice a second and at each evaluation: the sign of progress |
| `epochs.jsonl` | attempt | one line per epoch |
| `checkpoint.pt`, `.json` | attempt | see `scalecore_torch.training.checkpoint` |
| `predictions.npz` | attempt | validation logits of its best epoch, see `scalecore.data.predictions` |
| `compiled/` | attempt | the files of a compiler, there only while it compiles |
| `result.json` | attempt | how it ended, once, at its end; carries the attempt's id, which fences late results |
| `log.txt` | attempt | standard output and error; cut by the driver when it grows too long |
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
"""The exit code of a second process in an attempt's folder (EX_CANTCREAT): the first one has the attempt."""

CANNOT_WRITE = "the attempt cannot write: "
"""How the last line of its log begins then."""

LOG_BYTES = 1 << 20
"""How long a log may grow before it is cut to its first and its last quarter."""

Kind = TypeVar("Kind")
Control = Literal["go_on", "pause", "stop", "prune"]


@frozen(kw_only=True, slots=False)
class ControlFile(Part):
    """The driver's request to the attempt: `control.json`."""

    action: Control


@frozen(kw_only=True, slots=False)
class GroupFile(Part):
    """What the executor has for the attempt: `group.json`."""

    group: str | None = None
    """The folder of its control group."""
    gpu: str | None = None
    """The only one that it may see."""


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
        """Remove what an earlier attempt left where this folder is to be made.

        Raises `RefusedError` for what no attempt has made: behind a link lie files of somebody else.
        """
        for path in (self.path.parent, self.path):
            if path.is_symlink() or (path.exists() and not path.is_dir()):
                raise RefusedError(f"{path} is no folder that scalecore has made, but a link or a file; remove it")
        if self.path.exists():
            shutil.rmtree(self.path)

    def create(self, spec: AttemptSpec) -> None:
        """Make the folder with its `spec.json`."""
        self.path.mkdir(parents=True, exist_ok=False)
        write_json(self.spec, spec)

    def tell(self, action: Control) -> None:
        """Set what the attempt shall do from its next step on."""
        write_json(self.control, ControlFile(action=action), durable=False)

    def read_spec(self) -> AttemptSpec:
        """What the attempt is to do, as any trainer has it. Raises `StudyError` where that cannot be read."""
        return self.read_own_spec(AttemptSpec)

    def read_own_spec(self, kind: type[Kind]) -> Kind:
        """The same with what one trainer needs besides: `kind` is its class, an `AttemptSpec`."""
        return _read(self.spec, kind)

    def read_result(self, attempt: str) -> AttemptResult | None:
        """The result if it is there, and that of this attempt. Raises `StudyError` where it cannot be read."""
        try:
            result = _read(self.result, AttemptResult)
        except FileNotFoundError:
            return None
        return result if result.attempt == attempt else None

    def read_process(self) -> ProcessFile | None:
        """The process that runs the attempt; None where none has begun, or it cannot be read."""
        return find_kept(self.process, ProcessFile)

    def read_group(self) -> GroupFile:
        """What the executor has for the attempt, nothing where it has written nothing."""
        return find_kept(self.group, GroupFile) or GroupFile()

    def read_control(self) -> Control | None:
        """The driver's request to the attempt; None if there is none."""
        found = find_kept(self.control, ControlFile)
        return None if found is None else found.action

    def read_progress(self) -> AttemptProgress | None:
        """How far the attempt is, or None before its first step."""
        return find_kept(self.progress, AttemptProgress)

    def read_epochs(self, *, after: int) -> list[dict[str, Any]]:
        """Whole lines of the learning curve from line `after` on.

        A line that is being written is left for the next time, and so is one that a power cut damaged, with what
        follows it: this file is not flushed to the disk.
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
        """The end of what the attempt printed."""
        try:
            with self.log.open("rb") as stream:
                stream.seek(0, 2)
                stream.seek(max(0, stream.tell() - 4 * characters))
                text = stream.read().decode("utf-8", errors="replace")[-characters:].strip()
                return printable(masked(text), keep="\n\t")
        except FileNotFoundError:
            return ""

    def raise_disk_error(self, status: AttemptStatus) -> None:
        """Raise the error of the disk that the attempt could report by its exit code only (guard G48)."""
        if status.exit_code == DISK_EXIT:
            raise OSError(errno.EIO, self.disk_problem())

    def disk_problem(self) -> str:
        """What an attempt could not write, from the end of its log, where that could be written."""
        said = self.log_tail().rpartition("\n")[2]
        return said if said.startswith(CANNOT_WRITE) else "the attempt could not write to its folder"

    def trim_log(self) -> None:
        """Keep the beginning and the end of a log that has grown beyond `LOG_BYTES`: a model may print without end.

        What is printed meanwhile is appended behind the cut, or lost with what is cut out.
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
        """Whether an attempt left a checkpoint, beside which a seal may lie."""
        return any(one.suffix not in (".json", ".tmp") for one in self.path.glob("checkpoint*"))

    def remove_checkpoints(self, *, weights: bool = False) -> None:
        """Delete what only an unfinished trial needs (guard G44); `weights` of its best epochs too."""
        for name in (
            "checkpoint*",
            "predictions*",
            ".*.tmp",
            ".tmp*",
            *(["best_*"] if weights else []),
        ):  # the last are of safetensors
            for path in self.path.glob(name):
                path.unlink(missing_ok=True)
        shutil.rmtree(self.compiled, ignore_errors=True)  # where the attempt was killed while it compiled


def _read(path: Path, kind: type[Kind]) -> Kind:
    """As `read_kept`, and a `StudyError` also for what is there and is no file that can be read."""
    try:
        return read_kept(path, kind)
    except FileNotFoundError:
        raise
    except OSError as error:
        if is_disk_error(error):
            raise
        raise StudyError(f"{path}: {error.strerror}") from None


def _epoch(line: bytes) -> dict[str, Any]:
    """A line of the learning curve. Raises ValueError where it is none."""
    content: Any = json_of(line)
    epoch = checked(EpochResult, content).epoch
    if epoch is None or epoch < 1:
        raise ValueError(f"epoch {epoch}")
    return dict(content)


def prepare_readers(spec: type[AttemptSpec]) -> None:
    """Make ready to read and write the files of an attempt, which takes some milliseconds at the first time."""
    prepare(spec, AttemptResult, AttemptProgress, ControlFile, GroupFile, ProcessFile)
