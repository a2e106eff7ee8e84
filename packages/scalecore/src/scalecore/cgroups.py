"""Control groups (containers) around this process: their memory limits, and how often the kernel killed in them.

psutil reports the machine's memory inside a container too, so the limits are read from the kernel's files: of the own
control group and all its ancestors, version 1 and 2. `root` is where `/proc` and `/sys` are, for tests.
"""

from __future__ import annotations

import re
from contextlib import suppress
from pathlib import Path
from typing import Literal

from attrs import frozen

_UNLIMITED = 2**60
"""Version 1 writes "no limit" as the largest multiple of a page below 2^63; nothing real is this large."""


@frozen(kw_only=True)
class MemoryLimit:
    """A number of bytes, and in words whose limit it is."""

    bytes: int
    source: str


@frozen(kw_only=True)
class Cgroup:
    """One control group that accounts memory."""

    folder: Path
    version: Literal[1, 2]

    def limit(self) -> MemoryLimit | None:
        """The limit of this group, None where it has none or does not account memory.

        `memory.high` counts like `memory.max`: above it the kernel throttles a process almost to a stop.
        """
        names = ("memory.max", "memory.high") if self.version == 2 else ("memory.limit_in_bytes",)
        limits = []
        for name in names:
            try:
                text = (self.folder / name).read_text().strip()
            except OSError:
                continue
            if text.isdigit() and int(text) < _UNLIMITED:
                limits.append(MemoryLimit(bytes=int(text), source=f"container limit {self.folder / name}"))
        return min(limits, key=lambda limit: limit.bytes, default=None)

    def used(self) -> int:
        """Bytes in use that the kernel cannot simply take back: the usage less cached file pages. May raise OSError.

        Without that, a group that reads large files would look full, while the kernel drops such pages when it
        needs room.
        """
        if self.version == 2:
            current, keys = "memory.current", ("inactive_file", "active_file")
        else:
            current, keys = "memory.usage_in_bytes", ("total_inactive_file", "total_active_file")
        statistics = dict(line.split() for line in (self.folder / "memory.stat").read_text().splitlines())
        cached = sum(int(statistics.get(key, 0)) for key in keys)
        return max(0, int((self.folder / current).read_text()) - cached)

    def kills(self) -> int:
        """How often the kernel killed a process of this group for lack of memory; with its descendants in version 2.

        Raises OSError or LookupError where the kernel does not count.
        """
        name = "memory.events" if self.version == 2 else "memory.oom_control"
        counts = dict(line.split() for line in (self.folder / name).read_text().splitlines())
        return int(counts["oom_kill"])


def own_cgroups(root: Path = Path("/")) -> list[Cgroup]:
    """The memory control groups of this process with their ancestors as far as they are visible, innermost first."""
    try:
        memberships = (root / "proc/self/cgroup").read_text().splitlines()
        mounts = _mounts(root)
    except OSError:
        return []
    groups = []
    for line in memberships:
        hierarchy, controllers, path = line.split(":", 2)
        version: Literal[1, 2] = 2 if hierarchy == "0" else 1
        if version == 1 and "memory" not in controllers.split(","):
            continue
        for mount in mounts:
            if mount.version == version:
                groups += [Cgroup(folder=folder, version=version) for folder in mount.chain(path)]
                break
    return groups


def is_frozen(pid: int, *, root: Path = Path("/")) -> bool:
    """Whether the control group of a process, or one above it, is frozen, as that of a paused container is."""
    groups = root / "sys/fs/cgroup"
    try:
        memberships = (root / f"proc/{pid}/cgroup").read_text().splitlines()
    except OSError:
        return False
    for line in memberships:
        hierarchy, controllers, path = line.split(":", 2)
        if hierarchy != "0" and controllers != "freezer":
            continue
        for place in ("freezer",) if controllers else ("", "unified"):
            file = groups / place / path.lstrip("/") / ("freezer.state" if controllers else "cgroup.events")
            with suppress(OSError):
                if {"FROZEN", "FREEZING", "frozen 1"} & set(file.read_text().splitlines()):
                    return True
    return False


@frozen(kw_only=True)
class _Mount:
    """Where a hierarchy of control groups is mounted, and which part of it (`top`)."""

    version: Literal[1, 2]
    top: str
    point: Path

    def chain(self, path: str) -> list[Path]:
        """Group `path` and its ancestors as folders, up to the mount point; that alone where `path` is outside."""
        top = self.top.rstrip("/")
        inside = path.startswith(f"{top}/") and ".." not in path.split("/")
        folder = self.point / path[len(top) :].strip("/") if inside else self.point
        return [each for each in (folder, *folder.parents) if each.is_relative_to(self.point) and each.is_dir()]


def _mounts(root: Path) -> list[_Mount]:
    mounts = []
    for line in (root / "proc/self/mountinfo").read_text().splitlines():
        # 31 23 0:28 /top /point options [tags...] - type device options-of-the-filesystem
        left, _, right = line.partition(" - ")
        fields, kind = left.split(" "), right.split(" ")
        version: Literal[1, 2]
        if kind[0] == "cgroup2":
            version = 2
        elif kind[0] == "cgroup" and "memory" in kind[-1].split(","):
            version = 1
        else:
            continue
        mounts.append(_Mount(version=version, top=_unescape(fields[3]), point=root / _unescape(fields[4]).lstrip("/")))
    return mounts


def _unescape(text: str) -> str:
    """The kernel writes blanks in paths as octal numbers."""
    return re.sub(r"\\([0-7]{3})", lambda match: chr(int(match[1], 8)), text)
