"""Runs attempts as processes of this machine, each in a session of its own, supervised by the driver."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from attrs import define

from scalecore.execution.folder import AttemptFolder, AttemptStatus
from scalecore.files import read_json

__all__ = ["LocalExecutor", "LocalHandle"]

REAP_SECONDS = 30.0


@define(eq=False)
class LocalHandle:
    """A started attempt. `status` is kept once it has ended, since a process can be waited for only once."""

    folder: AttemptFolder
    process: subprocess.Popen[bytes]
    status: AttemptStatus | None = None


class LocalExecutor:
    """Satisfies `scalecore.protocols.Executor`.

    Standard input of an attempt is a pipe that only the driver holds: when the driver dies, however it dies, the
    attempt sees its end, writes a checkpoint and goes. Output goes to a file, never to a pipe that might fill up.
    """

    def __init__(self, *, environment: Mapping[str, str] | None = None) -> None:
        self._environment = {**os.environ, "PYTHONFAULTHANDLER": "1", "PYTHONUNBUFFERED": "1", **(environment or {})}
        self._handles: list[LocalHandle] = []

    def submit(self, folder: Path) -> LocalHandle:
        attempt = AttemptFolder(folder)
        threads = str(_threads(attempt))
        with attempt.log.open("ab") as log:
            process = subprocess.Popen(
                [sys.executable, "-m", "scalecore.execution.worker", str(folder)],
                stdin=subprocess.PIPE,
                stdout=log,
                stderr=subprocess.STDOUT,
                # Its own session: Ctrl-C reaches the driver only, which decides, and a kill reaches the whole group.
                start_new_session=True,
                # Thread pools read these when torch is imported; more threads than a trial's share make all trials
                # slower.
                env={**self._environment, "OMP_NUM_THREADS": threads, "MKL_NUM_THREADS": threads},
            )
        handle = LocalHandle(attempt, process)
        self._handles.append(handle)
        return handle

    def poll(self, handles: Sequence[LocalHandle]) -> Sequence[AttemptStatus]:
        return [self._poll(handle) for handle in handles]

    def stop(self, handle: LocalHandle, *, kill: bool) -> None:
        if handle.status is not None:
            return
        if not kill:
            handle.folder.tell("stop")
            return
        self._signal_group(handle, signal.SIGKILL)
        # Its memory is not back before it is reaped, and the next admission must not count on it earlier.
        deadline = time.monotonic() + REAP_SECONDS
        while self._poll(handle).state == "running" and time.monotonic() < deadline:
            time.sleep(0.005)

    def close(self) -> None:
        for handle in list(self._handles):
            self.stop(handle, kill=True)

    def _poll(self, handle: LocalHandle) -> AttemptStatus:
        if handle.status is not None:
            return handle.status
        pid, code, usage = os.wait4(handle.process.pid, os.WNOHANG)
        if pid == 0:
            return AttemptStatus(state="running", pid=handle.process.pid)
        handle.process.returncode = os.waitstatus_to_exitcode(code)
        # Children that the attempt left behind in its group must not outlive it.
        self._signal_group(handle, signal.SIGKILL)
        if handle.process.stdin is not None:
            handle.process.stdin.close()
        peak = usage.ru_maxrss if sys.platform == "darwin" else usage.ru_maxrss * 1024
        handle.status = AttemptStatus(state="ended", pid=pid, exit_code=handle.process.returncode, peak_memory=peak)
        self._handles.remove(handle)
        return handle.status

    @staticmethod
    def _signal_group(handle: LocalHandle, number: signal.Signals) -> None:
        try:
            os.killpg(handle.process.pid, number)
        except (ProcessLookupError, PermissionError):
            return  # nothing of the group is left


def _threads(attempt: AttemptFolder) -> int:
    return int(read_json(attempt.spec)["threads"])
