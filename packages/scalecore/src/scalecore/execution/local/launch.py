"""Two ways to start the process of an attempt: a fork of a warm server, or a new interpreter."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, Protocol

from attrs import define, evolve

from scalecore.api.executor import AttemptStatus
from scalecore.execution.folder import AttemptFolder
from scalecore.execution.peak_memory import peak_memory
from scalecore.execution.process_file import is_suspended

REAP_SECONDS = 30.0


class Launcher(Protocol):
    """Starts processes and returns their status, by the attempt's folder."""

    def start(self, folder: Path) -> None: ...

    def status(self, folder: Path) -> AttemptStatus: ...

    def fork_tracer(self, questions: int, answers: int) -> bool: ...

    def close(self) -> None: ...


class SpawnedProcesses:
    """Starts a new interpreter for each attempt, which imports torch again: over a second, on every platform."""

    def __init__(self, environment: Mapping[str, str], *, worker: str) -> None:
        self._worker = worker
        self._environment = dict(environment)
        self._processes: dict[Path, tuple[subprocess.Popen[bytes], AttemptStatus]] = {}
        self._reaper: subprocess.Popen[bytes] | None = None

    def start(self, folder: Path) -> None:
        with AttemptFolder(folder).log.open("ab") as log:
            process = subprocess.Popen(
                [sys.executable, "-m", self._worker, str(folder), str(os.getpid())],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                # With its own session, Ctrl-C reaches only the driver, which decides, and a kill the whole group.
                start_new_session=True,
                env=self._environment,
            )
        self._processes[folder] = (process, AttemptStatus(state="running", pid=process.pid))
        self._watch(process.pid)

    def _watch(self, pid: int) -> None:
        """Register the attempt with the reaper, which kills it if this process dies and the attempt hangs."""
        if self._reaper is None or self._reaper.poll() is not None:
            self._reaper = subprocess.Popen(
                [sys.executable, "-m", "scalecore.execution.local.reaper"],
                stdin=subprocess.PIPE,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                start_new_session=True,
                env=self._environment,
            )
        assert self._reaper.stdin is not None
        with suppress(BrokenPipeError):
            os.write(self._reaper.stdin.fileno(), b"%d\n" % pid)

    def status(self, folder: Path) -> AttemptStatus:
        process, status = self._processes[folder]
        if status.state == "running":
            pid, code, usage = os.wait4(process.pid, os.WNOHANG)
            if pid != 0:
                process.returncode = os.waitstatus_to_exitcode(code)
                peak = usage.ru_maxrss if sys.platform == "darwin" else usage.ru_maxrss * 1024
                # For a spawned process Linux returns the peak of this process if that is larger.
                known = peak if peak > peak_memory() else None
                status = evolve(status, state="ended", exit_code=process.returncode, peak_memory=known)
                self._processes[folder] = (process, status)
            else:
                return evolve(status, suspended=is_suspended(process.pid))
        return status

    def fork_tracer(self, questions: int, answers: int) -> bool:
        return False

    def close(self) -> None:
        """End the reaper; the executor has already stopped all attempts."""
        if self._reaper is not None and self._reaper.stdin is not None:
            self._reaper.stdin.close()
            self._reaper.wait()


@define
class _Child:
    pid: int | None = None
    exit_code: int | None = None
    peak_memory: int | None = None


class ForkedProcesses:
    """Forks a warm server (`scalecore.execution.local.forkserver`), started with the first attempt; Linux only."""

    def __init__(self, environment: Mapping[str, str], *, worker: str) -> None:
        self._worker = worker
        self._environment = dict(environment)
        self._server: subprocess.Popen[bytes] | None = None
        self._pending = b""
        self._children: dict[str, _Child] = {}
        self._lost: dict[str, _Child] = {}

    def start(self, folder: Path) -> None:
        server = self._running_server()
        self._children[str(folder)] = _Child()
        assert server.stdin is not None
        # If the server has just died, the attempt is lost, which `status` reports. Write without a buffer, which would
        # raise the same error again when the pipe is closed.
        with suppress(BrokenPipeError):
            os.write(server.stdin.fileno(), json.dumps({"folder": str(folder)}).encode() + b"\n")

    def status(self, folder: Path) -> AttemptStatus:
        self._listen()
        child = self._children.get(str(folder)) or self._lost[str(folder)]
        if child.exit_code is not None:
            return AttemptStatus(state="ended", pid=child.pid, exit_code=child.exit_code, peak_memory=child.peak_memory)
        if str(folder) in self._lost:
            return AttemptStatus(state="lost", pid=child.pid)
        # A suspended server neither forks nor reports ended attempts.
        server = self._server.pid if self._server is not None else None
        suspended = any(is_suspended(pid) for pid in (child.pid, server) if pid is not None)
        return AttemptStatus(state="running", pid=child.pid, suspended=suspended)

    def fork_tracer(self, questions: int, answers: int) -> bool:
        """Start the server and fork the tracer before any attempt; False if a server is already running."""
        if self._server is not None:
            return False
        self._start_server(questions, answers)
        return True

    def close(self) -> None:
        if self._server is None:
            return
        if not self._children and not self._lost:
            self._server.kill()  # it may still be importing, which nobody needs
        for pipe in (self._server.stdin, self._server.stdout):
            if pipe is not None:
                pipe.close()
        try:
            self._server.wait(timeout=REAP_SECONDS)
        except subprocess.TimeoutExpired:
            self._server.kill()
            self._server.wait()
        self._server = None

    def _running_server(self) -> subprocess.Popen[bytes]:
        if self._server is not None and self._server.poll() is None:
            return self._server
        self._listen()  # mark the attempts of a dead server as lost before a new one starts
        self.close()
        return self._start_server()

    def _start_server(self, *tracer: int) -> subprocess.Popen[bytes]:
        self._server = subprocess.Popen(
            [
                sys.executable,
                "-m",
                "scalecore.execution.local.forkserver",
                self._worker,
                *(str(descriptor) for descriptor in tracer),
            ],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            start_new_session=True,
            env=self._environment,
            pass_fds=tracer,
        )
        assert self._server.stdout is not None
        os.set_blocking(self._server.stdout.fileno(), False)
        return self._server

    def _listen(self) -> None:
        """Read the messages of the server since the last call."""
        server = self._server
        if server is None or server.stdout is None:
            return
        gone = server.poll() is not None
        while True:
            try:
                data = os.read(server.stdout.fileno(), 65536)
            except BlockingIOError:
                break
            if not data:
                break
            self._pending += data
        *lines, self._pending = self._pending.split(b"\n")
        for line in lines:
            self._take(json.loads(line))
        if gone:
            # Its children have lost their parent and end on their own; their exit codes are lost.
            unknown = {folder: child for folder, child in self._children.items() if child.exit_code is None}
            self._lost |= unknown
            self._children = {f: child for f, child in self._children.items() if f not in unknown}
            self._pending = b""

    def _take(self, message: Mapping[str, Any]) -> None:
        if "folder" in message:
            self._children[message["folder"]].pid = message["pid"]
            return
        for child in self._children.values():
            if "exit_code" in message and child.pid == message["pid"] and child.exit_code is None:
                child.exit_code, child.peak_memory = message["exit_code"], message["peak_memory"]


def kill_group(pid: int) -> None:
    """Kill all processes left in the process group of an attempt."""
    try:
        os.killpg(pid, signal.SIGKILL)
    except (ProcessLookupError, PermissionError):
        return  # none left


def wait_until(condition: Callable[[], bool]) -> bool:
    """Wait up to `REAP_SECONDS` for a condition; return whether it became true."""
    deadline = time.monotonic() + REAP_SECONDS
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.005)
    return True
