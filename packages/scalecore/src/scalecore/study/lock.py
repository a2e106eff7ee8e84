"""One runner per study folder: an operating-system lock, and a lease file that says who holds it."""

from __future__ import annotations

import os
import socket
from pathlib import Path
from typing import Any

import psutil
from filelock import FileLock, Timeout

from scalecore.errors import RefusedError
from scalecore.files import read_json, start_ticks, utc_now, write_json
from scalecore.study.layout import StudyFolder

__all__ = ["StudyLock", "is_alive", "runner_of"]


class StudyLock:
    """Holds the folder from construction to `release`. Freed by the system when the process dies, however it dies.

    Raises `RefusedError` with the other runner's pid and host when the study is being run already (guard G22).
    """

    def __init__(self, folder: StudyFolder) -> None:
        self._folder = folder
        self._lock = FileLock(folder.lock, blocking=False)
        try:
            self._lock.acquire()
        except Timeout:
            lease = read_json(folder.lease) or {}
            raise RefusedError(
                f"{folder.path}: this study is being run by process {lease.get('pid', '(unknown)')} on "
                f"{lease.get('host', '(unknown)')} "
                f"since {lease.get('since', '(unknown)')}; stop it with `scalecore stop {folder.path}`, or give "
                "another `output`",
                guard="G22",
            ) from None
        self._inode = os.stat(folder.lock).st_ino
        self._epoch = _next_epoch(folder)
        write_json(folder.lease, {**_me(), "epoch": self._epoch})

    def still_ours(self) -> bool:
        """False once somebody deleted or replaced the lock file, or another runner took the lease.

        Another runner may write then, so this one must not, however late it wakes up.
        """
        try:
            same = os.stat(self._folder.lock).st_ino == self._inode
        except FileNotFoundError:
            return False
        lease = read_json(self._folder.lease)
        # A lease that was deleted says nothing; the lock does.
        return same and (not isinstance(lease, dict) or lease.get("epoch") == self._epoch)

    def release(self) -> None:
        if self.still_ours():
            Path(self._folder.lease).unlink(missing_ok=True)
        self._lock.release()


def runner_of(folder: StudyFolder) -> dict[str, Any] | None:
    """Who runs the study now, from its lease; None when nobody does. A lease whose process is gone counts as nobody."""
    lease = read_json(folder.lease)
    if not isinstance(lease, dict):
        return None
    if lease.get("host") != socket.gethostname():
        return lease  # another machine: it cannot be asked from here
    if lease.get("boot") not in (None, boot_id()):
        return None  # the machine was started again since
    return lease if is_alive(lease.get("pid"), lease.get("process_started"), ticks=lease.get("ticks")) else None


def is_alive(pid: int | None, started: float | None, *, ticks: int | None = None) -> bool:
    """Whether the process that had `pid` since `started` still lives.

    A number that was given to another one does not count. `ticks` tell it apart also when the clock was set meanwhile.
    """
    if not pid:
        return False
    now = start_ticks(pid)
    try:
        process = psutil.Process(pid)
        near = abs(process.create_time() - (started or 0.0)) < 2.0
        same = near if ticks is None or now is None else now == ticks
        return same and process.status() != psutil.STATUS_ZOMBIE
    except psutil.Error:
        return False


def boot_id() -> str | None:
    """What Linux names this start of the machine; None elsewhere."""
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
    except OSError:
        return None


def _next_epoch(folder: StudyFolder) -> int:
    """One more than any runner of this folder had; counted in a file of its own, under the lock."""
    before = read_json(folder.epoch)
    epoch = (before if isinstance(before, int) else 0) + 1
    write_json(folder.epoch, epoch)
    return epoch


def _me() -> dict[str, Any]:
    return {
        "pid": os.getpid(),
        "host": socket.gethostname(),
        "boot": boot_id(),
        "process_started": psutil.Process().create_time(),
        "ticks": start_ticks(os.getpid()),
        "since": utc_now(),
    }
