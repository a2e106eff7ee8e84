"""Whether a running trial has become slow: its steps against its own history, and against the study's (guard G43).

A throttled processor, a background mode of the system or a competing program show here, and in nothing else: such a
trial makes progress, and its memory is as it was.
"""

from __future__ import annotations

import statistics

from attrs import define, field

from scalecore.execution.attempt_result import AttemptProgress

WINDOW = 10.0
"""Seconds of training over which a step time is measured."""

SLOWER = 4.0
"""So many times slower is flagged: what a busy neighbour costs is less, what throttling or swapping costs is more."""

CONFIRM = 2
"""Windows in a row that must agree."""

HISTORY = 3
"""Windows that make a history."""


@define(kw_only=True)
class Pace:
    """Seconds per step of one attempt. Pauses and evaluations do not count."""

    expected: float | None = None
    """Seconds per step as the study's other trials suggest, where there are some."""
    flags: list[str] = field(factory=list)
    """What was found, for the record."""
    _last: tuple[float, int, int] | None = None
    """Time, epoch and step of the last look in training."""
    _seconds: float = 0.0
    _steps: int = 0
    _history: list[float] = field(factory=list)
    _slow: int = 0

    def look(self, progress: AttemptProgress, *, now: float) -> str | None:
        """Take what the attempt says of itself at `now` (monotonic); a text when it has become slow, or fast again."""
        here = (now, progress.epoch, progress.step)
        last, self._last = self._last, here if progress.phase == "train" else None
        if last is None or self._last is None or last[1] != here[1] or here[2] < last[2]:
            return None
        if here[2] == last[2]:
            self._last = last  # the attempt tells its place twice a second, a step may take minutes
            return None
        self._seconds += here[0] - last[0]
        self._steps += here[2] - last[2]
        if self._seconds < WINDOW:
            return None
        per_step = self._seconds / max(1, self._steps)
        self._seconds, self._steps = 0.0, 0
        return self._judge(per_step)

    def _judge(self, per_step: float) -> str | None:
        usual, whose = self._usual()
        if usual is None or per_step < SLOWER * usual:
            was_slow, self._slow = self._slow >= CONFIRM, 0
            self._history.append(per_step)
            return "steps are as fast as before again" if was_slow else None
        self._slow += 1
        if self._slow != CONFIRM:
            return None
        times = f"{_seconds(per_step)} a step instead of {_seconds(usual)}"
        self.flags.append(f"{per_step / usual:.0f} times slower than {whose}: {times}")
        return self.flags[-1]

    def _usual(self) -> tuple[float | None, str]:
        if len(self._history) >= HISTORY:
            return statistics.median(self._history), "before"
        return self.expected, "other trials of this study suggest"


def _seconds(value: float) -> str:
    return f"{value:.2g} s" if value >= 1 else f"{1000 * value:.2g} ms"
