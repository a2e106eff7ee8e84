"""Write files atomically and durably, and JSON strictly."""

from __future__ import annotations

import errno
import hashlib
import json
import math
import os
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from enum import Enum
from pathlib import Path
from typing import Any

import attrs

from scalecore.api.escaping import message_of, utf8

__all__ = [
    "broken_link",
    "canonical_json",
    "content_hash",
    "create_json",
    "detach",
    "is_disk_error",
    "plain",
    "read_json",
    "replacing",
    "start_ticks",
    "sync_folder",
    "utc_now",
    "write_bytes",
    "write_json",
    "write_text",
]


def utc_now() -> str:
    """Return the current time in ISO 8601, UTC, to the millisecond, for display and records.

    Measure durations with monotonic clocks instead.
    """
    return datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def broken_link(path: Path) -> str | None:
    """Return the problem of a broken link, such as those of git-annex; None if `path` is not a broken link."""
    if not path.is_symlink() or path.exists():
        return None
    target = os.readlink(path)
    annex = f"; fetch it with `git annex get {path.name}`" if "annex/objects/" in target else ""
    return f"is a link to {target}, which does not exist{annex}"


def plain(value: Any) -> Any:
    """Convert `value` to strict JSON types: enums to their value, paths to text, NaN and infinities to None (G25).

    Attrs classes become mappings of their fields, or the result of their method `plain`.
    """
    # Fast path: a study stores millions of values of these exact types.
    kind = type(value)
    if kind is str:
        return utf8(value)
    if kind is int or kind is bool or value is None:
        return value
    if kind is float:
        return value if math.isfinite(value) else None
    if kind is dict:
        return {utf8(key if type(key) is str else str(key)): plain(item) for key, item in value.items()}
    if kind is list or kind is tuple:
        return [plain(item) for item in value]
    if isinstance(value, Enum):
        return value.value
    if isinstance(value, str):
        return utf8(value)
    if isinstance(value, int):
        return int(value)
    if isinstance(value, float):  # also one of numpy
        return float(value) if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {utf8(str(key)): plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [plain(item) for item in value]
    if isinstance(value, Path):
        return str(value)
    if callable(own := getattr(value, "plain", None)):
        return plain(own())
    if attrs.has(kind):
        return {one.name: plain(getattr(value, one.name)) for one in attrs.fields(kind)}
    if hasattr(value, "item"):  # a number of numpy or torch
        return plain(value.item())
    raise TypeError(f"{type(value).__name__} cannot be stored as JSON: {value!r}")


def canonical_json(value: Any) -> str:
    """Return the unique text of a content, with sorted keys and no spaces: the input of every content hash."""
    return json.dumps(plain(value), sort_keys=True, separators=(",", ":"), allow_nan=False, ensure_ascii=False)


def content_hash(content: Any) -> str:
    """Return the SHA-256 of the canonical JSON of `content`, in hexadecimal digits."""
    return hashlib.sha256(canonical_json(content).encode()).hexdigest()


@contextmanager
def replacing(path: Path, *, durable: bool = True) -> Iterator[Path]:
    """Yield a temporary path next to `path`; the file written there replaces `path` atomically at the end.

    A reader sees the old or the new content, never a part. If writing fails, the old content remains. `durable` waits
    until the content is on the disk.
    """
    temporary = path.with_name(f".{path.name}.{os.urandom(4).hex()}.tmp")
    try:
        yield temporary
        if durable:
            with temporary.open("rb") as stream:
                os.fsync(stream.fileno())
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)
    if durable:
        sync_folder(path.parent)


def write_bytes(path: Path, content: bytes, *, durable: bool = True) -> None:
    """Replace `path` by `content` atomically."""
    with replacing(path, durable=durable) as temporary:
        temporary.write_bytes(content)


def write_text(path: Path, text: str, *, durable: bool = True) -> None:
    """Replace `path` by `text` in UTF-8 atomically."""
    write_bytes(path, text.encode("utf-8"), durable=durable)


def write_json(path: Path, value: Any, *, durable: bool = True, indent: int | None = 2) -> None:
    """Replace `path` by `value` as strict JSON, atomically."""
    text = json.dumps(plain(value), indent=indent, allow_nan=False, ensure_ascii=False)
    write_text(path, text + "\n", durable=durable)


def create_json(path: Path, value: Any) -> None:
    """Write a new file `path` as strict JSON; raise `FileExistsError` if it exists."""
    with path.open("x", encoding="utf-8") as stream:
        stream.write(json.dumps(plain(value), indent=2, allow_nan=False, ensure_ascii=False) + "\n")


def detach(path: Path) -> None:
    """Replace `path` by a copy of itself if it has other hard links; call this before appending to the file.

    A copy of a study by hard links (`cp -al`) must not write to the original.
    """
    if path.exists() and path.stat().st_nlink > 1:
        write_bytes(path, path.read_bytes())


def read_json(path: Path) -> Any:
    """Return the content of a JSON file; None if it is missing or incomplete."""
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (FileNotFoundError, NotADirectoryError, IsADirectoryError, ValueError, RecursionError):
        return None


def start_ticks(pid: int) -> int | None:
    """Return the start time of a process in kernel ticks since boot; None if the kernel does not report it.

    Unlike a time of day it does not change when the clock is set. With the process id it identifies a process uniquely.
    """
    try:
        # The name in parentheses may contain blanks; the 22nd field is the 20th after it.
        return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[19])
    except (OSError, ValueError, IndexError):
        return None


def is_disk_error(error: BaseException | None) -> bool:
    """Return True if the cause of an error is a full, read-only or broken disk, and not the content (guard G48).

    Libraries raise their own errors from the system's (`raise ... from`), or keep only its number or text:
    safetensors raises "... No space left on device (os error 28)", torch.save "unexpected pos 768 vs 662".
    """
    if error is None:
        return False
    if isinstance(error, OSError) and error.errno is not None:
        return error.errno in _DISK
    return _DISK_TEXT.search(message_of(error)) is not None or is_disk_error(error.__cause__)


_DISK = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS, errno.EIO)
_DISK_TEXT = re.compile(
    "|".join(
        [
            *(re.escape(os.strerror(number)) for number in (errno.ENOSPC, errno.EDQUOT, errno.EROFS)),
            *(rf"\(os error {number}\)" for number in _DISK),
            r"inline_container\.cc.*(unexpected pos|file write failed)",
        ]
    )
)


def sync_folder(folder: Path) -> None:
    """Make renames in `folder` durable."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
