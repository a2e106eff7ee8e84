"""A logger in the background may be slow, hang, raise or be unreachable without delaying or changing the study."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from attrs import evolve

from scalecore.api.errors import StudyError
from scalecore.api.logger import Logger, LoggerContext
from scalecore.api.trials import Epoch, Proposal, StudyView, TrialRecord
from scalecore.study.background_logger import BackgroundLogger
from scalecore.testing.fakes import make_study, make_trial


class Place:
    """The target of a logger, with a factory for it; the next calls raise `error`."""

    def __init__(self) -> None:
        self.calls: list[str] = []
        self.error: BaseException | None = None
        self.gate = threading.Event()
        self.gate.set()
        self.made = 0
        self.threads: set[int] = set()

    def make(self) -> Logger:
        self.made += 1
        return Writer(self)


class Writer(Logger):
    def __init__(self, place: Place) -> None:
        self.place = place

    def study_started(self, study: StudyView) -> None:
        self._call(f"started {[record.number for record in study.trials]}")

    def trial_started(self, number: int, proposal: Proposal, study: StudyView) -> None:
        self._call(f"trial {number}")

    def epoch(self, number: int, epoch: Epoch) -> None:
        self._call(f"epoch {number} {epoch['epoch']}")

    def trial_finished(self, record: TrialRecord, study: StudyView) -> None:
        self._call(f"ended {record.number}")

    def message(self, level: str, text: str) -> None:
        self._call(f"{level} {text}")

    def study_finished(self, study: StudyView) -> None:
        self._call("finished")

    def take_remarks(self) -> list[tuple[str, str]]:
        return [("info", self.place.calls[-1])] if self.place.calls[-1] == "finished" else []

    def close(self) -> None:
        self.place.calls.append("closed")
        raise ValueError("closed twice")

    def _call(self, text: str) -> None:
        self.place.threads.add(threading.get_ident())
        self.place.gate.wait()
        if self.place.error is not None:
            raise self.place.error
        self.place.calls.append(text)


class Impatient(BackgroundLogger):
    capacity = 5
    pause = 0.0
    patience = 60.0


def logger_of(place: Place, folder: Path, *, export: bool = True, **settings: float) -> BackgroundLogger:
    kind = type("Logger", (Impatient,), settings)
    made: BackgroundLogger = kind(place.make, name="far", context=LoggerContext(folder=folder), export=export)
    return made


@pytest.fixture
def study(tmp_path: Path) -> StudyView:
    return make_study(tmp_path / "my study")


def run(logger: Logger, study: StudyView, *numbers: int) -> StudyView:
    """A run of these trials, with one epoch each."""
    for number in numbers:
        record = make_trial(number, 0.7)
        proposal = Proposal(
            architecture=record.architecture, hyperparameters=record.hyperparameters, origin=record.origin
        )
        logger.trial_started(number, proposal, study)
        logger.epoch(number, {"epoch": 1})
        study = evolve(study, trials=(*study.trials, record))
        logger.trial_finished(record, study)
    return study


def wait_for(done: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 60
    while not done():
        assert time.monotonic() < deadline
        time.sleep(0.005)


def warning(what: str, study: StudyView) -> tuple[str, str]:
    command = f"`scalecore export far '{study.folder}'` writes the missing data"
    return ("warning", f"logger 'far' {what}; the study continues without it, and {command}")


def test_everything_arrives_in_order_and_in_another_thread(study: StudyView) -> None:
    """The end of the run waits for the logger and closes it; its remarks reach the user."""
    place = Place()
    logger = logger_of(place, study.folder, capacity=100)
    logger.study_started(study)
    study = run(logger, study, 0, 1)
    logger.message("info", "hello")
    logger.study_finished(study)
    trials = [text for n in (0, 1) for text in (f"trial {n}", f"epoch {n} 1", f"ended {n}")]
    assert place.calls == ["started []", *trials, "info hello", "finished", "closed"]
    assert threading.get_ident() not in place.threads
    assert logger.take_remarks() == [("info", "finished")]
    logger.close()
    assert (place.calls.count("closed"), logger.take_remarks()) == (1, [])


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (ConnectionError("nobody at http://me:secret@host"), "failed: ConnectionError: nobody at http://***@host"),
        (StudyError("http://host: the server cannot be reached"), "failed: http://host: the server cannot be reached"),
        (SystemExit(3), "failed: SystemExit: 3"),
    ],
)
def test_an_outage_costs_one_warning_and_a_fresh_logger_afterwards(
    study: StudyView, error: BaseException, said: str
) -> None:
    """Events during the outage are lost, but the new logger receives the current state of the study."""
    place = Place()
    logger = logger_of(place, study.folder, capacity=100)
    logger.study_started(study)
    wait_for(lambda: place.calls == ["started []"])
    place.error = error
    study = run(logger, study, 0, 1)
    wait_for(lambda: place.calls.count("closed") >= 6)
    place.error = None
    made = place.made
    study = run(logger, study, 2)
    logger.study_finished(study)
    assert [text for text in place.calls if text != "closed"][1:] == [
        "started [0, 1]", "trial 2", "epoch 2 1", "ended 2", "finished"
    ]  # fmt: skip
    assert place.made == made + 1
    assert logger.take_remarks() == [warning(said, study), ("info", "finished")]


def test_a_place_that_just_failed_is_left_alone_for_a_while(study: StudyView) -> None:
    """An unreachable server delays each attempt to connect, so not every event connects."""
    place = Place()
    place.error = ConnectionError("nobody")
    logger = logger_of(place, study.folder, pause=1000.0, capacity=100)
    logger.study_started(study)
    study = run(logger, study, *range(10))
    logger.study_finished(study)
    assert (place.made, place.calls) == (1, ["closed"])
    assert logger.take_remarks() == [warning("failed: ConnectionError: nobody", study)]


def test_a_place_that_hangs_is_not_waited_for(study: StudyView) -> None:
    """Events beyond the capacity are dropped with one warning; the end of the run waits only for `patience`."""
    place = Place()
    place.gate.clear()
    logger = logger_of(place, study.folder, patience=0.05)
    logger.study_started(study)
    wait_for(lambda: bool(place.threads))
    ended = run(logger, study, *range(10))
    assert logger.take_remarks() == [
        warning("is slower than the study: 5 events are waiting, further events are dropped", study)
    ]
    logger.study_finished(ended)
    logger.close()
    assert (place.calls, logger.take_remarks()) == ([], [])
    place.gate.set()
    wait_for(lambda: "closed" in place.calls)
    assert place.calls == ["started []", "trial 0", "epoch 0 1", "ended 0", "trial 1", "epoch 1 1", "closed"]


def test_a_place_that_hangs_at_the_end_is_reported(study: StudyView) -> None:
    """Events not written in time are missing."""
    place = Place()
    place.gate.clear()
    logger = logger_of(place, study.folder, patience=0.05)
    logger.study_started(study)
    logger.study_finished(study)
    ((level, text),) = logger.take_remarks()
    assert (level, text) == (
        "warning",
        "logger 'far' is still writing 0.05 s after the end of the run; "
        f"`scalecore export far '{study.folder}'` writes the missing data",
    )
    place.gate.set()


def test_a_logger_that_cannot_export_names_no_command(study: StudyView) -> None:
    """No command could write the missing data."""
    place = Place()
    place.error = ValueError("no")
    logger = logger_of(place, study.folder, export=False)
    logger.message("info", "hello")
    logger.close()
    text = "logger 'far' failed: ValueError: no; the study continues without it"
    assert logger.take_remarks() == [("warning", text)]


def test_what_the_factory_raises_ends_the_run_at_once(study: StudyView) -> None:
    """The user must fix wrong options before anything is trained."""

    def make() -> Logger:
        raise StudyError("no such place")

    with pytest.raises(StudyError, match=r"\Ano such place\Z"):
        BackgroundLogger(make, name="far", context=LoggerContext(folder=study.folder), export=True)
