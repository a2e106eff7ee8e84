"""A base for loggers that keep a copy of the study elsewhere: in a database, on a server, in the files of a tool.

Such a place may be slow, locked or gone for hours. So a follower writes in a thread of its own, and is given the study
as it is, not what happened: whatever was missed, and for whatever reason, is made up for the next time it works.
"""

from __future__ import annotations

import threading
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path

from attrs import evolve, field, frozen

from scalecore.api.protocols import Logger
from scalecore.api.trials import Epoch, Proposal, RestoredTrial, StudyView, TrialRecord
from scalecore.config.losses import objective_value
from scalecore.execution.folder import AttemptFolder
from scalecore.study.layout import StudyFolder

__all__ = ["Follower", "StudyNow"]


@frozen(kw_only=True)
class StudyNow:
    """The study as it is. `study.unfinished` are the trials that run or wait, with what they reported so far."""

    study: StudyView
    curves: Mapping[int, Mapping[int, Epoch]] = field(factory=dict)
    """Lines of the learning curve of each unfinished trial by epoch, those of earlier runs among them."""

    def curve(self, number: int) -> Sequence[Epoch]:
        """The lines of an unfinished trial in the order of the epochs."""
        return [line for _, line in sorted(self.curves.get(number, {}).items())]


class Follower(Logger, ABC):
    """Calls `bring_in_line` in a thread of its own, at most twice a second, with the latest of what is to be shown.

    What it raises is told once, and tried again every five seconds; the study is never held up by it. The end of a run
    waits for a copy that is being written, 20 seconds at most, and for no copy that has just failed. What is behind
    then is made up for by the next run.

    `subject` names the copy in these messages, such as `mirror sqlite:///study.db`.
    """

    again = 5.0
    """Seconds until a place that failed is tried again."""
    patience = 20.0
    """Seconds that the end of a run waits for the copy."""
    pause = 0.5
    """Seconds between two writes: short epochs are written together."""

    def __init__(self, subject: str) -> None:
        self._subject = subject
        self._study: StudyView | None = None
        self._unfinished: dict[int, RestoredTrial] = {}
        self._curves: dict[int, dict[int, Epoch]] = {}
        self._wanted: StudyNow | None = None
        self._remarks: list[tuple[str, str]] = []
        self._changed = threading.Condition()
        self._closing = False
        self._idle = True
        self._failed = False
        self._failures = 0
        self._thread: threading.Thread | None = None

    # --- to be given by a subclass; both are called in the thread ---------------------------------------------------

    @abstractmethod
    def bring_in_line(self, now: StudyNow) -> None:
        """Write what the copy lacks of `now`, and nothing twice. May raise anything; the next call begins anew."""

    def forget(self) -> None:
        """Give back connections and open files: after a failure, and at the end."""

    def why(self, error: Exception) -> str:
        """The cause in one line."""
        return (str(error).strip().splitlines() or [type(error).__name__])[0]

    def remark(self, level: str, text: str) -> None:
        """Tell the user something; from any thread."""
        with self._changed:
            self._remarks.append((level, text))

    # --- what the driver tells --------------------------------------------------------------------------------------

    def study_started(self, study: StudyView) -> None:
        self._unfinished = {trial.number: trial for trial in study.unfinished}
        self._curves = {number: _earlier_epochs(study.folder, number) for number in self._unfinished}
        self._show(study)
        self._thread = threading.Thread(target=self._work, name="scalecore-follower", daemon=True)
        self._thread.start()

    def trial_started(self, number: int, proposal: Proposal, study: StudyView) -> None:
        self._unfinished[number] = RestoredTrial(number=number, proposal=proposal, outcome=None)
        self._show(study)

    def epoch(self, number: int, epoch: Epoch) -> None:
        if number in self._unfinished and self._study is not None and epoch.get("epoch") is not None:
            self._curves[number] = {**self._curves.get(number, {}), int(epoch["epoch"] or 0): epoch}
            self._show(self._study)

    def trial_finished(self, record: TrialRecord, study: StudyView) -> None:
        self._unfinished.pop(record.number, None)
        self._curves.pop(record.number, None)
        self._show(study)

    def study_finished(self, study: StudyView) -> None:
        self._show(study)
        with self._changed:
            before = self._failures
            self._changed.wait_for(lambda: self._idle or self._failures > before, timeout=self.patience)
            if not self._idle:
                self._remarks.append(("warning", f"{self._subject} is behind; the next run brings it in line"))

    def take_remarks(self) -> Sequence[tuple[str, str]]:
        with self._changed:
            taken, self._remarks = self._remarks, []
        return taken

    def close(self) -> None:
        with self._changed:
            self._closing = True
            self._changed.notify_all()
        if self._thread is not None:
            self._thread.join(timeout=1.0)

    # --- between the two threads ------------------------------------------------------------------------------------

    def _show(self, study: StudyView) -> None:
        """Let the thread have the study as it is now."""
        objective = study.experiment["objective"]
        how = {name: objective[name] for name in ("metric", "direction")}
        unfinished = []
        for number, trial in self._unfinished.items():
            lines = self._curves.get(number, {}).items()
            found = {epoch: objective_value(line, **how) for epoch, line in lines}
            reports = {epoch: value for epoch, value in found.items() if value is not None}
            unfinished.append(evolve(trial, reports=reports))
        self._study = evolve(study, unfinished=tuple(unfinished))
        with self._changed:
            self._wanted = StudyNow(study=self._study, curves=dict(self._curves))
            self._idle = False
            self._changed.notify_all()

    def _work(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._wanted is not None or self._closing)
                if self._closing:
                    break
                wanted, self._wanted = self._wanted, None
            assert wanted is not None
            try:
                self.bring_in_line(wanted)
            except Exception as error:
                with suppress(Exception):  # the first error is the one to tell
                    self.forget()
                self._fail(error, wanted)
            else:
                self._succeed()
        with suppress(Exception):
            self.forget()  # connections belong to the thread that opened them

    def _succeed(self) -> None:
        with self._changed:
            if self._failed:
                self._failed = False
                self._remarks.append(("info", f"{self._subject} is in line again"))
            self._idle = self._wanted is None
            self._changed.notify_all()
            self._changed.wait_for(lambda: self._closing, timeout=self.pause)

    def _fail(self, error: Exception, wanted: StudyNow) -> None:
        with self._changed:
            self._failures += 1
            if not self._failed:
                self._failed = True
                self._remarks.append(
                    (
                        "warning",
                        f"{self._subject} cannot be written: {self.why(error)}; the study goes on without it, and it "
                        "is brought in line when that works again",
                    )
                )
            if self._wanted is None:
                self._wanted = wanted
            self._changed.notify_all()
            self._changed.wait_for(lambda: self._closing, timeout=self.again)


def _earlier_epochs(folder: Path, number: int) -> dict[int, Epoch]:
    """What the attempts of earlier runs wrote of an interrupted trial; of an epoch that was repeated, the latest."""
    found: dict[int, Epoch] = {}
    trial = StudyFolder(folder).attempt(number, 0).parent
    for path in sorted(trial.glob("attempt_*"), key=lambda one: int(one.name.removeprefix("attempt_"))):
        for line in AttemptFolder(path).read_epochs(after=0):
            if line.get("epoch") is not None:
                found[int(line["epoch"])] = line
    return found
