"""One thread that reads all monitors at their intervals, so that a slow sensor never blocks the study's loop.

It fills a buffer and decides nothing: the driver takes the samples and asks for verdicts in its own thread. Only one of
the two threads uses a monitor at a time. If a monitor does not answer, it is abandoned and a new thread reads the
others: the memory guard must not depend on the sensor of a fan.
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
    """A monitor and its state."""

    name: str
    monitor: HardwareMonitor
    quantities: Sequence[str] = ()
    interval: float = 0.0
    """Its interval at the last reading."""
    due: float = 0.0
    failed: str | None = None
    hung: bool = False
    lock: threading.Lock = field(factory=threading.Lock)

    @contextmanager
    def held(self) -> Iterator[bool]:
        """Use the monitor exclusively; False if it does not answer."""
        got = not self.hung and self.lock.acquire(timeout=ANSWER_WITHIN)
        try:
            yield got
        finally:
            if got:
                self.lock.release()


@frozen
class Sample:
    """The readings of a monitor, or the exception that it raised."""

    watched: Watched
    readings: Sequence[Reading]
    error: Exception | None = None


def checked_readings(found: Iterable[Any]) -> list[Reading]:
    """Return the readings of a monitor; raise `TypeError` or `ValueError` for invalid ones, which end no study."""
    readings = all_of(Reading, found)
    for one in readings:
        if (problem := one.problem()) is not None:
            raise ValueError(problem)
    return readings


def all_of(kind: type[Kind], found: Iterable[Any]) -> list[Kind]:
    """Return `found` as a list; raise `TypeError` for an element of another type."""
    listed = list(found)
    for one in listed:
        if not isinstance(one, kind):
            raise TypeError(f"it returned {one!r}, expected a {kind.__name__}")
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
        """The monitor that is being read, and the start time."""

    def start(self) -> None:
        """Start the thread, once."""
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
        """Read every monitor as soon as possible, after a change that they should see."""
        for watched in self._watched:
            watched.due = 0.0
        self._wake.set()

    def take(self) -> list[Sample]:
        """Return the samples since the last call, in order; abandon a monitor that hangs."""
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
                    return  # this monitor was abandoned: another thread reads the others now
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
