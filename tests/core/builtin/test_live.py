"""The logger `console` on a terminal; `pyte` interprets the output and keeps the screen."""

from __future__ import annotations

import io
import re
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import attrs
import pyte
import pytest

from scalecore.api.logger import LoggerContext
from scalecore.api.trials import Origin, Progress, Proposal, StudyEnd, StudyView
from scalecore.builtin.console import ConsoleLogger
from scalecore.builtin.options import ConsoleOptions

from .conftest import shape, trial

Make = Callable[..., StudyView]
Start = Callable[..., ConsoleLogger]

PROPOSAL = Proposal(architecture=shape(8), hyperparameters={}, origin=Origin(kind="sampled"))
EPOCH = {"epoch": 1, "train_loss": 0.7, "val_loss": 0.00021344, "train_seconds": 1.5}


class Terminal(io.StringIO):
    """A stream to a terminal, with its screen."""

    def __init__(self, columns: int, lines: int) -> None:
        super().__init__()
        self.screen = pyte.HistoryScreen(columns, lines, history=1000)
        self.raw = ""
        self._reader = pyte.Stream(self.screen)

    def isatty(self) -> bool:
        return True

    def write(self, text: str) -> int:
        self.raw += text
        self._reader.feed(text.replace("\n", "\r\n"))  # as a terminal driver does
        return len(text)

    def shown(self) -> list[str]:
        """The non-empty lines of the screen."""
        return [line.rstrip() for line in self.screen.display if line.strip()]

    def rows(self) -> list[str]:
        """The non-empty lines, each bar as one `=`."""
        return [re.sub(r"\s*[━╸╺]+\s*", " = ", line) for line in self.shown()]


@pytest.fixture(params=[(80, 24), (120, 30)], ids=["80 columns", "120 columns"])
def terminal(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Terminal:
    columns, lines = request.param
    for name, value in (("COLUMNS", columns), ("LINES", lines), ("TERM", "xterm-256color")):
        monkeypatch.setenv(name, str(value))
    return Terminal(columns, lines)


def progress(number: int, **changes: Any) -> Progress:
    readings = {"memory": "1.2 GB", "temperature": "unavailable (no sensor)"}
    return attrs.evolve(
        Progress(
            number=number,
            phase="train",
            epoch=2,
            epochs=8,
            step=3,
            steps_per_epoch=19,
            trial_seconds=4.0,
            study_seconds_left=7500.0,
            readings=readings,
        ),
        **changes,
    )


@pytest.fixture
def started(study: Make, tmp_path: Path, terminal: Terminal, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Any]:
    """Create a logger on the terminal in a study of nine trials, one finished, with these running ones."""

    def started(*numbers: int, **options: Any) -> ConsoleLogger:
        monkeypatch.setattr(sys, "stdout", terminal)
        return tell(study, tmp_path, numbers, options)

    return started


def tell(study: Make, tmp_path: Path, numbers: Sequence[int], options: Mapping[str, Any]) -> ConsoleLogger:
    view = study([trial(0, 0.5)], total=9)
    logger = ConsoleLogger(ConsoleOptions(**options), LoggerContext(folder=tmp_path))
    logger.study_started(view)
    for number in numbers:
        logger.trial_started(number, PROPOSAL, view)
    return logger


def test_study_trials_and_machine_are_below_the_lines(study: Make, started: Start, terminal: Terminal) -> None:
    """The study has a bar with best value and ETA, each running trial one with epoch and loss; readings follow."""
    logger = started(1, 2, 3)
    logger.epoch(2, EPOCH)
    logger.progress(progress(1))
    logger.progress(progress(2, phase="evaluate", epoch=8, step=19))
    logger.progress(progress(3, phase="starting", epoch=0, step=0, trial_seconds=0.4))

    assert terminal.rows()[-5:] == [
        "study = 1 of 9, best 0.5000 #0, ETA 2 h 05 min",
        "trial 1 = epoch 2/8, train 3/19, 4 s",
        "trial 2 = epoch 8/8, evaluate 19/19, val_loss 0.0002134, 4 s",
        "trial 3 = starting, 0 s",
        "memory 1.2 GB, temperature unavailable (no sensor)",
    ]
    assert max(map(len, terminal.shown())) <= terminal.screen.columns
    assert terminal.screen.cursor.x == 0


def test_lines_scroll_above_the_bars(study: Make, started: Start, terminal: Terminal) -> None:
    """Warnings, lines of trials and other output scroll above; the row of an ended trial is removed."""
    logger = started(1, 2)
    logger.progress(progress(1))
    logger.message("warning", "the disk fills up " * 8)
    print("a line of somebody else")
    record = trial(1, 0.4)
    logger.trial_finished(record, study([trial(0, 0.5), record], total=9))
    logger.progress(progress(2))
    shown = terminal.rows()

    assert shown[-3:] == [
        "study = 2 of 9, best 0.4000 #1, ETA 2 h 05 min",
        "trial 2 = epoch 2/8, train 3/19, 4 s",
        "memory 1.2 GB, temperature unavailable (no sensor)",
    ]
    assert sum(line.startswith("study") for line in shown) == 1
    above = "\n".join(shown[:-3])
    assert "\nwarning: the disk fills up the disk fills up" in above
    assert re.search(r"^    (the|disk|fills|up) ", above, re.MULTILINE), (
        "not broken between words, or the rest not indented"
    )
    assert "\na line of somebody else\n" in above
    assert "\ntrial 1  width=8 depth=2 params=128" in above


def test_only_lines_remain_at_the_end(study: Make, started: Start, terminal: Terminal) -> None:
    """The bars are erased, and output goes to its original stream."""
    logger = started(1)
    logger.progress(progress(1))
    logger.study_finished(study([trial(0, 0.5)], end=StudyEnd.STOPPED))
    logger.close()

    assert sys.stdout is terminal
    assert not any("━" in line for line in terminal.shown())
    end = [line for line in terminal.shown() if line.startswith(("walk: stopped", "best: trial 0", "results:"))]
    assert len(end) == 3


def test_a_killed_driver_leaves_a_usable_terminal(study: Make, started: Start, terminal: Terminal) -> None:
    """The cursor is never hidden, the screen never switched, and a prompt starts on a new line."""
    logger = started(1)
    logger.progress(progress(1))

    assert not terminal.screen.cursor.hidden
    assert set(re.findall(r"\x1b\[\?\w+", terminal.raw)) == set()
    cursor = terminal.screen.cursor
    assert (cursor.x, terminal.screen.display[cursor.y].strip()) == (0, "")
    logger.close()


def test_more_trials_than_lines_are_counted(study: Make, started: Start, terminal: Terminal) -> None:
    """It shows as many rows as fit, and the number of other trials."""
    logger = started(*range(1, 41))
    for _ in range(3):
        logger.progress(progress(1))
    room = terminal.screen.lines - 5

    shown = terminal.rows()[-room - 3 :]
    assert shown[0] == "study = 1 of 9, best 0.5000 #0, ETA 2 h 05 min"
    assert shown[room : room + 2] == [f"trial {room} = starting", f"and {40 - room} more running"]
    assert sum(line.startswith("study") for line in terminal.rows()) == 1


def test_without_monitors_there_is_no_line_of_readings(study: Make, started: Start, terminal: Terminal) -> None:
    """Unmonitored quantities are not shown."""
    logger = started(1)
    logger.progress(progress(1, readings={"memory": "not watched", "temperature": "not watched"}))

    assert terminal.rows()[-1] == "trial 1 = epoch 2/8, train 3/19, 4 s"


@pytest.mark.parametrize("how", ["lines", "dumb"])
def test_a_terminal_can_show_lines(
    started: Start, terminal: Terminal, monkeypatch: pytest.MonkeyPatch, how: str
) -> None:
    """With `progress: lines`, or on a simple terminal, no control characters are written."""
    monkeypatch.setenv("TERM", "dumb" if how == "dumb" else "xterm")
    logger = started(1, every=0.0, **({"progress": "lines"} if how == "lines" else {}))
    logger.progress(progress(1))

    assert "\x1b" not in terminal.raw
    assert "  trial 1 of 9, train, epoch 2 of 8, step 3 of 19; best 0.5000 #0, " in terminal.raw


@pytest.mark.parametrize(("option", "flag", "lines"), [("quiet", 0, 0), ("verbose", 0, 1), ("verbose", -1, 0)])
def test_the_file_can_set_the_verbosity(
    study: Make, tmp_path: Path, capsys: pytest.CaptureFixture[str], option: str, flag: int, lines: int
) -> None:
    """The logger's `verbosity` applies, unless the command line has a flag."""
    logger = ConsoleLogger(ConsoleOptions(verbosity=option), LoggerContext(folder=tmp_path, verbosity=flag))
    logger.study_started(study([], total=9))
    capsys.readouterr()
    logger.epoch(1, EPOCH)

    assert (
        capsys.readouterr().out.splitlines()
        == ["  trial 1 epoch 1: train_loss=0.7000 val_loss=0.0002134 (1.5 s)"][:lines]
    )
