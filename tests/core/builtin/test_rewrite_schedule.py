"""Files that are written whole are written now and then, and at the end."""

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
    """A thousand trials within five seconds cost two writings."""
    clock = Clock(monkeypatch)
    pacer = Rewriting(clock.write)
    for _ in range(1000):
        pacer.changed()
    assert clock.written == 1
    clock.now += rewrite_schedule.EVERY
    pacer.look()
    pacer.look()
    assert clock.written == 2


def test_what_takes_long_is_written_less_often(monkeypatch: pytest.MonkeyPatch) -> None:
    """Writing takes its share of the time and no more; nothing is written without a change."""
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


def test_what_is_written_piece_by_piece_does_not_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    """Writing the files of all trials at the start of a long study does not delay those of its next ones."""
    clock = Clock(monkeypatch)
    clock.seconds = 10.0
    pacer = Rewriting(clock.write, every=0.0)
    pacer.changed(all_of_it=True)
    pacer.changed()
    assert clock.written == 2


def test_the_end_of_a_run_waits_for_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """`finish` writes whenever it is called."""
    clock = Clock(monkeypatch)
    pacer = Rewriting(clock.write)
    pacer.changed()
    pacer.finish()
    pacer.finish()
    assert clock.written == 3


def test_g48_a_full_disk_is_waited_for_until_the_end_of_the_run(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is tried again every few seconds, with one warning each time it fills up, and raised at the end only."""
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


def test_what_no_disk_is_to_blame_for_is_raised_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever made the content made a mistake."""
    clock = Clock(monkeypatch)
    clock.write = lambda: {}["no such column"]  # type: ignore[method-assign]
    with pytest.raises(KeyError):
        Rewriting(clock.write).changed()
