"""Runs attempts as processes of this machine, each in a session of its own, supervised by the driver."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Sequence
from pathlib import Path

from attrs import define, evolve

from scalecore.execution.containment import AttemptGroups
from scalecore.execution.folder import AttemptFolder, AttemptStatus
from scalecore.execution.kills import KernelKills
from scalecore.execution.launch import ForkedProcesses, Launcher, SpawnedProcesses, kill_group, wait_until
from scalecore.execution.options import LocalOptions
from scalecore.files import read_json, write_json

__all__ = ["LocalExecutor", "LocalHandle"]


@define(eq=False)
class LocalHandle:
    """A started attempt; `status` is kept once it has ended."""

    folder: AttemptFolder
    status: AttemptStatus | None = None
    group: Path | None = None
    """Its control group, where it has one of its own."""
    killed: bool = False
    """Whether this executor killed it."""


class LocalExecutor:
    """Satisfies `scalecore.protocols.Executor`.

    An attempt ends by itself when the driver dies, however it dies. Its output goes to a file, never to a pipe that
    might fill up.
    """

    def __init__(self, options: LocalOptions) -> None:
        # Thread pools read these when they are imported. One thread until the attempt sets its share: a pool of the
        # machine's size in every process would make all of them slower, and a fork server must have one thread.
        threads = dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"), "1")
        environment = {**os.environ, "PYTHONFAULTHANDLER": "1", "PYTHONUNBUFFERED": "1", **threads}
        fork = options.start == "fork" or (options.start == "auto" and sys.platform == "linux")
        self._launcher: Launcher = ForkedProcesses(environment) if fork else SpawnedProcesses(environment)
        self._handles: list[LocalHandle] = []
        self._groups = AttemptGroups()
        self._kills = KernelKills()

    def submit(self, folder: Path) -> LocalHandle:
        handle = LocalHandle(AttemptFolder(folder))
        handle.group = self._group_for(handle.folder)
        self._launcher.start(folder)
        self._handles.append(handle)
        return handle

    def poll(self, handles: Sequence[LocalHandle]) -> Sequence[AttemptStatus]:
        self._kills.look()
        return [self._poll(handle) for handle in handles]

    def stop(self, handle: LocalHandle, *, kill: bool) -> None:
        if self._poll(handle).state != "running":
            return
        if not kill:
            handle.folder.tell("stop")
            return
        handle.killed = True
        # A fork that was asked for a moment ago may not have told its process id yet.
        wait_until(lambda: (status := self._poll(handle)).state != "running" or status.pid is not None)
        pid = self._poll(handle).pid
        if pid is not None:
            # Its memory is not back before it is reaped, and the next admission must not count on it earlier. Killed
            # until then, since in its first moment a fork has no group of its own yet.
            wait_until(lambda: self._is_over_after_kill(handle, pid))

    def close(self) -> None:
        for handle in list(self._handles):
            self.stop(handle, kill=True)
        self._launcher.close()

    def _group_for(self, folder: AttemptFolder) -> Path | None:
        """A control group of its own for an attempt that has a limit, where this machine allows it."""
        limit = (read_json(folder.spec) or {}).get("memory_limit")
        group = self._groups.make(f"scalecore-{os.getpid()}-{folder.path.parent.name}-{folder.path.name}", limit=limit)
        if group is not None:
            write_json(folder.group, {"group": group}, durable=False)
        return group

    def _oom_kill(self, handle: LocalHandle, status: AttemptStatus) -> str | None:
        if handle.group is not None and self._groups.end(handle.group):
            return f"the kernel killed in {handle.group}, the control group of this attempt"
        if status.exit_code == -signal.SIGKILL and not handle.killed:
            return self._kills.evidence()
        return None

    def _is_over_after_kill(self, handle: LocalHandle, pid: int) -> bool:
        kill_group(pid)
        return self._poll(handle).state != "running"

    def _poll(self, handle: LocalHandle) -> AttemptStatus:
        if handle.status is None:
            status = self._launcher.status(handle.folder.path)
            if status.state == "running":
                return status
            if status.pid is not None:
                kill_group(status.pid)  # children that the attempt left behind in its group must not outlive it
            handle.status = evolve(status, oom_kill=self._oom_kill(handle, status))
            self._handles.remove(handle)
        return handle.status
