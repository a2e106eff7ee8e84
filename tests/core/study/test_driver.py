from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from scalecore.api.clock import RunningClock
from scalecore.api.errors import DeviceError, StudyError
from scalecore.api.executor import AttemptStatus
from scalecore.api.files import write_json
from scalecore.api.trials import Origin, Proposal, StudyEnd
from scalecore.execution.folder import AttemptFolder
from scalecore.planning.plan import Plan
from scalecore.planning.runtime import Runtime
from scalecore.store.events import SmokeStep
from scalecore.store.journal import Journal, read_journal
from scalecore.store.layout import StudyFolder
from scalecore.store.lock import StudyLock
from scalecore.store.state import StudyState
from scalecore.store.study_device import StudyDevice
from scalecore.study.driver import Driver
from scalecore.study.next_trial import MAX_DUPLICATES, next_trial
from scalecore.study.run import begin
from scalecore.study.session import Session
from scalecore.study.stop_requests import StopRequests
from scalecore.testing.fakes import ScriptedStrategy, planned_walk, search_context

POLLS = 5


class Slow:
    """An executor whose attempts end with a result after some polls, without any process."""

    def __init__(self) -> None:
        self._polled = 0

    def submit(self, folder: Path) -> AttemptFolder:
        return AttemptFolder(folder)

    def poll(self, handles: Sequence[AttemptFolder]) -> Sequence[AttemptStatus]:
        self._polled += 1
        if self._polled < POLLS:
            return [AttemptStatus(state="running") for _ in handles]
        for folder in handles:
            number = int(folder.path.parent.name.removeprefix("trial_"))
            write_json(folder.result, {"attempt": f"{number}-0", "state": "completed", "value": 0.5})
        return [AttemptStatus(state="ended", exit_code=0) for _ in handles]

    def stop(self, handle: Any, *, kill: bool) -> None: ...

    def close(self) -> None: ...


class Losing:
    """An executor whose first attempt cannot use its device; the other attempt ends with a checkpoint when asked to."""

    def __init__(self) -> None:
        self.asked: list[AttemptFolder] = []

    def submit(self, folder: Path) -> AttemptFolder:
        return AttemptFolder(folder)

    def poll(self, handles: Sequence[AttemptFolder]) -> Sequence[AttemptStatus]:
        if len(handles) == 2:
            lost = {"state": "interrupted", "reason": "torch finds no GPU", "error": "DeviceError"}
            write_json(handles[0].result, {"attempt": "0-0", **lost})
        for folder in self.asked:
            write_json(folder.result, {"attempt": "1-0", "state": "stopped", "reason": None})
        return [AttemptStatus(state="ended" if one.result.exists() else "running") for one in handles]

    def stop(self, handle: AttemptFolder, *, kill: bool) -> None:
        assert not kill
        self.asked.append(handle)

    def close(self) -> None: ...


class Stubborn(ScriptedStrategy):
    """Always proposes the same trial, whatever the outcome."""

    def ask(self, number: int) -> Proposal | None:
        return self._script[0]


def planned(root: Path, **changes: Any) -> tuple[StudyFolder, Plan, Runtime]:
    """The plan of a small study in a new folder below `root`."""
    folder = StudyFolder(root / "study")
    folder.path.mkdir()
    return folder, *planned_walk(root, **changes)


def test_a_strategy_without_anything_new_is_asked_again_after_the_next_outcome_only(tmp_path: Path) -> None:
    """While a trial runs next to a free slot, duplicates are not proposed and journalled twenty times a second."""
    folder, plan, runtime = planned(tmp_path, execution={"slots": 2})
    lock, journal = StudyLock(folder), Journal(folder.journal)
    same = Proposal(
        architecture=plan.grid.architectures[0],
        hyperparameters={"learning_rate": 1e-3},
        origin=Origin(kind="sampled"),
    )
    strategy = Stubborn(search_context(), [same])
    session = Session(plan, runtime, folder=folder, lock=lock, journal=journal, state=StudyState(), strategy=strategy)
    session.state.smoke = SmokeStep(versions=dict(plan.versions), results={})
    begin(session, 4)
    with StopRequests(folder) as requests:
        end = Driver(session, executor=Slow(), requests=requests, registry={}).run()
    journal.close()
    lock.release()
    assert end is StudyEnd.EXHAUSTED
    assert [record.number for record in session.state.records] == [0]
    assert session.state.duplicates_avoided == 2 * MAX_DUPLICATES


def test_g48_trials_beside_one_whose_device_is_gone_write_checkpoints(tmp_path: Path) -> None:
    """Then the run ends; the next run resumes all of them."""
    folder, plan, runtime = planned(tmp_path, execution={"slots": 2})
    lock, journal = StudyLock(folder), Journal(folder.journal)
    session = Session(plan, runtime, folder=folder, lock=lock, journal=journal, state=StudyState())
    session.state.smoke = SmokeStep(versions=dict(plan.versions), results={})
    session.state.settled = StudyDevice(kind="mps")
    begin(session, 4)
    executor = Losing()
    with StopRequests(folder) as requests, pytest.raises(DeviceError, match=r"^torch finds no GPU; this study trains"):
        Driver(session, executor=executor, requests=requests, registry={}).run()
    journal.close()
    lock.release()
    assert [one.path.parent.name for one in executor.asked] == ["trial_0001"]
    ends = [trial.attempts[-1].ended.end for trial in session.state.unfinished]
    assert (ends, session.state.records) == (["interrupted", "stopped"], [])


@pytest.mark.parametrize(
    ("wrong", "got"),
    [
        ({"d_model": 8}, "TypeError: expected a Proposal, got {'d_model': 8}"),
        (Origin(kind="sampled"), "TypeError: expected a Proposal, got Origin(kind='sampled', "),
        ("origin", "ValueError: origin: expected a mapping, got string 'origin'"),
        (Origin(kind="guessed"), "ValueError: origin.kind: "),  # type: ignore[arg-type]
        (Origin(kind="sampled", reason=5), "ValueError: origin.reason: "),  # type: ignore[arg-type]
    ],
)
def test_what_is_no_proposal_ends_the_run_before_it_is_journalled(tmp_path: Path, wrong: Any, got: str) -> None:
    """A line that cannot be read back would make the whole study unreadable."""
    folder, plan, runtime = planned(tmp_path)
    if got.startswith("ValueError"):
        wrong = Proposal(architecture=plan.grid.architectures[0], hyperparameters={"learning_rate": 1e-3}, origin=wrong)
    lock, journal = StudyLock(folder), Journal(folder.journal)
    strategy = Stubborn(search_context(), [])
    strategy._script = [wrong]
    session = Session(plan, runtime, folder=folder, lock=lock, journal=journal, state=StudyState(), strategy=strategy)
    begin(session, 1)
    before = folder.journal.read_bytes()
    with pytest.raises(StudyError) as caught:
        next_trial(session)
    journal.close()
    lock.release()
    resolved = plan.resolved
    name = f"strategy {resolved.search.name!r} ({resolved.search.provider} {resolved.search.version})"
    assert str(caught.value).startswith(f"{name} raised {got}")
    assert folder.journal.read_bytes() == before


class Phased(ScriptedStrategy):
    """A strategy whose phase depends on the outcomes."""

    ended = 0

    def tell(self, number: int, outcome: Any) -> None:
        super().tell(number, outcome)
        self.ended += 1

    def phase(self) -> str:
        return "startup" if self.ended < 1 else "sampled"


def test_the_phase_in_the_journal_is_that_of_the_strategy(tmp_path: Path) -> None:
    """It is journalled with each new trial, and when it changes after an outcome, so that `status` need not guess."""
    folder, plan, runtime = planned(tmp_path)
    lock, journal = StudyLock(folder), Journal(folder.journal)
    script = [
        Proposal(
            architecture=plan.grid.architectures[0],
            hyperparameters={"learning_rate": rate},
            origin=Origin(kind="startup"),
        )
        for rate in (1e-3, 2e-3)
    ]
    strategy = Phased(search_context(), script)
    session = Session(plan, runtime, folder=folder, lock=lock, journal=journal, state=StudyState(), strategy=strategy)
    session.state.smoke = SmokeStep(versions=dict(plan.versions), results={})
    begin(session, 2)
    with StopRequests(folder) as requests:
        Driver(session, executor=Slow(), requests=requests, registry={}).run()
    journal.close()
    lock.release()
    events = [one for one in read_journal(folder.journal) if one.name in ("asked", "phase", "trial_finished")]
    assert [(one.name, getattr(one, "phase", None)) for one in events] == [
        ("phase", "startup"),
        ("asked", "startup"),
        ("trial_finished", None),
        ("phase", "sampled"),
        ("asked", "sampled"),
        ("trial_finished", None),
    ]
    assert session.state.phase == "sampled"


class Silent(Slow):
    """An executor whose attempts show no step. At every poll `passes` seconds pass on its own clock."""

    def __init__(self, passes: Sequence[float]) -> None:
        super().__init__()
        self._passes = list(passes)
        self._time = 0.0
        self.killed = False

    def clock(self) -> float:
        return self._time

    def poll(self, handles: Sequence[AttemptFolder]) -> Sequence[AttemptStatus]:
        if self._passes:
            self._time += self._passes.pop(0)
            return [AttemptStatus(state="running") for _ in handles]
        self._polled = POLLS
        return [AttemptStatus(state="ended", exit_code=-9)] if self.killed else super().poll(handles)

    def stop(self, handle: Any, *, kill: bool) -> None:
        self.killed = True
        self._passes = []


def driven(tmp_path: Path, executor: Silent, *, hang_after: float) -> list[tuple[str, str | None]]:
    """State and reason of the only trial of a study on this executor."""
    folder, plan, runtime = planned(tmp_path, execution={"hang_after": hang_after})
    proposal = Proposal(
        architecture=plan.grid.architectures[0],
        hyperparameters={"learning_rate": 1e-3},
        origin=Origin(kind="sampled"),
    )
    journal = Journal(folder.journal)
    session = Session(
        plan,
        runtime,
        folder=folder,
        lock=StudyLock(folder),
        journal=journal,
        state=StudyState(),
        strategy=ScriptedStrategy(search_context(), [proposal]),
    )
    session.state.smoke = SmokeStep(versions=dict(plan.versions), results={})
    begin(session, 1)
    clock = RunningClock(executor.clock)
    with StopRequests(folder) as requests, suppress(StudyError):  # without a completed trial the study has failed
        Driver(session, executor=executor, requests=requests, registry={}, clock=clock).run()
    journal.close()
    session.lock.release()
    return [(str(record.state), record.reason) for record in session.state.records]


def test_g47_what_was_frozen_with_its_driver_has_not_hung(tmp_path: Path) -> None:
    """Twice the limit passes at once, then some time without progress: nothing is killed."""
    executor = Silent([0.05, 20.0, 0.4, 0.4])
    assert driven(tmp_path, executor, hang_after=10.0) == [("completed", None)]
    assert not executor.killed


def test_g47_what_shows_no_step_beside_a_running_driver_has_hung(tmp_path: Path) -> None:
    """The same time in small steps is a hang."""
    executor = Silent([0.5] * 40)
    assert driven(tmp_path, executor, hang_after=10.0) == [
        ("timed_out", "no step for 10 s (execution.hang_after) [G45]")
    ]
    assert executor.killed
