"""Processes as `process.json` and `lease.json` describe them: are they alive, and do they run in this very folder?

A process id alone names another process after a restart, on another machine, and in a copy of the folder.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import psutil

from scalecore.api.files import start_ticks
from scalecore.cgroups import is_frozen

__all__ = ["describe_process", "is_alive", "is_copied", "is_suspended", "lives_in"]


def describe_process(folder: Path) -> dict[str, Any]:
    """This process, as one that runs in `folder`."""
    return {
        "pid": os.getpid(),
        "host": socket.gethostname(),
        "boot": _boot_id(),
        "started": psutil.Process().create_time(),
        "ticks": start_ticks(os.getpid()),
        "folder": _folder_id(folder),
    }


def lives_in(process: Mapping[str, Any], folder: Path) -> bool:
    """Whether the process that a file in `folder` describes is alive on this machine and was started in this folder.

    Files of version 0.1 do not say in which folder: they are believed.
    """
    if is_copied(process, folder) or process.get("host", socket.gethostname()) != socket.gethostname():
        return False
    if process.get("boot") not in (None, _boot_id()):
        return False  # the machine was started again since
    started = process.get("started", process.get("process_started"))  # leases of 0.1 have the second name
    return is_alive(process.get("pid"), started, ticks=process.get("ticks"))


def is_copied(process: Mapping[str, Any], folder: Path) -> bool:
    """Whether the description was written in another folder, so that `folder` is a copy of it; False if it is not said.

    A folder that is moved or renamed stays the same one. Device numbers change with a restart, and differ between
    machines that share a disk; there the inode alone counts.
    """
    written = process.get("folder")
    if not isinstance(written, Mapping):
        return False
    try:
        here = _folder_id(folder)
    except OSError:
        return True
    comparable = process.get("host") == socket.gethostname() and process.get("boot") == _boot_id()
    return any(written.get(name) != here[name] for name in here if name != "device" or comparable)


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


def is_suspended(pid: int) -> bool:
    """Whether a process cannot run now: stopped by a signal or a debugger, or in a frozen control group."""
    try:
        status = psutil.Process(pid).status()
    except psutil.Error:
        return False
    return status in (psutil.STATUS_STOPPED, psutil.STATUS_TRACING_STOP) or is_frozen(pid)


def _folder_id(folder: Path) -> dict[str, int]:
    """Identity of a folder under any name. Every copy has another inode, one made with hard links too."""
    found = os.stat(folder)
    return {"device": found.st_dev, "inode": found.st_ino}


def _boot_id() -> str | None:
    """What Linux names this start of the machine; None elsewhere."""
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text(encoding="utf-8").strip()
    except OSError:
        return None
