"""A follower: a copy elsewhere that may be slow, broken or gone, and holds nothing up."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable
from pathlib import Path

from attrs import evolve

from scalecore.api.trials import Origin, Proposal, RestoredTrial, StudyEnd, StudyView, TrialRecord
from scalecore.study.following import Follower, StudyNow
from scalecore.study.layout import StudyFolder
from scalecore.testing.fakes import make_study, make_trial


class Copy(Follower):
    """Keeps the numbers of the finished trials, and the epochs of the others; broken while `works` is not set."""

    again = 0.02
    pause = 0.0

    def __init__(self) -> None:
        super().__init__("the copy")
        self.works = threading.Event()
        self.gate = threading.Event()
        self.works.set()
        self.gate.set()
        self.tries = 0
        self.forgotten = 0
        self.trials: list[int] = []
        self.epochs: dict[int, list[int]] = {}
        self.reports: dict[int, dict[int, float]] = {}

    def bring_in_line(self, now: StudyNow) -> None:
        self.tries += 1
        self.gate.wait()
        if not self.works.is_set():
            raise ConnectionError("nobody answers\nat all")
        self.trials = [record.number for record in now.study.trials]
        for trial in now.study.unfinished:
            self.epochs[trial.number] = [int(line["epoch"] or 0) for line in now.curve(trial.number)]
            self.reports[trial.number] = dict(trial.reports)

    def forget(self) -> None:
        self.forgotten += 1


def proposal(record: TrialRecord) -> Proposal:
    return Proposal(
        architecture=record.architecture, hyperparameters=record.hyperparameters, origin=Origin(kind="sampled")
    )


def wait_for(done: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 20
    while not done():
        assert time.monotonic() < deadline
        time.sleep(0.005)


def finished(study: StudyView, *numbers: int) -> StudyView:
    return evolve(study, trials=tuple(make_trial(number, 0.7) for number in numbers))


def test_trouble_is_told_once_and_made_up_for(tmp_path: Path) -> None:
    """However often it fails; then everything that was missed is there, and that is told too."""
    study = make_study(tmp_path)
    copy = Copy()
    copy.works.clear()
    copy.study_started(study)
    for number in range(3):
        copy.trial_finished(make_trial(number, 0.7), finished(study, *range(number + 1)))
    wait_for(lambda: copy.tries > 3)
    assert list(copy.take_remarks()) == [
        (
            "warning",
            "the copy cannot be written: nobody answers; the study goes on without it, and it is brought in line when "
            "that works again",
        )
    ]
    copy.works.set()
    copy.study_finished(evolve(finished(study, 0, 1, 2), end=StudyEnd.COMPLETED))
    wait_for(lambda: copy.trials == [0, 1, 2])
    wait_for(lambda: ("info", "the copy is in line again") in copy.take_remarks())
    copy.close()
    assert copy.forgotten >= copy.tries - 1 > 1


def test_the_end_does_not_wait_for_what_just_failed(tmp_path: Path) -> None:
    """The user learns that the copy is behind."""
    study = make_study(tmp_path)
    copy = Copy()
    copy.patience = 1000.0
    copy.works.clear()
    copy.study_started(study)
    copy.study_finished(finished(study, 0))
    assert copy.take_remarks()[-1] == ("warning", "the copy is behind; the next run brings it in line")
    copy.close()


def test_a_place_that_hangs_holds_nothing_up(tmp_path: Path) -> None:
    """What happens meanwhile is shown together, once it answers again."""
    study = make_study(tmp_path)
    copy = Copy()
    copy.patience = 0.0
    copy.gate.clear()
    copy.study_started(study)
    wait_for(lambda: copy.tries == 1)
    copy.trial_started(0, proposal(make_trial(0)), evolve(study, running=(0,)))
    for epoch in range(1, 100):
        copy.epoch(0, {"epoch": epoch, "val_loss": 0.7})
    copy.study_finished(study)
    assert copy.tries == 1
    copy.gate.set()
    wait_for(lambda: copy.epochs == {0: list(range(1, 100))})
    assert copy.tries == 2
    copy.close()


def test_a_trial_that_goes_on_has_the_epochs_of_earlier_runs(tmp_path: Path) -> None:
    """Read from its attempts; of an epoch that was repeated, the latest counts."""
    study = make_study(tmp_path)
    attempts = [
        [{"epoch": 1, "val_loss": 0.9}, {"epoch": 2, "val_loss": 0.8}],
        [{"epoch": 2, "val_loss": 0.7}],
    ]
    for index, lines in enumerate(attempts):
        folder = StudyFolder(study.folder).attempt(5, index)
        folder.mkdir(parents=True)
        (folder / "epochs.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    waiting = RestoredTrial(number=5, proposal=proposal(make_trial(5)), outcome=None)
    copy = Copy()
    copy.study_started(evolve(study, unfinished=(waiting,)))
    copy.trial_started(5, waiting.proposal, study)
    copy.epoch(5, {"epoch": 3, "val_loss": 0.6})
    wait_for(lambda: copy.epochs == {5: [1, 2, 3]})
    assert copy.reports == {5: {1: 0.9, 2: 0.7, 3: 0.6}}
    copy.trial_finished(make_trial(5, 0.6), finished(study, 5))
    wait_for(lambda: copy.trials == [5])
    copy.close()
