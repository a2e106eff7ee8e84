"""Memory limits of an attempt that the platform enforces, in addition to the monitors."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

VICTIM, OOM_SCORE = "oom_score_adj", 500


def prefer_as_victim() -> list[str]:
    """Make the kernel kill this attempt rather than the driver when memory runs out; return what was done.

    Raising the score needs no privilege.
    """
    try:
        Path("/proc/self/oom_score_adj").write_text(str(OOM_SCORE))
    except OSError:
        return []  # not Linux, or a sandbox that hides the file
    return [f"{VICTIM} {OOM_SCORE}"]


def containment_text(contained: Sequence[str]) -> str:
    """The `contained` of a process file for people: `21.5 GB (RLIMIT_DATA); killed first if memory runs out`."""
    amount = re.compile(r"(RLIMIT_DATA|CUDA allocator|MPS allocator) (.+)")
    limits = [amount.sub(r"\2 (\1)", one) for one in contained if not one.startswith(VICTIM)]
    text = ", ".join(limits) or "none, only monitors watch it"
    return text if len(limits) == len(contained) else f"{text}; killed first if memory runs out"


def enter_group(group: str | None) -> list[str]:
    """Move this process into the control group that the executor created for it; return what was done."""
    if group is None:
        return []
    try:
        (Path(group) / "cgroup.procs").write_text(str(os.getpid()))
    except OSError as error:
        return [f"no control group ({error.strerror})"]
    return ["cgroup v2 memory.max"]


def limit_data(limit: int | None) -> list[str]:
    """Limit the bytes of main memory that this process may allocate; return what was done.

    On Linux, RLIMIT_DATA turns an allocation beyond the limit into an exception that names the cause. RLIMIT_AS would
    also count reservations and break the import of torch, and RLIMIT_RSS has no effect.
    """
    if limit is None or sys.platform != "linux":
        return []
    import resource

    _, hard = resource.getrlimit(resource.RLIMIT_DATA)
    bound = limit if hard == resource.RLIM_INFINITY else min(limit, hard)
    resource.setrlimit(resource.RLIMIT_DATA, (bound, hard))
    return [f"RLIMIT_DATA {bound / 1e9:.1f} GB"]


def release() -> None:
    """Lift the limit of `limit_data`, so that a process that reached it can still report its end."""
    if sys.platform == "linux":
        import resource

        _, hard = resource.getrlimit(resource.RLIMIT_DATA)
        resource.setrlimit(resource.RLIMIT_DATA, (hard, hard))


class AttemptGroups:
    """Creates a control group (version 2) for each attempt, if this process may create them.

    It may if its own group is delegated to it and contains no other processes, as in a separate scope
    (`systemd-run --user --scope -p Delegate=yes`). This is checked at the first attempt with a limit, before any other
    process exists. `why_not` is the reason why there are no groups. `root` contains `/proc` and `/sys`, for tests.
    """

    def __init__(self, *, root: Path = Path("/")) -> None:
        self._root = root
        self._base: Path | None = None
        self.why_not: str | None = None

    def make(self, name: str, *, limit: int | None) -> Path | None:
        """Create a group with a limit in bytes and return its folder; None if there is no limit or no group."""
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
            # Kill the whole process tree: its other processes are useless alone.
            _write_if_there(group / "memory.oom.group", "1")
            # A swapping trial makes no progress and never ends: let it fail instead.
            _write_if_there(group / "memory.swap.max", "0")
        except OSError as error:
            self.why_not = str(error)
            return None
        return group

    def end(self, group: Path) -> int | None:
        """Remove the group of an ended attempt and return how many of its processes the kernel killed."""
        from scalecore.cgroups import Cgroup

        try:
            kills = Cgroup(folder=group, version=2).kills()
            group.rmdir()
        except (OSError, LookupError, ValueError):
            return None
        return kills


def why_no_groups(root: Path = Path("/")) -> str | None:
    """Return why this process cannot create control groups for its attempts; None if it can. Changes nothing."""
    try:
        _own_group(root)
    except (OSError, ValueError) as error:
        return str(error)
    return None


def _own_group(root: Path) -> Path:
    """Return this process's group if it is delegated to it; raise OSError or ValueError otherwise."""
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
        raise ValueError(f"{own} also contains other processes")
    return own


def _delegated(root: Path) -> Path:
    """Prepare this process's group for subgroups with memory limits; raise OSError or ValueError if that fails."""
    own = _own_group(root)
    # A group that limits subgroups must not contain processes itself.
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
    """Return this process last, so that processes that it starts meanwhile are moved too."""
    import psutil

    return [*(child.pid for child in psutil.Process().children(recursive=True)), os.getpid()]


def _write_if_there(path: Path, text: str) -> None:
    if path.exists():
        path.write_text(text)
