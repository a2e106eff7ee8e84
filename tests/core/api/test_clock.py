"""Limits on attempts count time in which their driver ran (guard G47)."""

from __future__ import annotations

from scalecore.api.clock import RunningClock


def test_g47_time_between_two_reads_counts_at_most_half_a_second() -> None:
    """Normal steps of a loop count fully; a stop of an hour does not."""
    times = iter([0.0, 0.05, 0.3, 3600.3, 3600.4])
    clock = RunningClock(lambda: next(times))
    assert [round(clock(), 6) for _ in range(4)] == [0.05, 0.3, 0.8, 0.9]


def test_g47_a_slow_loop_only_makes_limits_longer() -> None:
    """A limit is reached even if each read takes three seconds."""
    times = iter(range(0, 100, 3))
    clock = RunningClock(lambda: float(next(times)))
    assert [clock() for _ in range(4)] == [0.5, 1.0, 1.5, 2.0]
