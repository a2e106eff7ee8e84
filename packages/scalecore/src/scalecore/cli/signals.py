"""Stop signals before and after a study handles them itself (`scalecore.study.stop_requests`)."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType


class StopRequested(KeyboardInterrupt):
    """SIGTERM or SIGHUP; its text is the signal's name."""


@contextmanager
def raising_stop_requests() -> Iterator[None]:
    """Make SIGTERM and SIGHUP end the block like Ctrl-C: with its clean-up and without a traceback.

    If SIGHUP is ignored, as with nohup, it stays ignored.
    """

    def on_signal(number: int, frame: FrameType | None) -> None:
        raise StopRequested(signal.Signals(number).name)

    taken = []
    if threading.current_thread() is threading.main_thread():
        taken = [one for one in (signal.SIGTERM, signal.SIGHUP) if signal.getsignal(one) is signal.SIG_DFL]
    for number in taken:
        signal.signal(number, on_signal)
    try:
        yield
    finally:
        for number in taken:
            signal.signal(number, signal.SIG_DFL)
