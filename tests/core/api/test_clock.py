"""Limits on attempts count time in which their driver ran (guard G47)."""

from __future__ import annotations

from scalecore.api.clock import RunningClock


def test_g47_time_in_which_nobody_asked_is_half_a_second_at_most() -> None:
    """Each step of a loop counts as it is; a stop of an hour in its middle does not."""
    times = iter([0.0, 0.05, 0.3, 3600.3, 3600.4])
    clock = RunningClock(lambda: next(times))
    assert [round(clock(), 6) for _ in range(4)] == [0.05, 0.3, 0.8, 0.9]


def test_g47_a_slow_loop_makes_limits_longer_and_no_more() -> None:
    """Where every look takes three seconds, a limit is reached all the same."""
    times = iter(range(0, 100, 3))
    clock = RunningClock(lambda: float(next(times)))
    assert [clock() for _ in range(4)] == [0.5, 1.0, 1.5, 2.0]
