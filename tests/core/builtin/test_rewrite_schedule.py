"""The schedule of files that are always rewritten completely."""

from __future__ import annotations

import errno
from itertools import count

import pytest

from scalecore.builtin import rewrite_schedule
from scalecore.builtin.rewrite_schedule import Rewriting


class Clock:
    """A clock that the test sets, and a writer that takes `seconds`."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now, self.seconds, self.written = 100.0, 0.0, 0
        monkeypatch.setattr(rewrite_schedule.time, "monotonic", lambda: self.now)

    def write(self) -> None:
        self.now += self.seconds
        self.written += 1


def test_the_first_change_is_written_at_once_and_the_next_ones_together(monkeypatch: pytest.MonkeyPatch) -> None:
    """A thousand trials within five seconds cause two writes."""
    clock = Clock(monkeypatch)
    pacer = Rewriting(clock.write)
    for _ in range(1000):
        pacer.changed()
    assert clock.written == 1
    clock.now += rewrite_schedule.EVERY
    pacer.look()
    pacer.look()
    assert clock.written == 2


def test_slow_writes_happen_less_often(monkeypatch: pytest.MonkeyPatch) -> None:
    """Writing uses at most its share of the time; nothing is written without a change."""
    clock = Clock(monkeypatch)
    clock.seconds = 2.0
    pacer = Rewriting(clock.write)
    pacer.changed()
    pacer.changed()
    clock.now += clock.seconds / rewrite_schedule.SHARE - 0.1
    pacer.look()
    assert clock.written == 1
    clock.now += 0.2
    pacer.look()
    assert clock.written == 2
    clock.now += 1000.0
    pacer.look()
    assert clock.written == 2


def test_partial_writes_do_not_delay_others(monkeypatch: pytest.MonkeyPatch) -> None:
    """Writing all trial files at the start of a long study does not delay those of the next trials."""
    clock = Clock(monkeypatch)
    clock.seconds = 10.0
    pacer = Rewriting(clock.write, every=0.0)
    pacer.changed(all_of_it=True)
    pacer.changed()
    assert clock.written == 2


def test_the_end_of_a_run_writes_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """`finish` always writes."""
    clock = Clock(monkeypatch)
    pacer = Rewriting(clock.write)
    pacer.changed()
    pacer.finish()
    pacer.finish()
    assert clock.written == 3


def test_g48_writes_to_a_full_disk_are_retried_until_the_end_of_the_run(monkeypatch: pytest.MonkeyPatch) -> None:
    """The write is retried every few seconds, with one warning each time; only the end raises the error."""
    clock, names = Clock(monkeypatch), count()

    def write() -> None:
        if full_now:
            raise OSError(errno.ENOSPC, "No space left on device", f".table.{next(names)}.tmp")
        clock.write()

    full_now = True
    pacer = Rewriting(write)
    for _ in range(3):
        pacer.changed()
        clock.now += rewrite_schedule.EVERY
    warning = "[Errno 28] No space left on device: '.table.{}.tmp'; retrying until the end of the run"
    assert pacer.take_remarks() == [("warning", warning.format(0))]
    assert pacer.take_remarks() == []
    with pytest.raises(OSError, match="No space left on device"):
        pacer.finish()
    full_now = False
    pacer.look()
    assert clock.written == 1
    full_now = True
    clock.now += 60
    pacer.changed()
    assert pacer.take_remarks() == [("warning", warning.format(next(names) - 1))]


def test_other_errors_are_raised_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Other errors are mistakes in the content."""
    clock = Clock(monkeypatch)
    clock.write = lambda: {}["no such column"]  # type: ignore[method-assign]
    with pytest.raises(KeyError):
        Rewriting(clock.write).changed()
