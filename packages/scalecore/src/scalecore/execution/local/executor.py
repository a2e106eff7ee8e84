"""Runs attempts as processes of this machine, each in a separate session, supervised by the driver."""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from attrs import define, evolve

from scalecore.api.errors import StudyError
from scalecore.api.executor import AttemptStatus
from scalecore.api.files import write_json
from scalecore.execution.attempt_spec import AttemptSpec
from scalecore.execution.folder import AttemptFolder, GroupFile
from scalecore.execution.local.containment import AttemptGroups
from scalecore.execution.local.devices import GpuSlots, find_gpus
from scalecore.execution.local.launch import ForkedProcesses, Launcher, SpawnedProcesses, kill_group, wait_until
from scalecore.execution.local.oom_kills import KernelKills
from scalecore.execution.local.options import LocalOptions

STACK_SECONDS = 3.0
"""Seconds that a hanging process gets to write its stacks."""


@define(eq=False)
class LocalHandle:
    """A started attempt; `status` is set once it has ended."""

    folder: AttemptFolder
    status: AttemptStatus | None = None
    group: Path | None = None
    """Its own control group, if it has one."""
    gpu: str | None = None
    """The GPU that it may use, if its admission named one or there are several."""
    killed: bool = False
    """Whether this executor killed it."""


class LocalExecutor:
    """Implements `scalecore.api.executor.Executor`.

    An attempt ends on its own after the driver has died, whatever the cause. Its output goes to a file, never to a pipe
    that might fill up.
    """

    def __init__(self, options: LocalOptions, *, worker: str) -> None:
        # Thread pools read these at import. Use one thread until the attempt sets its share: a pool of the machine's
        # size in every process would slow down all of them, and a fork server must have one thread.
        threads = dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"), "1")
        # Logs are UTF-8 whatever the terminal supports, so that printing cannot fail.
        python = {"PYTHONFAULTHANDLER": "1", "PYTHONUNBUFFERED": "1", "PYTHONIOENCODING": "utf-8:backslashreplace"}
        # PCI_BUS_ID makes indices in CUDA_VISIBLE_DEVICES those of nvidia-smi, which monitors use.
        # Since 2.14 torch replaces some CUDA kernels by kernels that triton compiles during a trial: that requires a C
        # compiler, and the kernels sum in another order.
        cuda = {"CUDA_DEVICE_ORDER": "PCI_BUS_ID", "TORCH_DISABLE_NATIVE_JIT": "1"}
        environment = {**cuda, **os.environ, **python, **threads}
        fork = options.start == "fork" or (options.start == "auto" and sys.platform == "linux")
        self._launcher: Launcher = (
            ForkedProcesses(environment, worker=worker) if fork else SpawnedProcesses(environment, worker=worker)
        )
        self._handles: list[LocalHandle] = []
        self._groups = AttemptGroups()
        self._gpus = GpuSlots(find_gpus().names)
        self._kills = KernelKills()

    def submit(self, folder: Path) -> LocalHandle:
        handle = LocalHandle(AttemptFolder(folder))
        try:
            spec = handle.folder.read_spec()
            handle.group, handle.gpu = self._group_for(handle.folder, spec), self._gpus.take(spec.gpu)
        except StudyError:
            pass  # its process reports the same error and ends
        if handle.group is not None or handle.gpu is not None:
            group = None if handle.group is None else str(handle.group)
            write_json(
                handle.folder.group, GroupFile(given=("group", "gpu"), group=group, gpu=handle.gpu), durable=False
            )
        self._launcher.start(folder)
        self._handles.append(handle)
        return handle

    def fork_tracer(self, questions: int, answers: int) -> bool:
        """See `scalecore.api.executor.SupportsTracer`."""
        return self._launcher.fork_tracer(questions, answers)

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
        # A fork requested a moment ago may not have reported its process id yet.
        wait_until(lambda: (status := self._poll(handle)).state != "running" or status.pid is not None)
        pid = self._poll(handle).pid
        if pid is not None:
            # Its memory is free only after it is reaped, and the next admission must not rely on it earlier. Repeat the
            # kill until then, since a new fork does not lead a process group yet.
            wait_until(lambda: self._is_over_after_kill(handle, pid))

    def take_stacks(self, handle: LocalHandle) -> None:
        """Make a hanging process write the stacks of its threads to its log, which also ends it.

        The handler of SIGABRT does not need Python, so it also works in native code.
        """
        pid = self._poll(handle).pid
        if pid is None:
            return
        with suppress(ProcessLookupError, PermissionError):
            os.kill(pid, signal.SIGABRT)
        deadline = time.monotonic() + STACK_SECONDS
        while self._poll(handle).state == "running" and time.monotonic() < deadline:
            time.sleep(0.02)

    def close(self) -> None:
        for handle in list(self._handles):
            self.stop(handle, kill=True)
        self._launcher.close()

    def _group_for(self, folder: AttemptFolder, spec: AttemptSpec) -> Path | None:
        """Create a control group for an attempt that has a limit, if this machine allows it."""
        name = f"scalecore-{os.getpid()}-{folder.path.parent.name}-{folder.path.name}"
        return self._groups.make(name, limit=spec.memory_limit)

    def _oom_kill(self, handle: LocalHandle, status: AttemptStatus) -> str | None:
        if handle.group is not None and self._groups.end(handle.group):
            return f"the kernel killed a process in {handle.group}, the control group of this attempt"
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
                kill_group(status.pid)  # children left in the attempt's group must not outlive it
            handle.status = evolve(status, oom_kill=self._oom_kill(handle, status))
            self._gpus.give_back(handle.gpu)
            self._handles.remove(handle)
        return handle.status
