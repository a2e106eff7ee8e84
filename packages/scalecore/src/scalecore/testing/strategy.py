"""Contract of search strategies."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import pytest

from scalecore.api.record_parts import Flag
from scalecore.api.space import Architecture
from scalecore.api.strategy import SearchContext, SearchStrategy, SupportsExplain
from scalecore.api.trials import Origin, Outcome, Proposal, RestoredTrial, TrialState
from scalecore.testing.fakes import search_context

__all__ = ["SearchStrategyContract"]

Make = Callable[[SearchContext], SearchStrategy]

EPOCHS = 12
"""Epochs of a trial that is not pruned."""


class SearchStrategyContract:
    """Inherit and define the fixture `make`: a function from a `SearchContext` to a new strategy."""

    trials: int = 16
    resumes_exactly: bool = True
    """False if a restored strategy may propose other trials than an uninterrupted one."""
    ends_on_a_finite_space: bool = True
    """False if the strategy keeps proposing duplicates, instead of returning None, when everything was tried."""

    @pytest.fixture
    def make(self) -> Make:
        """A function that creates the strategy under test."""
        pytest.fail("define the fixture `make`: return a function from a SearchContext to your strategy")

    def test_proposals_are_valid(self, make: Make) -> None:
        """A proposal has an architecture of the context and, for every name of the space, a value within its range."""
        context = search_context(trials=self.trials)
        for proposal in self._run(make(context)):
            assert proposal.architecture in context.architectures
            assert set(proposal.hyperparameters) == set(context.space)
            for name, value in proposal.hyperparameters.items():
                assert context.space[name].contains(value), f"{name}={value!r} is outside its range"

    def test_planned_trials_come_first(self, make: Make) -> None:
        """`ask` returns the trials of `planned` first, in that order."""
        strategy = make(search_context(trials=self.trials))
        planned = list(strategy.planned())
        asked = self._run(strategy, count=len(planned))
        assert [_content(one) for one in asked] == [_content(one) for one in planned]

    def test_equal_seeds_propose_the_same(self, make: Make) -> None:
        """Two strategies with the same seed propose the same trials."""
        first, second = (self._run(make(search_context(trials=self.trials, seed=4))) for _ in range(2))
        assert [_content(one) for one in first] == [_content(one) for one in second]

    def test_no_configuration_is_proposed_twice(self, make: Make) -> None:
        """All proposals differ, since the core does not run exact duplicates."""
        contents = [_content(one) for one in self._run(make(search_context(trials=self.trials)))]
        assert len(set(contents)) == len(contents)

    def test_parallel_trials(self, make: Make) -> None:
        """Four calls of `ask` before any `tell` return four different proposals; `tell` accepts any order."""
        strategy = make(search_context(trials=self.trials))
        batch = {number: strategy.ask(number) for number in range(4)}
        contents = [_content(one) for one in batch.values() if one is not None]
        assert len(set(contents)) == 4
        for number in (2, 0, 3, 1):
            strategy.tell(number, Outcome(state=TrialState.COMPLETED, value=1.0 + number))
        assert strategy.ask(4) is not None

    def test_a_restored_strategy_proposes_the_same(self, make: Make) -> None:
        """After `restore`, the strategy proposes the same trials as an uninterrupted one."""
        if not self.resumes_exactly:
            pytest.skip("the strategy declares resumes_exactly = False")
        context = search_context(trials=self.trials)
        whole = self._run(make(context))
        for cut in (0, 1, self.trials // 2, len(whole) - 1):
            resumed = make(context)
            resumed.restore(_history(whole[:cut]))
            assert _content(self._run(resumed, first=cut, count=1)[0]) == _content(whole[cut]), (
                f"another proposal after restoring {cut} trials"
            )

    def test_running_trials_are_restored(self, make: Make) -> None:
        """`restore` accepts a trial without an outcome, and `tell` accepts its outcome later."""
        context = search_context(trials=self.trials)
        whole = self._run(make(context), count=3)
        strategy = make(context)
        history = _history(whole)
        strategy.restore([*history[:2], RestoredTrial(number=2, proposal=whole[2], outcome=None)])
        following = strategy.ask(3)
        assert following is not None
        assert _content(following) not in [_content(one) for one in whole]
        strategy.tell(2, Outcome(state=TrialState.COMPLETED, value=0.5))
        strategy.tell(3, Outcome(state=TrialState.COMPLETED, value=0.4))
        assert strategy.ask(4) is not None

    @pytest.mark.parametrize("state", [state for state in TrialState if state is not TrialState.COMPLETED])
    def test_every_state_is_accepted(self, make: Make, state: TrialState) -> None:
        """`tell` accepts outcomes without a value, and the search continues."""
        strategy = make(search_context(trials=self.trials))
        for number in range(6):
            assert strategy.ask(number) is not None
            value = 2.0 if state is TrialState.PRUNED else None
            strategy.tell(number, Outcome(state=state, value=value, reason="a test"))
        assert strategy.ask(6) is not None

    def test_g09_a_trial_that_predicts_a_constant_is_never_recommended(self, make: Make) -> None:
        """A trial with the flag `collapsed` is not recommended even if its value is the best."""
        context = search_context(trials=self.trials)
        better = -1.0 if context.direction == "minimize" else 1.0
        flag = Flag(guard="G09", kind="collapsed", text="predicts a constant")
        collapsed = Outcome(state=TrialState.COMPLETED, value=100.0 * better, flags=(flag,))
        strategy, history = make(context), []
        for number in range(self.trials - 1):
            proposal = strategy.ask(number)
            assert proposal is not None
            outcome = collapsed if number % 4 == 1 else _outcome(number)
            strategy.tell(number, outcome)
            history.append(RestoredTrial(number=number, proposal=proposal, outcome=outcome))
        resumed = make(context)
        resumed.restore(history)
        for one in (strategy, resumed):
            if isinstance(one, SupportsExplain) and (found := one.explain().recommended) is not None:
                assert found.number % 4 != 1, f"recommends trial {found.number}, which predicts a constant"
            assert one.ask(self.trials - 1) is not None

    def test_a_duplicate_is_replaced(self, make: Make) -> None:
        """After an outcome with `duplicate_of`, `ask` with the same number returns another proposal."""
        strategy = make(search_context(trials=self.trials))
        planned = len(list(strategy.planned()))
        self._run(strategy, count=planned + 1)
        number = planned + 1
        first = strategy.ask(number)
        assert first is not None
        strategy.tell(number, Outcome(state=TrialState.COMPLETED, value=1.0, duplicate_of=0))
        second = strategy.ask(number)
        assert second is not None
        assert _content(first) != _content(second)

    def test_a_finite_space_ends(self, make: Make) -> None:
        """With two shapes and no hyper-parameters, `ask` returns two proposals, then None."""
        if not self.ends_on_a_finite_space:
            pytest.skip("the strategy declares ends_on_a_finite_space = False")
        strategy = make(search_context(architectures=2, trials=5, space={}))
        assert len(self._run(strategy, count=2)) == 2
        assert strategy.ask(2) is None

    def test_trials_of_another_space_are_ignored(self, make: Make) -> None:
        """A resumed study may have another grid: `restore` and `tell` ignore trials that do not fit."""
        foreign = Proposal(
            architecture=Architecture(values={"rank": 7}, num_parameters=7, flops=7),
            hyperparameters={"momentum": 0.9},
            origin=Origin(kind="sampled"),
        )
        strategy = make(search_context(trials=self.trials))
        strategy.restore(
            [
                RestoredTrial(number=0, proposal=foreign, outcome=Outcome(state=TrialState.COMPLETED, value=0.1)),
                RestoredTrial(number=1, proposal=foreign, outcome=None),
            ]
        )
        strategy.tell(1, Outcome(state=TrialState.COMPLETED, value=0.2))
        assert strategy.ask(2) is not None

    def test_pruning_is_repeatable(self, make: Make) -> None:
        """`should_prune` returns a bool, and the same one after the strategy is restored."""
        context = search_context(trials=self.trials)
        strategy, last = make(context), min(8, self.trials - 1)
        history: list[RestoredTrial] = []
        for number in range(last + 1):
            proposal = strategy.ask(number)
            assert proposal is not None
            if number == last:
                history.append(RestoredTrial(number=number, proposal=proposal, outcome=None))
                break
            reports = self._reported(strategy, number, scale=_outcome(number).value or 1.0)
            state = TrialState.COMPLETED if len(reports) == EPOCHS else TrialState.PRUNED
            outcome = Outcome(state=state, value=reports[len(reports)])
            strategy.tell(number, outcome)
            history.append(RestoredTrial(number=number, proposal=proposal, outcome=outcome, reports=reports))
        if self.resumes_exactly:
            resumed = make(context)
            resumed.restore(history)
            # A value far worse than all others is pruned by every pruner.
            before, after = (self._reported(one, last, scale=100.0) for one in (strategy, resumed))
            assert len(before) == len(after), (
                f"pruned after epoch {len(before)}, but after epoch {len(after)} once restored"
            )

    # --- helpers ----------------------------------------------------------------------------------------------------

    def _reported(self, strategy: SearchStrategy, number: int, *, scale: float) -> dict[int, float]:
        """Report epochs until the trial is pruned or complete, and return the reported values."""
        reports: dict[int, float] = {}
        for epoch in range(1, EPOCHS + 1):
            reports[epoch] = scale / epoch
            answer = strategy.should_prune(number, epoch=epoch, value=reports[epoch])
            assert answer in (True, False)
            if answer:
                break
        return reports

    def _run(self, strategy: SearchStrategy, *, first: int = 0, count: int | None = None) -> list[Proposal]:
        """Call `ask` and `tell` in turn; the outcome depends only on the number."""
        found: list[Proposal] = []
        for number in range(first, first + (self.trials if count is None else count)):
            proposal = strategy.ask(number)
            if proposal is None:
                break
            found.append(proposal)
            strategy.tell(number, _outcome(number))
        return found


def _outcome(number: int) -> Outcome:
    return Outcome(state=TrialState.COMPLETED, value=1.0 + (number * 7 % 5) / 10)


def _history(proposals: Sequence[Proposal]) -> list[RestoredTrial]:
    return [
        RestoredTrial(number=number, proposal=proposal, outcome=_outcome(number))
        for number, proposal in enumerate(proposals)
    ]


def _content(proposal: Proposal) -> tuple[str, tuple[tuple[str, object], ...]]:
    return proposal.architecture.id, tuple(sorted(proposal.hyperparameters.items()))
