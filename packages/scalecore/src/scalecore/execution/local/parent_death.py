"""Ends a process that outlives its parent by a timer of the kernel, which needs neither Python nor another process.

A process that keeps the interpreter's lock in a call that does not return notices nothing, and the process that would
kill it (`scalecore.execution.local.reaper`) may have been killed with the driver. So the kernel sends a signal when
the parent ends (`PR_SET_PDEATHSIG`). The handler of that signal is the C library's function `alarm`: the kernel calls
it with the number of the signal, 16 on all common machines, and ends the process 16 seconds later. A process that can
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
"""Sent by nothing else since there are no coprocessors; 0 where the kernel is not Linux, or has no such signal."""


def end_after_parent(parent: int) -> None:
    """From now on this process ends some seconds after `parent`, its parent, has ended."""
    if not SIGNAL:
        return
    library = ctypes.CDLL(None)
    signal.signal(signal.SIGALRM, signal.SIG_DFL)
    library.signal(SIGNAL, ctypes.cast(library.alarm, ctypes.c_void_p))
    library.prctl(PR_SET_PDEATHSIG, SIGNAL)
    if os.getppid() != parent:
        signal.alarm(SIGNAL)  # it ended before the kernel was asked


def spare() -> None:
    """Stop the timer: the parent lives, and only the thread of it that started this process has ended.

    A timer of a model has a handler and is left alone.
    """
    if SIGNAL and signal.getsignal(signal.SIGALRM) is signal.SIG_DFL:
        signal.alarm(0)


@contextmanager
def ending_after_parent(parent: int) -> Iterator[None]:
    """The same while something is done inside that may hang."""
    end_after_parent(parent)
    try:
        yield
    finally:
        if SIGNAL:
            ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, 0)
            spare()
