"""The driver's client of the tracer: sends requests and reads answers without blocking."""

from __future__ import annotations

import json
import os
import select
import signal
import subprocess
import sys
import weakref
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from typing import Any

from attrs import define, frozen

from scalecore.api.clock import RunningClock
from scalecore.api.readings import Device
from scalecore.api.record_parts import Part

ForkTracer = Callable[[int, int], bool]
"""Starts a tracer from a warmed-up process, given the descriptors of its requests and answers; returns False if it
cannot. See `scalecore.api.executor.SupportsTracer`."""


@frozen(kw_only=True, slots=False)
class TraceAnswer(Part):
    """The tracer's result for a shape, in bytes; `error` is the reason for a failure, `counts` are the sizes of
    shapes."""

    tensors: int | None = None
    held: int | None = None
    blocks: int | None = None
    traced_on: Device | None = None
    note: str | None = None
    error: str | None = None
    counts: Sequence[Mapping[str, int]] | None = None
    base: int | None = None
    """Memory of the process without its tensors."""


REAP_SECONDS = 5.0
POLL = 0.25


@define(eq=False)
class _Tracer:
    """A running tracer and its pipes; a child of this process or of the fork server."""

    questions: int
    answers: int
    child: subprocess.Popen[bytes] | None = None
    descriptor: int | None = None
    """The pidfd of a process that is not a child: by the time of a kill, another process may have its id."""

    def is_there(self) -> bool:
        """False only if the tracer has certainly ended; for a fork this shows at the next request."""
        return self.child is None or self.child.poll() is None

    def know(self, pid: int) -> None:
        """Open a pidfd for the process id that a fork reports."""
        if self.child is None:
            with suppress(ProcessLookupError):
                self.descriptor = os.pidfd_open(pid)

    def end(self) -> None:
        if self.child is not None:
            self.child.kill()
            self.child.wait()
        elif self.descriptor is not None:
            with suppress(ProcessLookupError):
                signal.pidfd_send_signal(self.descriptor, signal.SIGKILL)
            select.select([self.descriptor], [], [], REAP_SECONDS)
            os.close(self.descriptor)
        for pipe in (self.questions, self.answers):
            os.close(pipe)


class TraceClient:
    """Starts the tracer on demand, and restarts it after it has ended."""

    def __init__(self, *, fork: ForkTracer | None = None) -> None:
        """`fork` starts the first tracer if it can; all others are fresh interpreters."""
        self._fork = fork
        self._tracer: _Tracer | None = None
        self._end: Any = None
        self._pending = b""
        self._asked: dict[str, Mapping[str, Any]] = {}
        """Unanswered requests by key."""

    def start(self) -> None:
        """Start the tracer, which then imports torch in parallel. Raises OSError if no process can be started."""
        if self._tracer is not None and (self._asked or self._tracer.is_there()):
            return  # `answers` replaces a tracer that ended with unanswered requests
        self._stop()
        self._tracer = self._start()
        self._pending = b""
        self._end = weakref.finalize(self, self._tracer.end)

    def ask(self, question: Mapping[str, Any]) -> None:
        """Send a request once. Raises OSError like `start`."""
        if question["key"] in self._asked:
            return
        self.start()
        line = json.dumps(question).encode() + b"\n"
        if not self._wrote(line) and not self._asked:
            self._stop()  # it ended after a long idle time
            self.start()
            self._wrote(line)
        self._asked[question["key"]] = question

    def answers(self, *, wait: float = 0.0) -> list[dict[str, Any]]:
        """Answers since the last call. With open requests, waits up to `wait` seconds for an answer.

        Time in which this process is stopped or frozen does not count, since the tracer usually was too (guard G47).
        """
        tracer = self._tracer
        if tracer is None or not self._asked:
            return []
        clock = RunningClock()
        deadline = clock() + wait
        while True:
            left = deadline - clock()
            if not select.select([tracer.answers], [], [], max(0.0, min(left, POLL)))[0]:
                if left <= 0:
                    return []
                continue
            data = os.read(tracer.answers, 1 << 16)
            if not data:
                return self.give_up("the tracer ended without an answer")
            *lines, self._pending = (self._pending + data).split(b"\n")
            received = [json.loads(line) for line in lines]
            for one in received:
                if "pid" in one:
                    tracer.know(one["pid"])
            found = [one for one in received if "key" in one]
            for one in found:
                self._asked.pop(one["key"], None)
            if found:
                return found

    def give_up(self, reason: str) -> list[dict[str, Any]]:
        """End a tracer that has ended or takes too long. Returns an error for each open request."""
        self._stop()
        asked, self._asked = self._asked, {}
        return [{"key": key, "error": reason} for key in asked]

    def _stop(self) -> None:
        if self._end is not None:
            self._end()
        self._tracer = self._end = None

    def _wrote(self, line: bytes) -> bool:
        """Write the line; False if the tracer has ended."""
        assert self._tracer is not None
        try:
            os.write(self._tracer.questions, line)
        except BrokenPipeError:
            return False
        return True

    def _start(self) -> _Tracer:
        fork, self._fork = self._fork, None
        if fork is not None and (forked := _forked(fork)) is not None:
            return forked
        threads = dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"), "1")
        child = subprocess.Popen(
            [sys.executable, "-m", "scalecore_torch.memory.tracer"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
            env={**os.environ, **threads},
        )
        assert child.stdin is not None
        assert child.stdout is not None
        # Duplicated descriptors, so that both kinds of tracers are closed in the same way.
        questions, answers = os.dup(child.stdin.fileno()), os.dup(child.stdout.fileno())
        child.stdin.close()
        child.stdout.close()
        return _Tracer(questions=questions, answers=answers, child=child)


def _forked(fork: ForkTracer) -> _Tracer | None:
    """A tracer forked by the fork server; None if it cannot be forked, or not killed safely."""
    try:
        os.close(os.pidfd_open(os.getpid()))
    except (AttributeError, OSError):
        return None
    theirs, questions = os.pipe()
    answers, written = os.pipe()
    done = False
    with suppress(OSError):  # a fresh interpreter then cannot start either and reports the reason
        done = fork(theirs, written)
    os.close(theirs)
    os.close(written)
    if done:
        return _Tracer(questions=questions, answers=answers)
    os.close(questions)
    os.close(answers)
    return None
