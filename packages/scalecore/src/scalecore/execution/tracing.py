"""The driver's side of the tracer: questions out, answers in, without waiting for them."""

from __future__ import annotations

import json
import os
import select
import subprocess
import sys
import time
import weakref
from collections.abc import Mapping
from typing import Any

__all__ = ["TraceClient"]


class TraceClient:
    """Starts the tracer when it is needed, and again when it has ended."""

    def __init__(self) -> None:
        self._process: subprocess.Popen[bytes] | None = None
        self._pending = b""
        self._asked: dict[str, Mapping[str, Any]] = {}
        """Questions without an answer yet, by key."""

    def start(self) -> None:
        """Let the tracer import torch while there is other work to do."""
        if self._process is not None and self._process.poll() is None:
            return
        threads = dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"), "1")
        self._process = subprocess.Popen(
            [sys.executable, "-m", "scalecore.execution.tracer"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
            env={**os.environ, **threads},
        )
        self._pending = b""
        weakref.finalize(self, _end, self._process)

    def ask(self, question: Mapping[str, Any]) -> None:
        """Send a question, once."""
        if question["key"] in self._asked:
            return
        self.start()
        self._asked[question["key"]] = question
        assert self._process is not None
        assert self._process.stdin is not None
        try:
            os.write(self._process.stdin.fileno(), json.dumps(question).encode() + b"\n")
        except BrokenPipeError:
            return  # it has just ended: `answers` finds that

    def answers(self, *, wait: float = 0.0) -> list[dict[str, Any]]:
        """What has come since the last call; waits up to `wait` seconds for something, while anything is asked."""
        process = self._process
        if process is None or not self._asked:
            return []
        assert process.stdout is not None
        deadline = time.monotonic() + wait
        while select.select([process.stdout], [], [], max(0.0, deadline - time.monotonic()))[0]:
            data = os.read(process.stdout.fileno(), 1 << 16)
            if not data:
                return self._give_up("the tracer ended without an answer")
            *lines, self._pending = (self._pending + data).split(b"\n")
            if lines:
                found = [json.loads(line) for line in lines]
                for one in found:
                    self._asked.pop(one["key"], None)
                return found
        return []

    def give_up(self, reason: str) -> list[dict[str, Any]]:
        """End a tracer that takes too long: an error for everything that was asked."""
        if self._process is not None:
            _end(self._process)
        return self._give_up(reason)

    def _give_up(self, reason: str) -> list[dict[str, Any]]:
        self._process = None
        asked, self._asked = self._asked, {}
        return [{"key": key, "error": reason} for key in asked]


def _end(process: subprocess.Popen[bytes]) -> None:
    process.kill()
    process.wait()
    for pipe in (process.stdin, process.stdout):
        if pipe is not None:
            pipe.close()
