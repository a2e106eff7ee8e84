"""Processes as `process.json` and `lease.json` describe them: are they alive, and do they run in this very folder?

A process id alone names another process after a restart, on another machine, and in a copy of the folder.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Sequence
from pathlib import Path

import psutil
from attrs import frozen

from scalecore.api.files import start_ticks
from scalecore.api.record_parts import Part
from scalecore.cgroups import is_frozen


@frozen(kw_only=True, slots=False)
class FolderId(Part):
    """Identity of a folder under any name. Every copy has another inode, one made with hard links too."""

    device: int
    inode: int


@frozen(kw_only=True, slots=False)
class ProcessFile(Part):
    """The process that runs an attempt. Version 0.1 named neither its host nor its folder."""

    pid: int
    host: str | None = None
    boot: str | None = None
    """How Linux names the start of the machine."""
    started: float | None = None
    ticks: int | None = None
    """The start by the kernel's clock, which nobody can set."""
    folder: FolderId | None = None
    contained: Sequence[str] | None = None
    """What holds it within its memory, in words."""
    visible_gpus: str | None = None

    @property
    def who(self) -> str:
        """For people."""
        return f"process {self.pid} on {self.host or '(unknown)'}"


@frozen(kw_only=True, slots=False)
class Lease(ProcessFile):
    """The process that runs a study."""

    process_started: float | None = None
    """`started` under the name that version 0.1 reads."""
    since: str | None = None
    epoch: int | None = None
    """The number of the runner among all that this folder had."""


def describe_process(folder: Path) -> ProcessFile:
    """This process, as one that runs in `folder`."""
    return ProcessFile(
        pid=os.getpid(),
        host=socket.gethostname(),
        boot=_boot_id(),
        started=psutil.Process().create_time(),
        ticks=start_ticks(os.getpid()),
        folder=_folder_id(folder),
    )


def lives_in(process: ProcessFile, folder: Path) -> bool:
    """Whether the process that a file in `folder` describes is alive on this machine and was started in this folder.

    Files of version 0.1 do not say in which folder: they are believed.
    """
    if is_copied(process, folder) or process.host not in (None, socket.gethostname()):
        return False
    if process.boot not in (None, _boot_id()):
        return False  # the machine was started again since
    started = process.started
    if started is None and isinstance(process, Lease):
        started = process.process_started
    return is_alive(process.pid, started, ticks=process.ticks)


def is_copied(process: ProcessFile, folder: Path) -> bool:
    """Whether the description was written in another folder, so that `folder` is a copy of it; False if it is not said.

    A folder that is moved or renamed stays the same one. Device numbers change with a restart, and differ between
    machines that share a disk; there the inode alone counts.
    """
    if process.folder is None:
        return False
    try:
        here = _folder_id(folder)
    except OSError:
        return True
    comparable = process.host == socket.gethostname() and process.boot == _boot_id()
    return process.folder.inode != here.inode or (comparable and process.folder.device != here.device)


def is_alive(pid: int | None, started: float | None, *, ticks: int | None = None) -> bool:
    """Whether the process that had `pid` since `started` still lives.

    A number that was given to another one does not count. `ticks` tell it apart also when the clock was set meanwhile.
    """
    if pid is None or pid < 1:
        return False
    now = start_ticks(pid)
    try:
        process = psutil.Process(pid)
        near = abs(process.create_time() - (started or 0.0)) < 2.0
        same = near if ticks is None or now is None else now == ticks
        return same and process.status() != psutil.STATUS_ZOMBIE
    except psutil.Error:
        return False


def is_suspended(pid: int) -> bool:
    """Whether a process cannot run now: stopped by a signal or a debugger, or in a frozen control group."""
    try:
        status = psutil.Process(pid).status()
    except psutil.Error:
        return False
    return status in (psutil.STATUS_STOPPED, psutil.STATUS_TRACING_STOP) or is_frozen(pid)


def _folder_id(folder: Path) -> FolderId:
    found = os.stat(folder)
    return FolderId(device=found.st_dev, inode=found.st_ino)


def _boot_id() -> str | None:
    """What Linux names this start of the machine; None elsewhere."""
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text(encoding="utf-8").strip()
    except OSError:
        return None
