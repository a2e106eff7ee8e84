"""The progress bars that logger `console` keeps below its lines on a terminal: study, running trials, machine.

Drawn by `rich`, which only this module imports. The cursor is never hidden and stays below the bars, so that the
terminal is usable even after `kill -9`. The driver draws, about once a second and with each line; there is no thread.
"""

from __future__ import annotations

import sys
import textwrap
import time
from collections.abc import Mapping
from typing import TextIO

from attrs import define
from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from scalecore.api import formatting
from scalecore.api.trials import Epoch, Progress, StudyView

SILENT_AFTER = 5.0
"""Seconds without progress of a trial after which it is shown as waiting: it may be between two attempts."""

STYLES: Mapping[str, str] = {"warning": "yellow", "error": "bold red"}


class _Console(Console):
    """A console that never hides the cursor."""

    def show_cursor(self, show: bool = True) -> bool:
        return False


@define
class _Row:
    """The state of a running trial."""

    heard: float
    label: str
    progress: Progress | None = None
    epoch: Epoch | None = None


class LivePicture:
    """Bars that stay at the bottom while lines scroll above, from `start` to `stop`, which removes them."""

    def __init__(self, stream: TextIO) -> None:
        # No markup: names and reasons come from files and may hold brackets.
        self._console = _Console(file=stream, markup=False, highlight=False, emoji=False, soft_wrap=True)
        self._rows: dict[int, _Row] = {}
        self._study: StudyView | None = None
        self._latest: Progress | None = None
        self._live: Live | None = None

    def start(self, study: StudyView) -> None:
        """Draw for the first time. Everything printed from now on appears above the bars."""
        self._study = study
        self._live = Live(
            self._render(),
            console=self._console,
            auto_refresh=False,
            transient=True,
            # Redirected output stays in its file.
            redirect_stderr=sys.stderr.isatty(),
        )
        self._live.start(refresh=True)

    def stop(self) -> None:
        """Remove the bars; the lines stay. May be called at any time and more than once."""
        live, self._live = self._live, None
        if live is not None:
            live.stop()

    def line(self, text: str, level: str = "info") -> None:
        """Print a line above the bars, wrapped between words at the width of the terminal."""
        for part in text.splitlines():
            indent = " " * (len(part) - len(part.lstrip()) + 4)
            broken = textwrap.wrap(
                part, self._console.width, subsequent_indent=indent, break_long_words=False, break_on_hyphens=False
            )
            self._console.print("\n".join(broken), style=STYLES.get(level))

    def trial_started(self, number: int, study: StudyView, *, label: str | None = None) -> None:
        """Add a row for the trial; `label` replaces its number."""
        self._rows[number] = _Row(heard=time.monotonic(), label=label or f"trial {number}")
        self._draw(study)

    def epoch(self, number: int, epoch: Epoch) -> None:
        """Show the loss of this epoch in the row of the trial."""
        if number in self._rows:
            self._rows[number].epoch = epoch

    def progress(self, progress: Progress) -> None:
        """Update the row of a trial, the sensor readings and the ETA of the study."""
        row = self._rows.setdefault(progress.number, _Row(heard=0.0, label=f"trial {progress.number}"))
        row.progress, row.heard = progress, time.monotonic()
        self._latest = progress
        self._draw(self._study)

    def trial_finished(self, number: int, study: StudyView) -> None:
        """Remove the row of the trial."""
        self._rows.pop(number, None)
        self._draw(study)

    def _draw(self, study: StudyView | None) -> None:
        self._study = study
        if self._live is not None:
            self._live.update(self._render(), refresh=True)

    # --- what is drawn ----------------------------------------------------------------------------------------------

    def _render(self) -> RenderableType:
        study = self._study
        assert study is not None
        # The bars must not be taller than the screen.
        shown = sorted(self._rows.items())[: max(1, self._console.height - 5)]
        labels = ["study", *(row.label for _, row in shown)]
        bar = max(8, min(30, self._console.width // 5))
        # As narrow as possible: a terminal that is made narrower wraps long lines.
        table = Table.grid(padding=(0, 1))
        table.add_column(no_wrap=True)
        table.add_column(width=bar)
        room = self._console.width - max(map(len, labels)) - bar - 3
        table.add_column(no_wrap=True, overflow="ellipsis", max_width=max(1, room))
        count, total = study.progress
        done = ProgressBar(total=max(1, total), completed=count)
        table.add_row(Text(labels[0], style="bold"), done, self._study_text(study))
        for label, (_, row) in zip(labels[1:], shown, strict=True):
            table.add_row(label, ProgressBar(total=1.0, completed=_share(row.progress)), Text(_trial_text(row)))
        parts: list[RenderableType] = [table]
        if len(self._rows) > len(shown):
            parts.append(Text(f"and {len(self._rows) - len(shown)} more running"))
        if readings := self._readings():
            parts.append(Text(readings, style="dim", no_wrap=True, overflow="ellipsis"))
        # The cursor stays in an empty line, so that the shell's prompt is alone there however the run ended.
        return Group(*parts, Text(""))

    def _study_text(self, study: StudyView) -> Text:
        count, total = study.progress
        facts = [f"{count} of {total}"]
        if study.retraining is None:
            facts.append(formatting.best_so_far(study.best))
        if self._latest is not None:
            facts.append(f"ETA {formatting.duration(self._latest.study_seconds_left)}")
        return Text(", ".join(facts))

    def _readings(self) -> str:
        """Memory and temperature, or why they are unavailable; quantities that no monitor watches are left out."""
        readings = {} if self._latest is None else self._latest.readings
        return ", ".join(f"{name} {text}" for name, text in readings.items() if text != "not watched")


def _share(progress: Progress | None) -> float:
    """The fraction of the epochs that the trial has completed."""
    if progress is None:
        return 0.0
    if not progress.epochs:
        return 0.0  # the number of epochs is unknown
    within = progress.step / progress.steps_per_epoch if progress.steps_per_epoch else 0.0
    return min(1.0, (max(progress.epoch, 1) - 1 + within) / progress.epochs)


def _trial_text(row: _Row) -> str:
    seen = row.progress
    if seen is None:
        return "starting"
    if time.monotonic() - row.heard > SILENT_AFTER:
        return "waiting"
    facts = [seen.phase]  # before the first epoch: starting, compiling, reading a checkpoint
    if seen.epoch > 0:
        facts = [
            f"epoch {formatting.count_of(seen.epoch, seen.epochs, by='/')}",
            f"{seen.phase} {formatting.count_of(seen.step, seen.steps_per_epoch, by='/')}",
        ]
    if row.epoch is not None and (loss := row.epoch.get("val_loss")) is not None:
        facts.append(f"val_loss {formatting.number(loss)}")
    return ", ".join([*facts, formatting.duration(seen.trial_seconds)])
