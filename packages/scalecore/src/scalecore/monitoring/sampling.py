"""One thread that reads all monitors on their own intervals, so that a slow sensor never holds the study's loop.

It fills a buffer and decides nothing: the driver takes the samples out and asks for verdicts in its own thread. A
monitor's object is used by one of both at a time. A monitor that does not answer is given up and a new thread reads
the others: the memory guard must not hang on the sensor of a fan.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, TypeVar

from attrs import define, field, frozen

from scalecore.api.monitor import HardwareMonitor
from scalecore.api.readings import Reading

if TYPE_CHECKING:
    from collections.abc import Iterator

Kind = TypeVar("Kind")

IDLE_INTERVAL = 2.0
"""Shortest interval in seconds while no trial runs."""

ANSWER_WITHIN = 10.0
"""Seconds after which a monitor that does not answer counts as unavailable for the rest of the run."""

SHORTEST = 0.05


@define(eq=False)
class Watched:
    """A monitor, and what became of it."""

    name: str
    monitor: HardwareMonitor
    quantities: Sequence[str] = ()
    interval: float = 0.0
    """What it said when it was last read."""
    due: float = 0.0
    failed: str | None = None
    hung: bool = False
    lock: threading.Lock = field(factory=threading.Lock)

    @contextmanager
    def held(self) -> Iterator[bool]:
        """Have the monitor for oneself; False where it does not answer."""
        got = not self.hung and self.lock.acquire(timeout=ANSWER_WITHIN)
        try:
            yield got
        finally:
            if got:
                self.lock.release()


@frozen
class Sample:
    """What a monitor read, or the exception that it raised."""

    watched: Watched
    readings: Sequence[Reading]
    error: Exception | None = None


def checked_readings(found: Iterable[Any]) -> list[Reading]:
    """What a monitor returned; raises `TypeError` or `ValueError` for what is no reading, so that it ends no study."""
    readings = all_of(Reading, found)
    for one in readings:
        if (problem := one.problem()) is not None:
            raise ValueError(problem)
    return readings


def all_of(kind: type[Kind], found: Iterable[Any]) -> list[Kind]:
    """The same for any type."""
    listed = list(found)
    for one in listed:
        if not isinstance(one, kind):
            raise TypeError(f"it returned {one!r}, where a {kind.__name__} is expected")
    return listed


class Sampler:
    """Reads the monitors from `start` to `close`. The driver sets `processes`: running trials and their processes."""

    def __init__(self, watched: Sequence[Watched], *, clock: Callable[[], float] = time.monotonic) -> None:
        self.processes: Mapping[int, int] = {}
        self._watched = list(watched)
        self._clock = clock
        self._buffer: deque[Sample] = deque()
        self._wake = threading.Event()
        self._thread: threading.Thread | None = None
        self._reading: tuple[Watched, float] | None = None
        """The monitor that is being read, and since when."""

    def start(self) -> None:
        """Begin to read, once."""
        if self._thread is None and self._watched:
            self._wake.clear()
            self._begin()

    def close(self) -> None:
        """End the thread, without waiting for a monitor that does not answer."""
        thread, self._thread = self._thread, None
        self._wake.set()
        if thread is not None and self._hanging() is None:
            thread.join(timeout=ANSWER_WITHIN)

    def look_now(self) -> None:
        """Read every monitor as soon as possible: something has changed that they should see."""
        for watched in self._watched:
            watched.due = 0.0
        self._wake.set()

    def take(self) -> list[Sample]:
        """The samples since the last call, in their order; a monitor that hangs is given up here."""
        if (hanging := self._hanging()) is not None and self._thread is not None:
            hanging.hung = True
            self._reading = None
            self._begin()
            text = f"did not answer for {ANSWER_WITHIN:.0f} s"
            self._buffer.append(Sample(hanging, (), TimeoutError(text)))
        samples = []
        while self._buffer:
            samples.append(self._buffer.popleft())
        return samples

    def _begin(self) -> None:
        self._thread = threading.Thread(target=self._run, name="monitors", daemon=True)
        self._thread.start()

    def _hanging(self) -> Watched | None:
        reading = self._reading
        if reading is None or self._clock() - reading[1] < ANSWER_WITHIN:
            return None
        return reading[0]

    def _run(self) -> None:
        me = threading.current_thread()
        while self._thread is me:
            for watched in self._watched:
                if watched.hung or self._clock() < watched.due:
                    continue
                sample = self._read(watched)
                if self._thread is not me:
                    return  # given up meanwhile: another thread reads now
                self._buffer.append(sample)
            now = self._clock()
            due = min((one.due for one in self._watched if not one.hung), default=now + IDLE_INTERVAL)
            self._wake.wait(max(SHORTEST / 2, due - now))
            self._wake.clear()

    def _read(self, watched: Watched) -> Sample:
        processes = self.processes
        self._reading = (watched, self._clock())
        try:
            with watched.lock:
                readings = tuple(watched.monitor.sample(processes))
                interval = watched.interval = watched.monitor.interval
            return Sample(watched, checked_readings(readings))
        except Exception as error:
            interval = IDLE_INTERVAL
            return Sample(watched, (), error)
        finally:
            if not watched.hung:
                self._reading = None
            watched.due = self._clock() + max(interval, SHORTEST if processes else IDLE_INTERVAL)
