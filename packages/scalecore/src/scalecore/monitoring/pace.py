"""Detects slow trials by comparing the time per step with the trial's own history and other trials (guard G43).

A throttled processor, a background mode of the system or a competing program can only be seen here: such a trial still
makes progress, and its memory does not change.
"""

from __future__ import annotations

import statistics

from attrs import define, field

from scalecore.execution.attempt_result import AttemptProgress

WINDOW = 10.0
"""Seconds of training over which a step time is measured."""

SLOWER = 4.0
"""Factor from which a trial is flagged as slow: a busy neighbour costs less, throttling or swapping costs more."""

CONFIRM = 2
"""Number of consecutive windows that must agree."""

HISTORY = 3
"""Number of windows that form a history."""


@define(kw_only=True)
class Pace:
    """Seconds per step of one attempt. Pauses and evaluations do not count."""

    expected: float | None = None
    """Seconds per step, estimated from other trials of the study, if there are any."""
    flags: list[str] = field(factory=list)
    """Texts of the flags for the record."""
    _last: tuple[float, int, int] | None = None
    """Time, epoch and step of the last call during training."""
    _seconds: float = 0.0
    _steps: int = 0
    _history: list[float] = field(factory=list)
    _slow: int = 0

    def look(self, progress: AttemptProgress, *, now: float) -> str | None:
        """Process the attempt's progress at `now` (monotonic); return a text if it became slow, or normal again."""
        here = (now, progress.epoch, progress.step)
        last, self._last = self._last, here if progress.phase == "train" else None
        if last is None or self._last is None or last[1] != here[1] or here[2] < last[2]:
            return None
        if here[2] == last[2]:
            self._last = last  # progress is written twice a second, a step may take minutes
            return None
        self._seconds += here[0] - last[0]
        self._steps += here[2] - last[2]
        if self._seconds < WINDOW:
            return None
        per_step = self._seconds / max(1, self._steps)
        self._seconds, self._steps = 0.0, 0
        return self._judge(per_step)

    def _judge(self, per_step: float) -> str | None:
        usual, source = self._usual()
        if usual is None or per_step < SLOWER * usual:
            was_slow, self._slow = self._slow >= CONFIRM, 0
            self._history.append(per_step)
            return "steps are back to normal speed" if was_slow else None
        self._slow += 1
        if self._slow != CONFIRM:
            return None
        times = f"{_seconds(per_step)} per step instead of {_seconds(usual)}"
        self.flags.append(f"{per_step / usual:.0f} times slower than {source}: {times}")
        return self.flags[-1]

    def _usual(self) -> tuple[float | None, str]:
        if len(self._history) >= HISTORY:
            return statistics.median(self._history), "before"
        return self.expected, "expected from other trials of this study"


def _seconds(value: float) -> str:
    return f"{value:.2g} s" if value >= 1 else f"{1000 * value:.2g} ms"
