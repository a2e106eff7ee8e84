"""A process that has imported torch and done nothing else, and forks one process per attempt.

Importing torch takes over a second, a fork a few hundredths. The server never computes anything and never touches a
device: a process that has used torch's threads or CUDA must not be forked. It has a single thread.

It speaks JSON lines with the driver. In: `{"folder": ...}`. Out: `{"folder": ..., "pid": ...}` for each fork, and
`{"pid": ..., "exit_code": ..., "peak_memory": ...}` for each end. When its input ends, the driver is gone: the server
ends too, and its children notice that (see `scalecore.execution.lifeline`) or are killed (`undertaker`).

Started with two file descriptors as arguments, it forks the tracer first (`scalecore.execution.tracer`), which reads
its questions from the one and writes its answers to the other.
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
from typing import Any, NoReturn

import psutil

from scalecore.api.files import is_disk_error
from scalecore.config.kept import prepare
from scalecore.execution.attempt_result import AttemptProgress, AttemptResult
from scalecore.execution.attempt_spec import AttemptSpec
from scalecore.execution.folder import DISK_EXIT, AttemptFolder, ControlFile, GroupFile
from scalecore.execution.local.undertaker import undertake
from scalecore.execution.process_file import ProcessFile

REAP_EVERY = 0.02

PRELOADED = (
    "scalecore.execution.attempt",
    "scalecore.execution.worker",
    "scalecore.builtin.plugin",
    "torch._dynamo",  # by the first optimizer, with half of a computer algebra system: over a second of CPU
    "torch.profiler._cupti_monitor",
    "torch.utils.flop_counter",
    "torch.utils.serialization.config",
    "numpy.ctypeslib",
    "numpy.fft",
    "numpy.random",
)


def serve(tracer: Sequence[int] = ()) -> None:
    """Import what every attempt needs, then fork on demand until the input ends.

    `tracer` are the descriptors of the tracer's questions and answers, where there shall be one.
    """

    preload()
    if tracer:
        questions, answers = tracer
        if os.fork() == 0:
            become_tracer(questions, answers)
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
            attempts |= {start(json.loads(line)["folder"]) for line in lines}
        attempts -= reap()


def preload() -> None:
    """Import and prepare all that every attempt needs. What is left for after the fork, each attempt pays for again."""
    for name in PRELOADED:
        # Parts of torch that another version may not have; then no attempt imports them either.
        with suppress(ModuleNotFoundError):
            import_module(name)
    prepare(AttemptSpec, AttemptResult, AttemptProgress, ControlFile, GroupFile, ProcessFile)


def start(folder: str) -> int:
    """Fork one attempt; only the parent comes back, with its process id."""
    parent = os.getpid()
    pid = os.fork()
    if pid == 0:
        become_attempt(folder, parent)
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


def become_attempt(folder: str, parent: int) -> NoReturn:
    """In the child: a session and an output of its own, the attempt, the end without any clean-up of the server's."""
    code = 1
    try:
        # Its own session: Ctrl-C reaches the driver only, which decides, and a kill reaches the whole group.
        os.setsid()
        log = os.open(AttemptFolder(Path(folder)).log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
        nothing = os.open(os.devnull, os.O_RDONLY)
        for source, target in ((nothing, 0), (log, 1), (log, 2)):
            os.dup2(source, target)
        from scalecore.execution.worker import main

        code = main(folder, parent=parent)
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


def become_tracer(questions: int, answers: int) -> NoReturn:
    """In the child: a session of its own, nothing of the server's pipes, and the questions until they end."""
    code = 1
    try:
        os.setsid()
        nothing = os.open(os.devnull, os.O_WRONLY)
        for source, target in ((questions, 0), (answers, 1), (nothing, 2)):
            os.dup2(source, target)
            os.close(source)
        from scalecore.execution.tracer import serve as answer_questions

        answer_questions(forked=True)
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
    serve([int(number) for number in sys.argv[1:]])
    os._exit(0)  # nothing to clean up, and tearing torch down takes half a second that the driver would wait for
