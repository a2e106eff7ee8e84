"""Control groups (containers) around this process: their memory limits and out-of-memory kills.

psutil reports the machine's memory even inside a container. This module therefore reads the limits from the kernel's
files, for the process's control group and all its ancestors, versions 1 and 2. Tests set `root`, the parent of `/proc`
and `/sys`.
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
    """A limit in bytes, and its source as text."""

    bytes: int
    source: str


@frozen(kw_only=True)
class Cgroup:
    """A control group that accounts memory."""

    folder: Path
    version: Literal[1, 2]

    def limit(self) -> MemoryLimit | None:
        """Return the limit of this group; None if it has none or does not account memory.

        `memory.high` counts like `memory.max`, because above it the kernel throttles a process almost to a stop.
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
        """Return the bytes that the kernel cannot reclaim: the usage less cached file pages. May raise OSError.

        Cached pages are excluded because the kernel drops them on demand: a group that reads large files would look
        full otherwise.
        """
        if self.version == 2:
            current, keys = "memory.current", ("inactive_file", "active_file")
        else:
            current, keys = "memory.usage_in_bytes", ("total_inactive_file", "total_active_file")
        statistics = dict(line.split() for line in (self.folder / "memory.stat").read_text().splitlines())
        cached = sum(int(statistics.get(key, 0)) for key in keys)
        return max(0, int((self.folder / current).read_text()) - cached)

    def kills(self) -> int:
        """Return the number of out-of-memory kills in this group, in version 2 including its descendants.

        Raises OSError or LookupError if the kernel does not count them.
        """
        name = "memory.events" if self.version == 2 else "memory.oom_control"
        counts = dict(line.split() for line in (self.folder / name).read_text().splitlines())
        return int(counts["oom_kill"])


def own_cgroups(root: Path = Path("/")) -> list[Cgroup]:
    """Return the memory control groups of this process and their visible ancestors, innermost first."""
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
    """Return True if the control group of a process, or an ancestor of it, is frozen, as in a paused container."""
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
    """A mount of a hierarchy of control groups: its mount point, and the mounted part (`top`)."""

    version: Literal[1, 2]
    top: str
    point: Path

    def chain(self, path: str) -> list[Path]:
        """Return the folders of group `path` and its ancestors up to the mount point (only that if outside of it)."""
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
    """Decode the octal numbers that the kernel writes for blanks in paths."""
    return re.sub(r"\\([0-7]{3})", lambda match: chr(int(match[1], 8)), text)
