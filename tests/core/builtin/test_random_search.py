"""Strategy `random`: seeded, resumable, without repeats."""

from __future__ import annotations

from typing import Any

from scalecore.api.space import Choice, Distribution, IntRange, LogUniform, Uniform
from scalecore.api.strategy import SearchContext, SearchStrategy
from scalecore.api.trials import Outcome, Proposal, RestoredTrial, TrialState
from scalecore.builtin.random_search import RandomSearch

from .conftest import shape

CONTINUOUS: dict[str, Distribution] = {
    "learning_rate": LogUniform(low=1e-4, high=1e-2),
    "dropout": Uniform(low=0.1, high=0.3),
    "epochs": Choice(values=(50, 75, 100)),
}
FINITE: dict[str, Distribution] = {
    "epochs": Choice(values=(50, 75)),
    "warmup": IntRange(low=100, high=300, step=100),
    "depth": IntRange(low=1, high=4, log=True),
}


def strategy(space: dict[str, Distribution], *, seed: int = 1, shapes: tuple[int, ...] = (8, 16, 32)) -> RandomSearch:
    architectures = tuple(shape(width) for width in shapes)
    return RandomSearch(
        SearchContext(
            architectures=architectures,
            dimensions={"width": shapes, "depth": (2,)},
            space=space,
            direction="minimize",
            trials=50,
            seed=seed,
        )
    )


def proposals(search: SearchStrategy, numbers: Any) -> list[Proposal]:
    found = [search.ask(number) for number in numbers]
    return [proposal for proposal in found if proposal is not None]


def point(proposal: Proposal) -> tuple[Any, ...]:
    return proposal.architecture.id, *sorted(proposal.hyperparameters.items())


def test_proposals_are_in_the_space() -> None:
    """Each has a feasible architecture and values within their ranges; all parts of the space occur."""
    search = strategy(CONTINUOUS)
    assert isinstance(search, SearchStrategy)
    assert search.planned() == ()
    found = proposals(search, range(60))
    assert {proposal.architecture.values["width"] for proposal in found} == {8, 16, 32}
    assert {proposal.hyperparameters["epochs"] for proposal in found} == {50, 75, 100}
    for proposal in found:
        assert set(proposal.hyperparameters) == set(CONTINUOUS)
        assert all(CONTINUOUS[name].contains(value) for name, value in proposal.hyperparameters.items())
        assert proposal.origin.kind == "sampled"
    rates = [float(proposal.hyperparameters["learning_rate"]) for proposal in found]
    assert sum(rate < 1e-3 for rate in rates) in range(18, 43), "not half of a log-uniform range is below its middle"


def test_g37_the_seed_determines_the_proposals() -> None:
    """Equal seeds draw the same trials, other seeds others."""
    assert proposals(strategy(CONTINUOUS), range(10)) == proposals(strategy(CONTINUOUS), range(10))
    assert proposals(strategy(CONTINUOUS), range(10)) != proposals(strategy(CONTINUOUS, seed=2), range(10))


def test_a_resumed_search_proposes_the_same_trials() -> None:
    """After any trial, also in a finite space."""
    for space, total in ((CONTINUOUS, 12), (FINITE, 40)):
        whole = proposals(strategy(space), range(total))
        for cut in (1, total // 2, total - 1):
            search = strategy(space)
            done = Outcome(state=TrialState.COMPLETED, value=0.5)
            search.restore(
                [
                    RestoredTrial(number=n, proposal=p, outcome=done if n % 2 else None)
                    for n, p in enumerate(whole[:cut])
                ]
            )
            assert proposals(search, range(cut, total)) == whole[cut:]


def test_a_finite_space_is_exhausted_without_repeats() -> None:
    """Each of the 3 * 2 * 3 * 4 points once, then nothing."""
    search = strategy(FINITE)
    found = proposals(search, range(72))
    assert len({point(proposal) for proposal in found}) == 72
    assert search.ask(72) is None


def test_without_a_space_each_architecture_is_tried_once() -> None:
    """Only the architecture varies."""
    search = strategy({})
    assert {proposal.architecture.values["width"] for proposal in proposals(search, range(3))} == {8, 16, 32}
    assert search.ask(3) is None


def test_trials_of_another_space_do_not_use_up_this_one() -> None:
    """A study that continues with another space can still try all its points."""
    other = proposals(strategy({"epochs": Choice(values=(1, 2))}, shapes=(8,)), range(2))
    search = strategy({"epochs": Choice(values=(5, 6))}, shapes=(8,))
    search.restore([RestoredTrial(number=number, proposal=one, outcome=None) for number, one in enumerate(other)])
    assert len({one.hyperparameters["epochs"] for one in proposals(search, (2, 3))}) == 2
