"""One runner per study folder: an operating-system lock, and a lease file that says who holds it."""

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
    """Holds the folder from construction to `release`. Freed by the system when the process dies, however it dies.

    Raises `RefusedError` with the other runner's pid and host when the study is being run already (guard G22).
    """

    def __init__(self, folder: StudyFolder) -> None:
        self._folder = folder
        self._lock = FileLock(folder.lock, blocking=False)
        if folder.lock.is_symlink():
            raise RefusedError(f"{folder.lock} is a symbolic link, which locks another file; remove it")
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
        """False once somebody deleted or replaced the lock file, or another runner took the lease.

        Another runner may write then, so this one must not, however late it wakes up.
        """
        try:
            same = os.stat(self._folder.lock).st_ino == self._inode
        except FileNotFoundError:
            return False
        lease = find_kept(self._folder.lease, Lease)
        # A lease that was deleted says nothing; the lock does.
        return same and (lease is None or lease.epoch == self._epoch)

    def release(self) -> None:
        # On a disk that became read-only the lease stays: one whose process is gone counts as nobody's.
        with suppress(OSError):
            if self.still_ours():
                Path(self._folder.lease).unlink(missing_ok=True)
        self._lock.release()


def refuse_running(folder: StudyFolder) -> None:
    """Raise what `StudyLock` would raise, as far as the lease tells, and leave the lock alone."""
    if (lease := runner_of(folder)) is not None:
        raise _being_run(folder, lease)


def _being_run(folder: StudyFolder, lease: Lease | None) -> RefusedError:
    pid, host, since = (getattr(lease, name, None) or "(unknown)" for name in ("pid", "host", "since"))
    return RefusedError(
        f"{folder.path}: this study is being run by process {pid} on {host} since {since}; stop it with "
        f"`scalecore stop {folder.path}`, or give another `output`",
        guard="G22",
    )


def runner_of(folder: StudyFolder) -> Lease | None:
    """Who runs the study now, from its lease; None when nobody does.

    A lease whose process is gone counts as nobody, and so does one that came here with a copy of the study's folder.
    """
    lease = find_kept(folder.lease, Lease)
    if lease is None or is_copied(lease, folder.path):
        return None
    # A process of another machine cannot be asked from here, nor one of a container, which has other process ids.
    elsewhere = lease.host != socket.gethostname() or _is_locked(folder.lock)
    return lease if elsewhere or lives_in(lease, folder.path) else None


def _is_locked(lock: Path) -> bool:
    """Whether a process has the lock, by the kernel's list of locks; False where there is no such list."""
    try:
        found = os.stat(lock)
        locks = Path("/proc/locks").read_text(encoding="ascii").splitlines()
    except OSError:
        return False
    file = f"{os.major(found.st_dev):02x}:{os.minor(found.st_dev):02x}:{found.st_ino}"
    return any({"FLOCK", file} <= set(line.split()) for line in locks)


def _unlink_from_original(folder: StudyFolder) -> None:
    """Give a copy of hard links (`cp -al`) its own lock: until then it shares the file of the original."""
    with suppress(FileNotFoundError):
        lease = find_kept(folder.lease, Lease)
        if os.stat(folder.lock).st_nlink > 1 and lease is not None and is_copied(lease, folder.path):
            folder.lock.unlink()


def _next_epoch(folder: StudyFolder) -> int:
    """One more than any runner of this folder had; counted in a file of its own, under the lock."""
    epoch = max(0, find_kept(folder.epoch, int) or 0) + 1
    write_json(folder.epoch, epoch)
    return epoch
