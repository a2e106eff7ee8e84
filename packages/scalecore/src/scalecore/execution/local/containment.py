"""What holds an attempt within its share of memory, beside the monitors that watch it: what the platform offers."""

from __future__ import annotations

import os
import sys
from contextlib import suppress
from pathlib import Path

OOM_SCORE = 500


def prefer_as_victim() -> list[str]:
    """When the machine runs out of memory the kernel shall take the attempt and never the driver.

    Raising needs no privilege. What was done, in words.
    """
    try:
        Path("/proc/self/oom_score_adj").write_text(str(OOM_SCORE))
    except OSError:
        return []  # not Linux, or a sandbox that hides it: nothing to prefer
    return [f"oom_score_adj {OOM_SCORE}"]


def enter_group(group: str | None) -> list[str]:
    """Move this process into the control group that the executor made for the attempt. What was done, in words."""
    if group is None:
        return []
    try:
        (Path(group) / "cgroup.procs").write_text(str(os.getpid()))
    except OSError as error:
        return [f"no control group ({error.strerror})"]
    return ["cgroup v2 memory.max"]


def limit_data(limit: int | None) -> list[str]:
    """Limit what this process may allocate of the machine's memory, in bytes. What was done, in words.

    On Linux RLIMIT_DATA turns an allocation beyond the limit into an exception that names the cause. RLIMIT_AS would
    count reservations too and break the import of torch, and RLIMIT_RSS has no effect.
    """
    if limit is None or sys.platform != "linux":
        return []
    import resource

    _, hard = resource.getrlimit(resource.RLIMIT_DATA)
    bound = limit if hard == resource.RLIM_INFINITY else min(limit, hard)
    resource.setrlimit(resource.RLIMIT_DATA, (bound, hard))
    return [f"RLIMIT_DATA {bound / 1e9:.1f} GB"]


def release() -> None:
    """Lift what `contain` limited, so that a process that ran into it can tell its end."""
    if sys.platform == "linux":
        import resource

        _, hard = resource.getrlimit(resource.RLIMIT_DATA)
        resource.setrlimit(resource.RLIMIT_DATA, (hard, hard))


class AttemptGroups:
    """A control group (version 2) for each attempt, where this process may make them.

    That is where its own group is delegated to it and holds no stranger: in a scope of its own, as
    `systemd-run --user --scope -p Delegate=yes` makes one; looked for with the first attempt that has a limit, before
    there is any other process. `why_not` tells in words why there are none. `root` is where
    `/proc` and `/sys` are, for tests.
    """

    def __init__(self, *, root: Path = Path("/")) -> None:
        self._root = root
        self._base: Path | None = None
        self.why_not: str | None = None

    def make(self, name: str, *, limit: int | None) -> Path | None:
        """The folder of a new group that may hold `limit` bytes; None where there can be none, or no limit is set."""
        if limit is None or self.why_not is not None:
            return None
        try:
            self._base = self._base or _delegated(self._root)
        except (OSError, ValueError) as error:
            self.why_not = str(error)
            return None
        group = self._base / name
        try:
            group.mkdir(exist_ok=True)
            (group / "memory.max").write_text(str(limit))
            # One process of a tree without the others is of no use.
            _write_if_there(group / "memory.oom.group", "1")
            # A trial that swaps stands still without an end: it shall fail instead.
            _write_if_there(group / "memory.swap.max", "0")
        except OSError as error:
            self.why_not = str(error)
            return None
        return group

    def end(self, group: Path) -> int | None:
        """How often the kernel killed in this group; the group is removed, its processes have ended."""
        from scalecore.cgroups import Cgroup

        try:
            kills = Cgroup(folder=group, version=2).kills()
            group.rmdir()
        except (OSError, LookupError, ValueError):
            return None
        return kills


def why_no_groups(root: Path = Path("/")) -> str | None:
    """Why this process cannot make control groups for its attempts, in words; None where it can. Changes nothing."""
    try:
        _own_group(root)
    except (OSError, ValueError) as error:
        return str(error)
    return None


def _own_group(root: Path) -> Path:
    """The own group, where it is delegated to this process. Raises OSError or ValueError where it is not."""
    from scalecore.cgroups import own_cgroups

    own = next((group.folder for group in own_cgroups(root) if group.version == 2), None)
    if own is None:
        raise ValueError("there is no cgroup of version 2")
    if "memory" not in (own / "cgroup.controllers").read_text().split():
        raise ValueError(f"{own} does not control memory")
    for name in ("", "cgroup.procs", "cgroup.subtree_control"):
        if not os.access(own / name, os.W_OK):
            raise ValueError(f"{own} is not delegated to this user")
    members = (own / "cgroup.procs").read_text().split()
    if set(members) - {str(pid) for pid in _own_processes()}:
        raise ValueError(f"{own} holds other processes too")
    return own


def _delegated(root: Path) -> Path:
    """The own group, ready for subgroups with memory limits. Raises OSError or ValueError where it cannot be."""
    own = _own_group(root)
    # A group whose members are limited by subgroups may hold no process itself.
    driver = own / "driver"
    driver.mkdir(exist_ok=True)
    for pid in _own_processes():
        with suppress(ProcessLookupError):
            (driver / "cgroup.procs").write_text(str(pid))
    try:
        (own / "cgroup.subtree_control").write_text("+memory")
    except OSError:
        for pid in _own_processes():
            with suppress(ProcessLookupError):
                (own / "cgroup.procs").write_text(str(pid))
        driver.rmdir()
        raise
    return own


def _own_processes() -> list[int]:
    """This process last, so that what it starts meanwhile is moved too."""
    import psutil

    return [*(child.pid for child in psutil.Process().children(recursive=True)), os.getpid()]


def _write_if_there(path: Path, text: str) -> None:
    if path.exists():
        path.write_text(text)
