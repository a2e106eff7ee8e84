from __future__ import annotations

import random
from collections import Counter
from typing import TYPE_CHECKING

import pytest

from scalecore.api.trials import Outcome, Proposal, RestoredTrial, TrialState

if TYPE_CHECKING:
    from collections.abc import Callable

    from scalecore.api.space import Architecture
    from scalecore_optuna.strategy import ArchitecturalStrategy

    Make = Callable[..., ArchitecturalStrategy]


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("inner", ["frontier", "tpe"])
def test_killed_at_random_every_forced_slot_completes_exactly_once(
    make: Make,
    loss_of: Callable[[Proposal, int], float],
    architectures: list[Architecture],
    inner: str,
    seed: int,
) -> None:
    """Three slots, a driver that is killed at random, one crash in ten.

    No design is lost or duplicated, and all trials are on the grid.
    """
    draw = random.Random(seed)
    options = {"inner": inner, "startup_trials": 8}
    strategy = make(options=options)
    asked: dict[int, Proposal] = {}
    told: dict[int, Outcome] = {}
    crashed: Counter[str | None] = Counter()
    while len(told) < 30:
        if draw.random() < 0.2:
            strategy = make(options=options)
            strategy.restore(
                [
                    RestoredTrial(number=number, proposal=proposal, outcome=told.get(number))
                    for number, proposal in asked.items()
                ]
            )
        running = [number for number in asked if number not in told]
        if len(running) < 3 and len(asked) < 32:
            number = len(asked)
            proposal = strategy.ask(number)
            assert proposal is not None
            asked[number] = proposal
            continue
        number = draw.choice(running)
        label = asked[number].origin.label
        # A forced design crashes once at the most: its second crash would be an answer.
        if draw.random() < 0.1 and not (label and crashed[label]):
            crashed[label] += 1
            told[number] = Outcome(state=TrialState.FAILED)
        else:
            told[number] = Outcome(state=TrialState.COMPLETED, value=loss_of(asked[number], number))
        strategy.tell(number, told[number])

    completed = Counter(
        asked[number].origin.label
        for number, outcome in told.items()
        if outcome.state is TrialState.COMPLETED and asked[number].origin.kind == "forced"
    )
    assert completed == Counter(proposal.origin.label for proposal in strategy.planned())
    assert all(proposal.architecture in architectures for proposal in asked.values())
    points = Counter(
        (proposal.architecture.id, *proposal.hyperparameters.values())
        for number, proposal in asked.items()
        if told.get(number, Outcome(state=TrialState.COMPLETED)).state is TrialState.COMPLETED
    )
    assert set(points.values()) == {1}


def test_an_imported_trial_without_all_parameters_counts_as_a_visit(
    make: Make, architectures: list[Architecture]
) -> None:
    """Its value is ignored, the reason is reported, and its architecture counts as tried."""
    from scalecore.api.trials import Origin

    shape = make().planned()[0].architecture
    strategy = make(options={"forced": "none"})
    part = Proposal(architecture=shape, hyperparameters={"dropout": 0.2}, origin=Origin(kind="imported"))
    whole = Proposal(
        architecture=architectures[40],
        hyperparameters=make().planned()[0].hyperparameters,
        origin=Origin(kind="imported"),
    )
    outcome = Outcome(state=TrialState.COMPLETED, value=0.4)
    strategy.restore(
        [
            RestoredTrial(number=0, proposal=part, outcome=outcome),
            RestoredTrial(number=1, proposal=whole, outcome=outcome),
        ]
    )
    assert strategy.left_out == {0: "it has no value for learning_rate, epochs, weight_decay, warmup_steps"}
    assert [trial.value for trial in strategy.study.trials] == [0.4]
    asked = [strategy.ask(number) for number in range(2, 20)]
    assert not {shape.id, architectures[40].id} & {proposal.architecture.id for proposal in asked if proposal}
    assert strategy.explain().origins == {"imported": 1, "startup": 18}
