"""The next trial of a study: the proposal of the strategy, checked and journalled, without any process."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from scalecore.api.errors import StudyError
from scalecore.api.space import Architecture
from scalecore.api.trials import Origin, Outcome, Proposal, TrialState
from scalecore.planning.plan import Plan
from scalecore.planning.runtime import Runtime
from scalecore.store.journal import Journal, read_journal
from scalecore.store.layout import StudyFolder
from scalecore.store.lock import StudyLock
from scalecore.store.state import StudyState
from scalecore.study.next_trial import MAX_DUPLICATES, next_trial
from scalecore.study.run import begin
from scalecore.study.session import Session
from scalecore.testing.fakes import ScriptedStrategy, planned_walk, search_context


@pytest.fixture(scope="module")
def planned(tmp_path_factory: pytest.TempPathFactory) -> tuple[Plan, Runtime]:
    """A study on a random walk, planned once."""
    return planned_walk(tmp_path_factory.mktemp("plan"))


@pytest.fixture(scope="module")
def plan(planned: tuple[Plan, Runtime]) -> Plan:
    """Its plan."""
    return planned[0]


class Noting(ScriptedStrategy):
    """Records its calls."""

    def __init__(self, *script: Any) -> None:
        super().__init__(search_context(), ())
        self.left, self.told = list(script), list[tuple[int, Outcome]]()

    def ask(self, number: int) -> Proposal | None:
        return self.left.pop(0) if len(self.left) > 1 else self.left[0]

    def tell(self, number: int, outcome: Outcome) -> None:
        self.told.append((number, outcome))


@pytest.fixture
def session(planned: tuple[Plan, Runtime], tmp_path: Path) -> Iterator[Callable[..., tuple[Session, Noting]]]:
    """A session whose strategy proposes these in order, then repeats the last one."""
    opened: list[Callable[[], None]] = []

    def make(*script: Proposal | None) -> tuple[Session, Noting]:
        folder, strategy = StudyFolder(tmp_path), Noting(*script)
        lock, journal = StudyLock(folder), Journal(folder.journal)
        opened.extend((journal.close, lock.release))
        one = Session(*planned, folder=folder, lock=lock, journal=journal, state=StudyState(), strategy=strategy)
        begin(one, 4)
        return one, strategy

    yield make
    for close in opened:
        close()


def proposal(plan: Plan, rate: float = 1e-3, **changes: Any) -> Proposal:
    content: dict[str, Any] = {"architecture": plan.grid.architectures[0], "hyperparameters": {"learning_rate": rate}}
    return Proposal(**{**content, "origin": Origin(kind="sampled"), **changes})


def test_a_new_trial_is_in_the_journal(session: Any, plan: Plan, tmp_path: Path) -> None:
    """With all its hyper-parameters, its hash and its seed."""
    one, _ = session(proposal(plan), proposal(plan, 2e-3))
    first, second = next_trial(one), next_trial(one)
    assert first is not None
    assert second is not None
    assert (first.number, second.number) == (0, 1)
    assert first.hyperparameters == {**plan.fixed, "learning_rate": 1e-3}
    assert len({first.hash, second.hash}) == len({first.seed, second.seed}) == 2
    assert sorted(one.state.trials) == [0, 1]
    assert len([*read_journal(tmp_path / "journal.jsonl")]) == 4


def test_numbers_of_numpy_are_those_of_python(session: Any, plan: Plan) -> None:
    """A strategy may propose numpy numbers; the hash is the same, and the journal has plain numbers."""
    one, _ = session(proposal(plan, np.float64(1e-3)), proposal(plan), proposal(plan, 2e-3))
    drawn = next_trial(one)
    assert drawn is not None
    assert type(drawn.hyperparameters["learning_rate"]) is float
    next_trial(one)
    assert one.state.duplicates_avoided == 1


def test_g30_a_duplicate_is_told_and_asked_past(session: Any, plan: Plan) -> None:
    """The strategy gets the outcome of the earlier trial, and its next proposal is used."""
    one, strategy = session(proposal(plan), proposal(plan), proposal(plan, 2e-3))
    next_trial(one)
    found = next_trial(one)
    assert found is not None
    assert found.proposal.hyperparameters == {"learning_rate": 2e-3}
    running = Outcome(state=TrialState.FAILED, reason="that trial is still running", duplicate_of=0)
    assert strategy.told == [(1, running)]
    assert one.state.duplicates_avoided == 1


def test_g30_nothing_but_duplicates_is_the_end(session: Any, plan: Plan) -> None:
    """After two hundred consecutive duplicates."""
    one, strategy = session(proposal(plan))
    next_trial(one)
    assert next_trial(one) is None
    assert len(strategy.told) == one.state.duplicates_avoided == MAX_DUPLICATES


def test_a_strategy_that_has_nothing_more_is_taken_at_its_word(session: Any) -> None:
    """Nothing is journalled."""
    one, _ = session(None)
    assert next_trial(one) is None
    assert one.state.trials == {}


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        (
            {"architecture": Architecture(values={"width": 3}, num_parameters=1, flops=1)},
            "strategy 'random' proposed width=3, which is not feasible under the budget",
        ),
        (
            {"hyperparameters": {"dropout": 0.1}},
            "strategy 'random' proposed values for ['dropout'], expected ['learning_rate']",
        ),
        (
            {"hyperparameters": {"learning_rate": 1.0}},
            "strategy 'random' proposed learning_rate = 1.0, outside LogUniform(low=0.0001, high=0.01)",
        ),
    ],
)
def test_a_proposal_outside_of_the_space_ends_the_run(session: Any, plan: Plan, changes: Any, text: str) -> None:
    """Before anything is trained."""
    one, _ = session(proposal(plan, **changes))
    with pytest.raises(StudyError) as caught:
        next_trial(one)
    assert str(caught.value) == text
    assert one.state.trials == {}
