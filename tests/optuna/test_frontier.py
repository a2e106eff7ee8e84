from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from optuna.testing.pytest_samplers import BasicSamplerTestCase, RelativeSamplerTestCase

from scalecore.api.space import Architecture, Choice, Distribution, LogUniform, Uniform
from scalecore.api.trials import Outcome, Proposal, RestoredTrial, TrialState
from scalecore_optuna.coverage import Coverage
from scalecore_optuna.frontier import FrontierSampler
from scalecore_optuna.grid import Grid
from scalecore_optuna.sampler import ArchitecturalSampler

if TYPE_CHECKING:
    from collections.abc import Callable

    from optuna.samplers import BaseSampler

    from scalecore_optuna.strategy import ArchitecturalStrategy

    Make = Callable[..., ArchitecturalStrategy]

FRONTIER = {"inner": "frontier"}


def done(value: float) -> Outcome:
    return Outcome(state=TrialState.COMPLETED, value=value)


def small() -> ArchitecturalSampler:
    """Frontier over nine shapes and one hyper-parameter, with further parameters in a trial."""
    shapes = [
        Architecture(values={"width": width, "depth": depth}, num_parameters=width * width * depth, flops=1)
        for width in (8, 16, 32)
        for depth in (1, 2, 4)
    ]
    coverage = Coverage(Grid(shapes), {"rate": LogUniform(low=1e-4, high=1e-2)}, weight=0.0)
    return ArchitecturalSampler(FrontierSampler(coverage), coverage)


class TestOptunasOwnSuiteWithFrontierInside(BasicSamplerTestCase, RelativeSamplerTestCase):
    """Optuna's tests for samplers, applied to ours."""

    @pytest.fixture
    def sampler(self) -> Callable[[], BaseSampler]:
        return small


def test_a_dozen_trials_come_before_the_model(make: Make, drive: Callable[..., list[Proposal]]) -> None:
    """Forced extremes count towards the first design; at least a third of it has its parameters at their middles."""
    strategy = make(options=FRONTIER)
    proposals = drive(strategy, range(20))
    assert [proposal.origin.kind for proposal in proposals[:12]] == ["forced"] * 6 + ["startup"] * 6
    assert {proposal.origin.kind for proposal in proposals[12:]} == {"sampled"}
    alone = drive(make(options={**FRONTIER, "forced": "none"}), range(12))
    middles = strategy.planned()[0].hyperparameters
    assert [proposal.hyperparameters == middles for proposal in alone].count(True) == 4
    assert len({proposal.architecture.id for proposal in alone}) == 12


def test_it_finds_the_minimum(make: Make, architectures: list[Architecture]) -> None:
    """On a noiseless surface, thirty trials come closer than thirty random points."""

    def loss(values: dict[str, Any]) -> float:
        aspect = values["d_model"] / values["n_layers"]
        return abs(aspect - 24) / 24 + abs(values["dropout"] - 0.27) * 5 + abs(values["learning_rate"] - 2e-4) * 1e3

    best = {}
    for inner in ("frontier", "random"):
        strategy, values = make(options={"inner": inner, "near_repeat": {}, "startup_trials": 6}), []
        for number in range(30):
            proposal = strategy.ask(number)
            assert proposal is not None
            values.append(loss({**proposal.architecture.values, **proposal.hyperparameters}))
            strategy.tell(number, done(values[-1]))
        best[inner] = min(values)
    assert best["frontier"] < 0.5 * best["random"]


def test_it_proposes_nothing_that_has_to_be_moved(make: Make, drive: Callable[..., list[Proposal]]) -> None:
    """Repeats and near-repeats are skipped before the choice, so that the model's choice runs."""
    proposals = drive(make(options=FRONTIER), range(40))
    assert "redirected" not in {proposal.origin.kind for proposal in proposals}
    points = {(p.architecture.id, *p.hyperparameters.values()) for p in proposals}
    assert len(points) == 40


def test_visits_divide_the_expected_improvement() -> None:
    """By the square root of one plus their number: after eight visits to a third."""
    shapes = [Architecture(values={"width": width}, num_parameters=width, flops=1) for width in (8, 16, 32)]
    coverage = Coverage(Grid(shapes), {})
    tried = coverage.tried(({"width": width}, False) for width in [16] * 3 + [32] * 8)
    weights = FrontierSampler(coverage)._weights([], set(), tried)
    assert np.exp(weights) == pytest.approx([1, 1 / 2, 1 / 3])
    running = coverage.tried(({"width": width}, width == 8) for width in (8, 16))
    assert FrontierSampler(coverage)._weights([], set(), running).argsort().tolist() == [0, 1, 2]


def test_a_good_architecture_does_not_keep_others_from_being_tried(make: Make) -> None:
    """Other architectures are also tried."""
    strategy = make(options={**FRONTIER, "near_repeat": {}, "forced": "none", "startup_trials": 12})
    for number in range(50):
        proposal = strategy.ask(number)
        assert proposal is not None
        strategy.tell(number, done(abs(proposal.architecture.values["n_layers"] - 12) / 10))
    (whole, *_) = strategy.explain().covered
    assert whole.tried >= 20


def test_what_did_not_fit_is_not_proposed_again(make: Make) -> None:
    """Out of memory quarantines its architecture for every inner sampler, and frontier avoids similar ones."""
    for inner in ("frontier", "tpe"):
        strategy = make(options={"inner": inner, "forced": "none", "startup_trials": 10})
        unfit = []
        shares = []
        for number in range(40):
            proposal = strategy.ask(number)
            assert proposal is not None
            deep = proposal.architecture.values["n_layers"] >= 24
            assert proposal.architecture.id not in unfit
            shares.append(deep)
            if deep:
                unfit.append(proposal.architecture.id)
                strategy.tell(number, Outcome(state=TrialState.OUT_OF_MEMORY))
            else:
                strategy.tell(number, done(1.0 - proposal.architecture.values["n_layers"] / 30))
        if inner == "frontier":
            assert sum(shares[20:]) <= 5


def test_nothing_is_left_when_no_architecture_fits(make: Make, architectures: list[Architecture]) -> None:
    """The study ends."""
    strategy = make(architectures=architectures[:3], options={"forced": "none"})
    for number in range(3):
        assert strategy.ask(number) is not None
        strategy.tell(number, Outcome(state=TrialState.OUT_OF_MEMORY))
    assert strategy.ask(3) is None
    assert strategy.explain().phase == "exhausted"


def test_a_diverged_trial_is_a_penalty_or_nothing(make: Make) -> None:
    """By default, high learning rates that diverge are avoided; `diverged: fail` ignores them."""

    def share(setting: str) -> float:
        high = 0
        options = {**FRONTIER, "diverged": setting, "forced": "none", "near_repeat": {}}
        space = {"learning_rate": LogUniform(low=1e-5, high=1e-1), "dropout": Uniform(low=0.1, high=0.3)}
        strategy = make(options=options, space=space)
        for number in range(40):
            proposal = strategy.ask(number)
            assert proposal is not None
            rate = float(proposal.hyperparameters["learning_rate"])
            diverges = rate > 1e-3
            high += diverges and number >= 20
            value = 1.0 - 0.2 * math.log10(rate)
            strategy.tell(number, Outcome(state=TrialState.DIVERGED) if diverges else done(value))
        return high / 20

    assert share("penalise") <= 0.3
    assert share("fail") >= 0.5


def test_a_batch_spreads_and_a_restart_in_it_changes_nothing(make: Make, loss_of: Callable[..., float]) -> None:
    """Six asks before any tell return six architectures, the same after a restart in between."""
    strategy = make(options=FRONTIER)
    journal = []
    for number in range(14):
        proposal = strategy.ask(number)
        assert proposal is not None
        outcome = done(loss_of(proposal, number))
        strategy.tell(number, outcome)
        journal.append(RestoredTrial(number=number, proposal=proposal, outcome=outcome))
    batch = [strategy.ask(number) for number in range(14, 20)]
    assert len({proposal.architecture.id for proposal in batch if proposal is not None}) == 6
    again = make(options=FRONTIER)
    journal += [
        RestoredTrial(number=14 + at, proposal=proposal, outcome=None)
        for at, proposal in enumerate(batch[:3])
        if proposal is not None
    ]
    again.restore(journal)
    assert [again.ask(number) for number in range(17, 20)] == batch[3:]


def test_the_recommendation_has_its_expected_value(make: Make, drive: Callable[..., list[Proposal]]) -> None:
    """The trial with the best posterior mean is recommended, in the study's direction, whichever sampler chose it."""
    for inner in ("frontier", "tpe"):
        low, high = make(options={"inner": inner}), make(options={"inner": inner}, direction="maximize")
        assert low.explain().recommended is None
        for number in range(30):
            one, other = low.ask(number), high.ask(number)
            assert one == other
            assert one is not None
            value = abs(one.architecture.values["n_layers"] - 12) / 10
            low.tell(number, done(value))
            high.tell(number, done(-value))
        first, second = low.explain().recommended, high.explain().recommended
        assert first is not None
        assert second is not None
        assert first.architecture.values["n_layers"] in (8, 12, 16)
        assert (first.number, first.value) == (second.number, pytest.approx(-second.value))
        assert first.observed == pytest.approx(first.value, abs=0.15)
        assert first.deviation is not None


def test_texts_and_steps_are_searched_too(make: Make) -> None:
    """Choices of texts have separate coordinates, and the better one is found."""
    space: dict[str, Distribution] = {
        "norm": Choice(values=("layer", "batch", "none")),
        "rate": Uniform(low=0.0, high=1.0),
    }
    strategy = make(space=space, options={**FRONTIER, "startup_trials": 8, "forced": "none"})
    norms = []
    for number in range(30):
        proposal = strategy.ask(number)
        assert proposal is not None
        norms.append(proposal.hyperparameters["norm"])
        better = {"layer": 0.5, "batch": 0.0, "none": 1.0}[str(norms[-1])]
        strategy.tell(number, done(better + 0.1 * float(proposal.hyperparameters["rate"])))
    assert norms[15:].count("batch") >= 12
