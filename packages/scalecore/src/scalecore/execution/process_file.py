"""Identifies processes by `process.json` and `lease.json`: whether they are alive, and belong to this folder.

A process id alone may belong to another process after a restart, on another machine, or in a copy of the folder.
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
    """Identity of a folder under any name. Every copy has another inode, even one made with hard links."""

    device: int
    inode: int


@frozen(kw_only=True, slots=False)
class ProcessFile(Part):
    """The process that runs an attempt. Version 0.1 stored neither host nor folder."""

    pid: int
    host: str | None = None
    boot: str | None = None
    """The boot id of Linux, new at each start of the machine."""
    started: float | None = None
    ticks: int | None = None
    """The start time by the kernel's clock, which cannot be set."""
    folder: FolderId | None = None
    contained: Sequence[str] | None = None
    """Its memory limits."""
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
    """The runner number in this folder."""


def describe_process(folder: Path) -> ProcessFile:
    """Describe this process, running in `folder`."""
    return ProcessFile(
        pid=os.getpid(),
        host=socket.gethostname(),
        boot=_boot_id(),
        started=psutil.Process().create_time(),
        ticks=start_ticks(os.getpid()),
        folder=_folder_id(folder),
    )


def lives_in(process: ProcessFile, folder: Path) -> bool:
    """Whether the process described by a file in `folder` is alive on this machine and was started in this folder.

    Files of version 0.1 do not name a folder: it is assumed to match.
    """
    if is_copied(process, folder) or process.host not in (None, socket.gethostname()):
        return False
    if process.boot not in (None, _boot_id()):
        return False  # the machine was restarted
    started = process.started
    if started is None and isinstance(process, Lease):
        started = process.process_started
    return is_alive(process.pid, started, ticks=process.ticks)


def is_copied(process: ProcessFile, folder: Path) -> bool:
    """Whether the description was written in another folder, so that `folder` is a copy; False if unknown.

    A moved or renamed folder is still the same one. Device numbers change with a restart and differ between machines
    that share a disk; then only the inode is compared.
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
    """Whether the process with `pid`, started at `started`, is still alive.

    Another process with the same pid does not count. `ticks` identify the process even if the clock was changed.
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
    """Return the boot id of Linux; None on other systems."""
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text(encoding="utf-8").strip()
    except OSError:
        return None
