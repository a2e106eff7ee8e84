"""Trainings that are wanted after the search, with an executor that needs no processes."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import attrs

from scalecore.api.analysis import TrainingContext
from scalecore.api.components import ExecutorRecord
from scalecore.api.executor import AttemptStatus
from scalecore.api.files import write_json
from scalecore.api.trials import FIRST_RETRAINED, Origin, StudyEnd, TrialState
from scalecore.execution.folder import AttemptFolder
from scalecore.store.confirmations import confirmations
from scalecore.store.events import SmokeStep
from scalecore.store.journal import Journal
from scalecore.store.layout import StudyFolder
from scalecore.store.lock import StudyLock
from scalecore.store.state import read_state
from scalecore.study.driver import Driver
from scalecore.study.open_study import OpenStudy
from scalecore.study.run import begin
from scalecore.study.session import Session
from scalecore.study.stop_requests import StopRequests
from scalecore.study.wanted import Trained, Wanted, train_wanted
from scalecore.testing.fakes import planned_walk


class Instant:
    """An executor whose attempts end at once, as `ends` says by trial number; completed by default."""

    def __init__(self, ends: dict[int, str]) -> None:
        self._ends = ends

    def submit(self, folder: Path) -> AttemptFolder:
        return AttemptFolder(folder)

    def poll(self, handles: Sequence[AttemptFolder]) -> Sequence[AttemptStatus]:
        for folder in handles:
            number = int(folder.path.parent.name.removeprefix("trial_"))
            index = int(folder.path.name.removeprefix("attempt_"))
            state = self._ends.get(number, "completed")
            result = {"attempt": f"{number}-{index}", "state": state, "device": "cpu"}
            write_json(folder.result, result | ({"value": 0.5} if state == "completed" else {"reason": "a test"}))
        return [AttemptStatus(state="ended", exit_code=0) for _ in handles]

    def stop(self, handle: Any, *, kill: bool) -> None: ...

    def close(self) -> None: ...


@contextmanager
def opened(root: Path, *, ends: dict[int, str] | None = None) -> Iterator[OpenStudy]:
    """A study of two trials below `root`, run if it is new."""
    folder = StudyFolder(root / "study")
    folder.path.mkdir(exist_ok=True)
    plan, runtime = planned_walk(root, "search.trials=2")
    record = ExecutorRecord(name="local", summary="Instant.", factory=lambda *_: Instant(ends or {}))
    known = plan.resolved
    plan = attrs.evolve(plan, resolved=attrs.evolve(known, executor=attrs.evolve(known.executor, record=record)))
    state = read_state(folder.journal)
    with (
        closing(Journal(folder.journal, lines=state.events)) as journal,
        held(StudyLock(folder)) as lock,
        StopRequests(folder) as requests,
    ):
        if not state.events:
            session = Session(plan, runtime, folder=folder, lock=lock, journal=journal, state=state)
            state.smoke = SmokeStep(versions=dict(plan.versions), results={})
            begin(session, 2)
            assert Driver(session, executor=Instant({}), requests=requests, registry={}).run() is StudyEnd.COMPLETED
        yield OpenStudy(
            folder=folder,
            lock=lock,
            journal=journal,
            state=state,
            plan=plan,
            runtime=runtime,
            requests=requests,
            training=TrainingContext(registry={}),
        )


@contextmanager
def held(lock: StudyLock) -> Iterator[StudyLock]:
    try:
        yield lock
    finally:
        lock.release()


def wishes(study: OpenStudy, *, trial: int = 0, seeds: int = 2, kind: str = "replicate") -> list[Wanted]:
    record = study.state.records[trial]
    return [
        Wanted(
            origin=Origin(kind=kind, label=f"trial {trial}, replicate {one}"),  # type: ignore[arg-type]
            architecture=record.architecture,
            hyperparameters=dict(record.hyperparameters),
            trial=trial,
            replicate=one,
        )
        for one in range(1, seeds + 1)
    ]


def numbers(trained: Trained) -> list[int]:
    return [record.number for record in trained.records.values()]


def test_g14_equal_wishes_are_one_training(tmp_path: Path) -> None:
    """A replicate and a transfer of the same configuration and seed: trained once, in this call or another."""
    with opened(tmp_path) as study:
        both = [*wishes(study), *wishes(study, kind="transfer", seeds=3)]
        assert numbers(train_wanted(study, both, title="t")) == [FIRST_RETRAINED + one for one in range(3)]
        records = study.state.retrained
        assert [record.origin.kind for record in records] == ["replicate", "replicate", "transfer"]
        assert len({record.seed for record in (*study.state.records, *records)}) == 5
    with opened(tmp_path) as study:
        before = study.state.events
        assert numbers(train_wanted(study, wishes(study), title="t")) == [FIRST_RETRAINED, FIRST_RETRAINED + 1]
        assert study.state.events == before
        assert (study.state.end, study.state.total, len(study.state.counted)) == (StudyEnd.COMPLETED, 2, 2)


def test_an_equal_training_of_another_study_is_copied(tmp_path: Path) -> None:
    """Its record is in this study's journal and names its origin; nothing is trained."""
    first, second = tmp_path / "a", tmp_path / "b"
    for root in (first, second):
        root.mkdir()
    with opened(first) as study:
        train_wanted(study, wishes(study, seeds=1), title="t")
        source = study.folder.path
    with opened(second) as study:
        done = train_wanted(study, wishes(study), title="t", elsewhere=[source])
        assert done.end is StudyEnd.COMPLETED
        copy, trained = study.state.retrained
        assert copy.origin.reason == f"equal to trial {FIRST_RETRAINED} of study: trained once"
        assert trained.origin.reason is None
        attempts = [len(study.state.trials[one.number].attempts) for one in (copy, trained)]
        assert attempts == [0, 1]
        assert confirmations(StudyFolder(source))[0].hash == copy.hash


def test_a_failed_training_is_tried_again_by_the_next_call_only(tmp_path: Path) -> None:
    """After a second failure it is kept as failed."""
    ends = {FIRST_RETRAINED: "failed", FIRST_RETRAINED + 1: "failed"}
    for expected in (1, 2, 2):
        with opened(tmp_path, ends=ends) as study:
            done = train_wanted(study, wishes(study, seeds=1), title="t")
            assert done.end is StudyEnd.COMPLETED
            assert [record.state for record in done.records.values()] == [TrialState.FAILED]
            assert len(study.state.retrained) == expected


def test_a_training_whose_weights_are_needed_and_missing_is_run_again(tmp_path: Path) -> None:
    """Only then: a measured training, or one that nobody evaluates, needs no weights."""
    with opened(tmp_path) as study:
        (one,) = wishes(study, seeds=1)
        train_wanted(study, [one], title="t")
        identity = one.identity(study, study.plan)[1]
        assert numbers(train_wanted(study, [one], title="t")) == [FIRST_RETRAINED]
        assert numbers(train_wanted(study, [one], title="t", weights_for=[identity])) == [FIRST_RETRAINED + 1]
