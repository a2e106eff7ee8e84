"""Logger `optuna`: keeps a copy of the study in a storage of Optuna, for optuna-dashboard and other readers."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from functools import partial

from attrs import evolve

from scalecore.protocols import Logger, LoggerContext
from scalecore.trials import Epoch, Proposal, RestoredTrial, StudyView, TrialRecord
from scalecore_optuna.mirror import Mirror, open_storage, reason_of, storage_file
from scalecore_optuna.options import MirrorOptions
from scalecore_optuna.pictures import StudyPicture, picture_of

__all__ = ["MirrorLogger"]

AGAIN = 5.0
"""Seconds until a storage that failed is tried again."""
PATIENCE = 20.0
"""Seconds that the end of a run waits for the mirror."""
PAUSE = 0.5
"""Seconds between two writes: short epochs are written together."""


class MirrorLogger(Logger):
    """Writes in a thread of its own: a storage that is slow, locked or gone never holds the study up.

    The thread is given the study as it is, not what happened, and brings the storage in line with the latest. What
    fails is said once, and tried again; what is missed in this run is made up for when the next one starts.
    """

    def __init__(self, options: MirrorOptions, context: LoggerContext) -> None:
        self._options = options
        self._name = f"mirror {options.storage}"
        connect = partial(open_storage, options.storage, context.folder, repair=True)
        self._mirror = Mirror(connect, file=storage_file(options.storage, context.folder))
        self._unfinished: dict[int, RestoredTrial] = {}
        self._study: StudyView | None = None
        self._wanted: Callable[[], StudyPicture] | None = None
        self._remarks: list[tuple[str, str]] = []
        self._changed = threading.Condition()
        self._closing = False
        self._idle = True
        self._failed = False
        self._failures = 0
        self._thread: threading.Thread | None = None

    def study_started(self, study: StudyView) -> None:
        self._unfinished = {trial.number: trial for trial in study.unfinished}
        self._show(study)
        self._thread = threading.Thread(target=self._work, name="scalecore-mirror", daemon=True)
        self._thread.start()

    def trial_started(self, number: int, proposal: Proposal, study: StudyView) -> None:
        known = self._unfinished.get(number)
        reports = known.reports if known is not None else {}
        self._unfinished[number] = RestoredTrial(number=number, proposal=proposal, outcome=None, reports=reports)
        self._show(study)

    def epoch(self, number: int, epoch: Epoch) -> None:
        trial = self._unfinished.get(number)
        if trial is None or self._study is None:
            return
        value = epoch.get(self._study.experiment["objective"]["metric"])
        if value is not None and epoch.get("epoch") is not None:
            reports = {**trial.reports, int(epoch["epoch"] or 0): float(value)}
            self._unfinished[number] = evolve(trial, reports=reports)
            self._show(self._study)

    def trial_finished(self, record: TrialRecord, study: StudyView) -> None:
        self._unfinished.pop(record.number, None)
        self._show(study)

    def study_finished(self, study: StudyView) -> None:
        self._show(study)
        with self._changed:
            before = self._failures
            self._changed.wait_for(lambda: self._idle or self._failures > before, timeout=PATIENCE)
            if not self._idle:
                self._remarks.append(("warning", f"{self._name} is behind; the next run brings it in line"))

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

    def _show(self, study: StudyView) -> None:
        """Let the thread have the study as it is now; it makes the picture, which the driver need not wait for."""
        self._study = evolve(study, unfinished=tuple(self._unfinished.values()))
        with self._changed:
            self._wanted = partial(picture_of, self._study, name=self._options.study_name or study.name)
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
                self._mirror.bring_in_line(wanted())
            except Exception as error:
                self._fail(error, wanted)
            else:
                self._succeed()
        self._mirror.forget()  # connections belong to the thread that opened them

    def _succeed(self) -> None:
        with self._changed:
            if self._failed:
                self._failed = False
                self._remarks.append(("info", f"{self._name} is in line again"))
            self._idle = self._wanted is None
            self._changed.notify_all()
            self._changed.wait_for(lambda: self._closing, timeout=PAUSE)

    def _fail(self, error: Exception, wanted: Callable[[], StudyPicture]) -> None:
        with self._changed:
            self._failures += 1
            if not self._failed:
                self._failed = True
                self._remarks.append(
                    (
                        "warning",
                        f"{self._name} cannot be written: {reason_of(error)}; the study goes on without it, and it is "
                        "brought in line when that works again",
                    )
                )
            if self._wanted is None:
                self._wanted = wanted
            self._changed.notify_all()
            self._changed.wait_for(lambda: self._closing, timeout=AGAIN)
