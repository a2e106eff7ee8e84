"""Ends a process that outlives its parent with a timer of the kernel, without Python and without another process.

A process that hangs in a native call with the interpreter's lock cannot react, and the process that would kill it
(`scalecore.execution.local.reaper`) may have been killed with the driver. So the kernel sends a signal when the
parent ends (`PR_SET_PDEATHSIG`). The handler of that signal is the C library's function `alarm`: the kernel calls it
with the number of the signal, 16 on all common machines, and so ends the process 16 seconds later. A process that can
run Python has written its checkpoint and ended by then.
"""

from __future__ import annotations

import ctypes
import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager

PR_SET_PDEATHSIG = 1
SIGNAL: int = getattr(signal, "SIGSTKFLT", 0)
"""A signal for coprocessors, which nothing sends any more; 0 if the system does not have it."""


def end_after_parent(parent: int) -> None:
    """Make this process end some seconds after its parent, `parent`, has ended."""
    if not SIGNAL:
        return
    library = ctypes.CDLL(None)
    signal.signal(signal.SIGALRM, signal.SIG_DFL)
    library.signal(SIGNAL, ctypes.cast(library.alarm, ctypes.c_void_p))
    library.prctl(PR_SET_PDEATHSIG, SIGNAL)
    if os.getppid() != parent:
        signal.alarm(SIGNAL)  # the parent ended before the prctl call


def spare() -> None:
    """Stop the timer if the parent is alive: only the thread that started this process has ended.

    A timer that a model set has a handler, so it is not stopped.
    """
    if SIGNAL and signal.getsignal(signal.SIGALRM) is signal.SIG_DFL:
        signal.alarm(0)


@contextmanager
def ending_after_parent(parent: int) -> Iterator[None]:
    """Apply `end_after_parent` during a block that may hang."""
    end_after_parent(parent)
    try:
        yield
    finally:
        if SIGNAL:
            ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, 0)
            spare()
