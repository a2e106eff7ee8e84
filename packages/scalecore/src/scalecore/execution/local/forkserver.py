"""A process that has imported what trains and done nothing else, and forks one process per attempt.

Importing torch takes over a second, a fork a few hundredths. The server never computes anything and never touches a
device: a process that has used torch's threads or CUDA must not be forked. It has a single thread.

It speaks JSON lines with the driver. In: `{"folder": ...}`. Out: `{"folder": ..., "pid": ...}` for each fork, and
`{"pid": ..., "exit_code": ..., "peak_memory": ...}` for each end. When its input ends, the driver is gone: the server
ends too, and its children notice that (see `scalecore.execution.attempt_control`) or are killed (`undertaker`).

Started as `python -m scalecore.execution.local.forkserver WORKER`, the name of a worker module. With two file
descriptors as further arguments it first forks a process that predicts memory, by the worker's `answer`: it reads its
questions from the one and writes its answers to the other.
"""

from __future__ import annotations

import json
import os
import select
import sys
from collections.abc import Sequence
from contextlib import suppress
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Any, NoReturn

import psutil

from scalecore.api.files import is_disk_error
from scalecore.execution.folder import DISK_EXIT, AttemptFolder
from scalecore.execution.local.reaper import undertake

REAP_EVERY = 0.02


def serve(name: str, tracer: Sequence[int] = ()) -> None:
    """Import what every attempt needs, then fork on demand until the input ends.

    `name` is the worker module. `tracer` are the descriptors of the tracer's questions and answers, where there shall
    be one.
    """
    worker = import_module(name)
    getattr(worker, "preload", bool)()
    if tracer:
        questions, answers = tracer
        if os.fork() == 0:
            become_tracer(worker, questions, answers)
        os.close(questions)
        os.close(answers)
    attempts: set[int] = set()
    pending = b""
    while True:
        readable, _, _ = select.select([0], [], [], REAP_EVERY)
        if readable:
            data = os.read(0, 65536)
            if not data:
                leave(attempts)
                return
            *lines, pending = (pending + data).split(b"\n")
            attempts |= {start(worker, json.loads(line)["folder"]) for line in lines}
        attempts -= reap()


def start(worker: ModuleType, folder: str) -> int:
    """Fork one attempt; only the parent comes back, with its process id."""
    parent = os.getpid()
    pid = os.fork()
    if pid == 0:
        become_attempt(worker, folder, parent)
    say({"folder": folder, "pid": pid})
    return pid


def leave(attempts: set[int]) -> None:
    """Let attempts notice that their parent ends, and another process see to those that cannot."""
    left = [psutil.Process(pid) for pid in attempts]  # not reaped yet, so their numbers are still theirs
    if not left or os.fork() != 0:
        return
    try:
        nothing = os.open(os.devnull, os.O_RDWR)
        for descriptor in (0, 1, 2):  # a reader of the driver's output must not wait for this process
            os.dup2(nothing, descriptor)
        undertake(left)
    finally:
        os._exit(0)


def become_attempt(worker: ModuleType, folder: str, parent: int) -> NoReturn:
    """In the child: a session and an output of its own, the attempt, the end without any clean-up of the server's."""
    code = 1
    try:
        # Its own session: Ctrl-C reaches the driver only, which decides, and a kill reaches the whole group.
        os.setsid()
        log = os.open(AttemptFolder(Path(folder)).log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
        nothing = os.open(os.devnull, os.O_RDONLY)
        for source, target in ((nothing, 0), (log, 1), (log, 2)):
            os.dup2(source, target)
        code = worker.main(folder, parent=parent)
    except BaseException as error:
        code = DISK_EXIT if is_disk_error(error) else 1
        if code != DISK_EXIT:  # of which the driver says all there is to say
            import traceback

            with suppress(OSError):
                traceback.print_exc()
    finally:
        with suppress(OSError):  # what is left in a buffer may find no room on the disk
            sys.stdout.flush()
            sys.stderr.flush()
        os._exit(code)


def become_tracer(worker: ModuleType, questions: int, answers: int) -> NoReturn:
    """In the child: a session of its own, nothing of the server's pipes, and the questions until they end."""
    code = 1
    try:
        os.setsid()
        nothing = os.open(os.devnull, os.O_WRONLY)
        for source, target in ((questions, 0), (answers, 1), (nothing, 2)):
            os.dup2(source, target)
            os.close(source)
        worker.answer()
        code = 0
    finally:
        os._exit(code)


def reap() -> set[int]:
    """Report the children that have ended, and return their process ids."""
    ended: set[int] = set()
    while True:
        try:
            pid, status, usage = os.wait4(-1, os.WNOHANG)
        except ChildProcessError:
            return ended
        if pid == 0:
            return ended
        ended.add(pid)
        say({"pid": pid, "exit_code": os.waitstatus_to_exitcode(status), "peak_memory": usage.ru_maxrss * 1024})


def say(message: dict[str, Any]) -> None:
    """One line to the driver, unless it is gone: then the input ends too."""
    with suppress(BrokenPipeError):
        os.write(1, json.dumps(message).encode() + b"\n")


if __name__ == "__main__":
    serve(sys.argv[1], [int(number) for number in sys.argv[2:]])
    os._exit(0)  # nothing to clean up, and tearing torch down takes half a second that the driver would wait for
