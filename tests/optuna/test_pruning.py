from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import pytest
from optuna.trial import TrialState as OptunaState

from scalecore.api.trials import Outcome, Proposal, RestoredTrial, TrialState

if TYPE_CHECKING:
    from collections.abc import Callable

pytestmark = pytest.mark.slow

MEDIAN = {"forced": "none", "pruner": "median", "prune_after": 4, "prune_strata": 1}


def run(strategy: Any, number: int, *, level: float, epochs: int = 8) -> list[bool]:
    """Train a trial whose objective stays at `level`, report its outcome, and return the answers after each epoch."""
    strategy.ask(number)
    answers = []
    for epoch in range(1, epochs + 1):
        answers.append(strategy.should_prune(number, epoch=epoch, value=level))
        if answers[-1]:
            break
    strategy.tell(number, Outcome(state=TrialState.PRUNED if answers[-1] else TrialState.COMPLETED, value=level))
    return answers


def test_nothing_is_pruned_by_default(make: Callable[..., Any]) -> None:
    """Pruning must be enabled."""
    strategy = make(options={"forced": "none"})
    assert not any(any(run(strategy, number, level=float(number))) for number in range(12))


def test_the_median_pruner_ends_bad_trials_but_not_before_its_epoch(make: Callable[..., Any]) -> None:
    """After five completed trials, a worse one is pruned at the first permitted epoch; a better one completes."""
    strategy = make(options=MEDIAN)
    for number in range(5):
        assert run(strategy, number, level=0.5) == [False] * 8
    assert run(strategy, 5, level=0.9) == [False, False, False, True]
    assert run(strategy, 6, level=0.1) == [False] * 8
    pruned = strategy.study.trials[5]
    assert (pruned.state, pruned.value, pruned.intermediate_values) == (
        OptunaState.PRUNED,
        0.9,
        {1: 0.9, 2: 0.9, 3: 0.9, 4: 0.9},
    )


def test_forced_trials_are_never_pruned(make: Callable[..., Any]) -> None:
    """They are needed for comparison, however bad they are."""
    strategy = make(options={**MEDIAN, "forced": "extremes", "extremes": ["n_heads", "n_layers", "d_model", "d_ff"]})
    planned = len(strategy.planned())
    assert planned > 6
    for number in range(planned):
        assert not any(run(strategy, number, level=0.5 if number < 6 else 0.9))
    assert run(strategy, planned, level=0.9)[-1]


def test_a_maximized_objective_is_pruned_from_below(make: Callable[..., Any]) -> None:
    """The direction of the study is the direction of the pruner."""
    strategy = make(options=MEDIAN, direction="maximize")
    for number in range(5):
        run(strategy, number, level=0.5)
    assert run(strategy, 5, level=0.9) == [False] * 8
    assert run(strategy, 6, level=0.1) == [False, False, False, True]


def test_an_epoch_without_a_number_prunes_nothing(make: Callable[..., Any]) -> None:
    """The training loop handles a loss that is not finite; it is not an observation."""
    strategy = make(options=MEDIAN)
    for number in range(5):
        run(strategy, number, level=0.5)
    strategy.ask(5)
    assert not any(strategy.should_prune(5, epoch=epoch, value=float("nan")) for epoch in range(1, 9))
    assert strategy.study.trials[5].intermediate_values == {}


def test_a_restored_study_prunes_as_before(make: Callable[..., Any]) -> None:
    """The reports in the journal restore the pruner's state, also for the interrupted trial."""
    earlier = make(options=MEDIAN)
    proposals = [earlier.ask(number) for number in range(5)]
    completed = Outcome(state=TrialState.COMPLETED, value=0.9)
    journal = [
        RestoredTrial(number=number, proposal=proposal, outcome=completed, reports=dict.fromkeys(range(1, 9), 0.9))
        for number, proposal in enumerate(proposals[:4])
    ]
    journal.append(RestoredTrial(number=4, proposal=proposals[4], outcome=None, reports={1: 0.5, 2: 0.5}))
    strategy = make(options=MEDIAN)
    strategy.restore(journal)
    for epoch in range(2, 9):
        assert not strategy.should_prune(4, epoch=epoch, value=0.5)
    strategy.tell(4, Outcome(state=TrialState.COMPLETED, value=0.5))
    assert strategy.study.trials[4].intermediate_values == dict.fromkeys(range(1, 9), 0.5)
    assert run(strategy, 5, level=0.8) == [False] * 8
    assert run(strategy, 6, level=1.0) == [False, False, False, True]


def deep_and_shallow(strategy: Any) -> tuple[list[int], list[int]]:
    """Numbers of the first eighteen trials in the deepest and the shallowest third."""
    classes: dict[bool, list[int]] = {True: [], False: []}
    for number in range(24):
        depth = strategy.ask(number).architecture.values["n_layers"]
        if depth >= 16 or depth <= 4:
            classes[depth >= 16].append(number)
    return classes[True], classes[False]


def test_trials_are_compared_within_their_class_of_depth(make: Callable[..., Any]) -> None:
    """Deep networks that start slowly are not compared with shallow ones, except with one class."""
    for strata, expected in ((3, False), (1, True)):
        strategy = make(options={**MEDIAN, "prune_strata": strata, "inner": "random", "startup_trials": 24})
        deep, shallow = deep_and_shallow(strategy)
        assert min(len(deep), len(shallow)) >= 6
        for number in shallow[:6]:
            strategy.should_prune(number, epoch=4, value=0.2)
            strategy.tell(number, Outcome(state=TrialState.COMPLETED, value=0.2))
        assert strategy.should_prune(deep[0], epoch=4, value=0.9) is expected


def course(strategy: Any, number: int, values: list[float]) -> int | None:
    """Train a trial whose objective has these values; return the epoch at which it was pruned, or None."""
    strategy.ask(number)
    for epoch, value in enumerate(values, start=1):
        if strategy.should_prune(number, epoch=epoch, value=value):
            strategy.tell(number, Outcome(state=TrialState.PRUNED, value=min(values[:epoch])))
            return epoch
    strategy.tell(number, Outcome(state=TrialState.COMPLETED, value=min(values)))
    return None


PRUNERS: dict[str, dict[str, Any]] = {
    "median": {},
    "hyperband": {},
    "patient": {"prune_patience": 3},
    "wilcoxon": {},
}


@pytest.mark.parametrize("pruner", PRUNERS)
def test_every_pruner_ends_bad_trials_but_never_before_its_epoch(make: Callable[..., Any], pruner: str) -> None:
    """Good trials complete; some bad ones are pruned, all of them late enough."""
    settings = {"forced": "none", "pruner": pruner, "prune_after": 5, "prune_strata": 1, **PRUNERS[pruner]}
    strategy = make(options=settings)
    # No two differences are equal: ties make the signed-rank test slow.
    ends = [
        course(strategy, number, [level + 0.01 * math.sin(epoch * (number + 2)) for epoch in range(40)])
        for number, level in enumerate([0.5] * 6 + [0.9, 0.1, 0.95, 0.97, 0.98, 0.99])
    ]
    assert ends[7] is None
    ended = [epoch for epoch in ends[8:] if epoch is not None]
    assert ended
    assert min(ended) >= 5


@pytest.mark.parametrize("pruner", PRUNERS)
def test_a_restored_study_prunes_like_the_uninterrupted_one(make: Callable[..., Any], pruner: str) -> None:
    """With one trial at a time, brackets, rungs and medians are the same after a restart."""
    settings = {"forced": "none", "pruner": pruner, "prune_after": 3, "prune_strata": 2, **PRUNERS[pruner]}
    levels = [((13 * number) % 10) / 10 for number in range(30)]

    def study(restart: int | None) -> list[int | None]:
        strategy, ends, journal = make(options=settings), [], []
        for number, level in enumerate(levels):
            if number == restart:
                strategy = make(options=settings)
                strategy.restore(journal)
            # No two differences are equal: ties make the signed-rank test slow.
            values = [level + 0.02 * math.sin(epoch * (number + 2)) + 0.01 * epoch for epoch in range(16)]
            ends.append(course(strategy, number, values))
            known = strategy._trials[number]
            proposal = Proposal(
                architecture=known.architecture, hyperparameters=known.hyperparameters, origin=known.origin
            )
            journal.append(
                RestoredTrial(number=number, proposal=proposal, outcome=known.outcome, reports=dict(known.reports))
            )
        return ends

    whole = study(None)
    assert any(whole)
    assert study(20) == whole


def test_forced_trials_are_pruned_when_asked(make: Callable[..., Any]) -> None:
    """`prune_forced` treats them like other trials."""
    strategy = make(
        options={
            **MEDIAN,
            "forced": "extremes",
            "extremes": ["n_heads", "n_layers", "d_model", "d_ff"],
            "prune_forced": True,
        }
    )
    planned = len(strategy.planned())
    ends = [run(strategy, number, level=0.5 if number < 6 else 0.9) for number in range(planned)]
    assert ends[6][-1]
