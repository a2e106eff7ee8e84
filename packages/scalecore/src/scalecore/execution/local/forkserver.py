"""A process that imports the training libraries, does nothing else, and forks one process per attempt.

Importing torch takes over a second, a fork a few hundredths. The server never computes anything and never uses a
device: a process that has used torch's threads or CUDA must not be forked. It has a single thread.

It exchanges JSON lines with the driver. In: `{"folder": ...}`. Out: `{"folder": ..., "pid": ...}` for each fork, and
`{"pid": ..., "exit_code": ..., "peak_memory": ...}` for each end. The end of its input means that the driver has ended:
the server ends too, and its children notice that (see `scalecore.execution.attempt_control`) or are killed (`reaper`).

Started as `python -m scalecore.execution.local.forkserver WORKER`, with the name of a worker module. With two file
descriptors as further arguments it first forks a process that predicts memory with the worker's `answer`: it reads
questions from the first and writes answers to the second.
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
    """Import the worker module `name` and its libraries, then fork on demand until the input ends.

    `tracer` are the descriptors of the tracer's questions and answers, if there is a tracer.
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
    """Fork one attempt; return its process id in the parent."""
    parent = os.getpid()
    pid = os.fork()
    if pid == 0:
        become_attempt(worker, folder, parent)
    say({"folder": folder, "pid": pid})
    return pid


def leave(attempts: set[int]) -> None:
    """Fork a reaper for attempts that cannot notice the end of their parent."""
    left = [psutil.Process(pid) for pid in attempts]  # not reaped yet, so their ids are still valid
    if not left or os.fork() != 0:
        return
    try:
        nothing = os.open(os.devnull, os.O_RDWR)
        for descriptor in (0, 1, 2):  # readers of the driver's output must not wait for this process
            os.dup2(nothing, descriptor)
        undertake(left)
    finally:
        os._exit(0)


def become_attempt(worker: ModuleType, folder: str, parent: int) -> NoReturn:
    """In the child: create a session, redirect the output, run the attempt, and exit without the server's clean-up."""
    code = 1
    try:
        # With its own session, Ctrl-C reaches only the driver, which decides, and a kill reaches the whole group.
        os.setsid()
        log = os.open(AttemptFolder(Path(folder)).log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
        nothing = os.open(os.devnull, os.O_RDONLY)
        for source, target in ((nothing, 0), (log, 1), (log, 2)):
            os.dup2(source, target)
        code = worker.main(folder, parent=parent)
    except BaseException as error:
        code = DISK_EXIT if is_disk_error(error) else 1
        if code != DISK_EXIT:  # the driver reports disk errors
            import traceback

            with suppress(OSError):
                traceback.print_exc()
    finally:
        with suppress(OSError):  # the disk may be full
            sys.stdout.flush()
            sys.stderr.flush()
        os._exit(code)


def become_tracer(worker: ModuleType, questions: int, answers: int) -> NoReturn:
    """In the child: create a session, replace the server's pipes, and answer questions until they end."""
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
    """Send one line to the driver, unless it has ended: then the input ends too."""
    with suppress(BrokenPipeError):
        os.write(1, json.dumps(message).encode() + b"\n")


if __name__ == "__main__":
    serve(sys.argv[1], [int(number) for number in sys.argv[2:]])
    os._exit(0)  # nothing to clean up, and the driver would wait half a second for torch's shutdown
