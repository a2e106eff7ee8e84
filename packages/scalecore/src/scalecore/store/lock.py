"""One runner per study folder: an operating-system lock, and a lease file that names its owner."""

from __future__ import annotations

import os
import socket
from contextlib import suppress
from pathlib import Path

from attrs import asdict
from filelock import FileLock, Timeout

from scalecore.api.errors import RefusedError
from scalecore.api.files import is_disk_error, utc_now, write_json
from scalecore.config.kept import find_kept
from scalecore.execution.process_file import Lease, describe_process, is_copied, lives_in
from scalecore.store.layout import StudyFolder


class StudyLock:
    """Locks the folder from construction to `release`; the system frees the lock when the process dies.

    Raises `RefusedError` with the pid and host of the other runner if the study is already running (guard G22).
    """

    def __init__(self, folder: StudyFolder) -> None:
        self._folder = folder
        self._lock = FileLock(folder.lock, blocking=False)
        if folder.lock.is_symlink():
            raise RefusedError(f"{folder.lock} is a symbolic link and would lock another file; remove it")
        _unlink_from_original(folder)
        try:
            self._lock.acquire()
        except Timeout:
            raise _being_run(folder, find_kept(folder.lease, Lease)) from None
        except OSError as error:
            if is_disk_error(error):
                raise
            raise RefusedError(f"{folder.lock}: cannot be locked ({error.strerror}); remove it") from None
        try:
            self._inode = os.stat(folder.lock).st_ino
            self._epoch = _next_epoch(folder)
            me = asdict(describe_process(folder.path), recurse=False)
            write_json(
                folder.lease,
                Lease(**{**me, "process_started": me["started"], "since": utc_now(), "epoch": self._epoch}),
            )
        except BaseException:
            self._lock.release()
            raise

    def still_ours(self) -> bool:
        """Return False if the lock file was deleted or replaced, or another runner took the lease.

        Another runner may be writing then, so this one must not write, even if it was suspended for long.
        """
        try:
            same = os.stat(self._folder.lock).st_ino == self._inode
        except FileNotFoundError:
            return False
        lease = find_kept(self._folder.lease, Lease)
        # A deleted lease proves nothing; the lock decides.
        return same and (lease is None or lease.epoch == self._epoch)

    def release(self) -> None:
        # On a disk that became read-only the lease stays: a lease of an ended process does not count.
        with suppress(OSError):
            if self.still_ours():
                Path(self._folder.lease).unlink(missing_ok=True)
        self._lock.release()


def refuse_running(folder: StudyFolder) -> None:
    """Raise what `StudyLock` would raise, judged by the lease only, without taking the lock."""
    if (lease := runner_of(folder)) is not None:
        raise _being_run(folder, lease)


def _being_run(folder: StudyFolder, lease: Lease | None) -> RefusedError:
    pid, host, since = (getattr(lease, name, None) or "(unknown)" for name in ("pid", "host", "since"))
    return RefusedError(
        f"{folder.path}: this study is already running: process {pid} on {host}, since {since}; stop it with "
        f"`scalecore stop {folder.path}`, or give another `output`",
        guard="G22",
    )


def runner_of(folder: StudyFolder) -> Lease | None:
    """Return the lease of the process that runs the study; None if it is not running.

    A lease of an ended process does not count, nor one that was copied together with the study's folder.
    """
    lease = find_kept(folder.lease, Lease)
    if lease is None or is_copied(lease, folder.path):
        return None
    # Processes of another machine, or of a container with other process ids, cannot be checked from here.
    elsewhere = lease.host != socket.gethostname() or _is_locked(folder.lock)
    return lease if elsewhere or lives_in(lease, folder.path) else None


def _is_locked(lock: Path) -> bool:
    """Whether a process owns the lock, by the kernel's list of locks; False if there is no such list."""
    try:
        found = os.stat(lock)
        locks = Path("/proc/locks").read_text(encoding="ascii").splitlines()
    except OSError:
        return False
    file = f"{os.major(found.st_dev):02x}:{os.minor(found.st_dev):02x}:{found.st_ino}"
    return any({"FLOCK", file} <= set(line.split()) for line in locks)


def _unlink_from_original(folder: StudyFolder) -> None:
    """Give a hard-linked copy (`cp -al`) its own lock file instead of the one shared with the original."""
    with suppress(FileNotFoundError):
        lease = find_kept(folder.lease, Lease)
        if os.stat(folder.lock).st_nlink > 1 and lease is not None and is_copied(lease, folder.path):
            folder.lock.unlink()


def _next_epoch(folder: StudyFolder) -> int:
    """Return the next runner number of this folder, counted in a separate file under the lock."""
    epoch = max(0, find_kept(folder.epoch, int) or 0) + 1
    write_json(folder.epoch, epoch)
    return epoch
