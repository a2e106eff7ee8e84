"""Trials that predict a constant (G09), or whose rate is over too few windows (G19), are never recommended."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from attrs import evolve

from scalecore.api.record_parts import Flag
from scalecore.api.trials import Origin, Outcome, RestoredTrial, TrialState

if TYPE_CHECKING:
    from collections.abc import Callable

    from scalecore.api.trials import Proposal
    from scalecore_optuna.strategy import ArchitecturalStrategy

    Make = Callable[..., ArchitecturalStrategy]

COLLAPSED = (Flag(guard="G09", kind="collapsed", text="predicts a constant"),)
LUCKY = (Flag(guard="G19", kind="small_denominator", text="a precision over 1 window"),)


@pytest.mark.parametrize("flags", [COLLAPSED, LUCKY], ids=["g09_constant", "g19_few_windows"])
def test_g09_g19_a_censored_trial_teaches_nothing_and_is_not_recommended(
    make: Make,
    drive: Callable[..., list[Proposal]],
    loss_of: Callable[[Proposal, int], float],
    flags: tuple[Flag, ...],
) -> None:
    """The best value of all, live, restored or imported, is the worst in Optuna's study."""
    for inner in ("frontier", "tpe"):
        strategy = make(options={"inner": inner})
        history = []
        for number in range(24):
            proposal = strategy.ask(number)
            assert proposal is not None
            constant = number in (3, 20)
            value = 0.01 if constant else loss_of(proposal, number)
            outcome = Outcome(state=TrialState.COMPLETED, value=value, flags=flags if constant else ())
            strategy.tell(number, outcome)
            history.append(RestoredTrial(number=number, proposal=proposal, outcome=outcome))
        restored, taught = make(options={"inner": inner}), make(options={"inner": inner})
        restored.restore(history)
        elsewhere = [
            evolve(one, number=at - 24, proposal=evolve(one.proposal, origin=Origin(kind="imported")))
            for at, one in enumerate(history)
        ]
        taught.restore(elsewhere)
        drive(taught, range(2))
        for one in (strategy, restored, taught):
            assert [trial.value for trial in one.study.trials if trial.number in (3, 20)] == [None, None]
            assert one.study.trials[3].state.name == "PRUNED"
            assert one.study.best_value > 0.3
            found = one.explain().recommended
            assert found is not None
            assert found.number not in (3, 20)
            assert found.value > 0.3
        assert strategy.ask(24) == restored.ask(24)


def test_g09_where_every_trial_is_constant_none_is_recommended(make: Make) -> None:
    """The search continues."""
    strategy = make(options={"inner": "frontier", "pruner": "median"})
    for number in range(16):
        assert strategy.ask(number) is not None
        strategy.tell(number, Outcome(state=TrialState.COMPLETED, value=0.1, flags=COLLAPSED))
    assert strategy.explain().recommended is None


def test_g09_a_collapsed_curve_prunes_nobody(make: Make) -> None:
    """The median is that of healthy trials."""
    strategy = make(options={"pruner": "median", "forced": "none", "prune_strata": 1, "prune_after": 1})
    for number in range(6):
        assert strategy.ask(number) is not None
        for epoch in range(1, 4):
            assert not strategy.should_prune(number, epoch=epoch, value=0.1)
        strategy.tell(number, Outcome(state=TrialState.COMPLETED, value=0.1, flags=COLLAPSED))
    assert strategy.ask(6) is not None
    assert not strategy.should_prune(6, epoch=2, value=0.5)
