from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from scalecore.api.errors import ExperimentError
from scalecore.api.space import Architecture
from scalecore.api.trials import Origin, Outcome, Proposal, RestoredTrial, TrialState
from scalecore_optuna.forced import default_extremes, extremes
from scalecore_optuna.grid import Grid

if TYPE_CHECKING:
    from collections.abc import Callable


def shape(**values: int) -> Architecture:
    return Architecture(values=values, num_parameters=1, flops=1)


def test_g32_extremes_are_feasible_and_none_vanishes(
    grid_of: Callable[[float], list[Architecture]], make: Callable[..., Any]
) -> None:
    """Every label of every budget is planned, on an architecture of the grid with the feasible extreme."""
    for budget, feasible in ((2e6, 80), (2e7, 75), (2e8, 125), (2e9, 75)):
        architectures = grid_of(budget)
        assert len(architectures) == feasible
        planned = make(architectures=architectures).planned()
        labels = [label for proposal in planned for label in (proposal.origin.label or "").split("+")]
        assert sorted(labels) == sorted(f"{n}:{e}" for n in ("d_model", "n_layers", "n_heads") for e in ("min", "max"))
        assert len({proposal.architecture.id for proposal in planned}) == len(planned)
        for proposal in planned:
            assert proposal.architecture in architectures
            for label in proposal.origin.label.split("+"):
                name, end = label.split(":")
                values = [architecture.values[name] for architecture in architectures]
                assert proposal.architecture.values[name] == (min(values) if end == "min" else max(values))


def test_the_other_dimensions_are_near_their_middle(make: Callable[..., Any]) -> None:
    """Extremes of the heads are at middle width and depth, those of the width at middle heads."""
    planned = {proposal.origin.label: proposal.architecture.values for proposal in make().planned()}
    assert planned["n_heads:min"] == {"d_model": 192, "n_layers": 8, "n_heads": 2, "d_ff": 384}
    assert planned["n_heads:max"] == {"d_model": 192, "n_layers": 8, "n_heads": 32, "d_ff": 384}
    assert planned["d_model:max"] == {"d_model": 384, "n_layers": 2, "n_heads": 8, "d_ff": 768}


def test_two_extremes_of_one_architecture_are_one_trial(
    grid_of: Callable[[float], list[Architecture]], make: Callable[..., Any]
) -> None:
    """Under 20M the widest shape is also the shallowest: five trials have six labels."""
    labels = [proposal.origin.label for proposal in make(architectures=grid_of(2e7)).planned()]
    assert labels == ["d_model:min", "d_model:max+n_layers:min", "n_layers:max", "n_heads:min", "n_heads:max"]


def test_forced_trials_use_the_middles_of_the_training_parameters(make: Callable[..., Any]) -> None:
    """Extremes can be compared with each other."""
    for proposal in make().planned():
        assert proposal.hyperparameters == {
            "learning_rate": pytest.approx(10**-3.5),
            "epochs": 75,
            "weight_decay": pytest.approx(5**0.5 * 10**-3.5),
            "warmup_steps": 300,
            "dropout": pytest.approx(0.2),
        }


def test_by_default_a_dimension_that_follows_another_is_left_out() -> None:
    """d_ff is 2 or 4 times d_model; in a family without such a relation all varying dimensions count."""
    tied = Grid([shape(d_model=d, n_layers=n, d_ff=r * d) for d in (64, 128) for n in (1, 2) for r in (2, 4)])
    free = Grid([shape(width=w, kernel=k, fixed=3) for w in (8, 16, 32) for k in (3, 5, 7)])
    assert default_extremes(tied) == ["d_model", "n_layers"]
    assert default_extremes(free) == ["width", "kernel"]


def test_extremes_can_be_named_and_switched_off(make: Callable[..., Any]) -> None:
    """`extremes: [d_ff]` forces these alone; `forced: none` forces nothing."""
    named = make(options={"extremes": ["d_ff"]}).planned()
    assert [proposal.origin.label for proposal in named] == ["d_ff:min", "d_ff:max"]
    assert make(options={"forced": "none"}).planned() == []


def test_an_unknown_extreme_is_refused(make: Callable[..., Any]) -> None:
    """The message lists the dimensions."""
    with pytest.raises(ExperimentError) as caught:
        make(options={"extremes": ["d_modell"]})
    assert str(caught.value) == (
        "search.extremes: 'd_modell': not a dimension of the model; dimensions: d_model, n_layers, n_heads, d_ff"
    )


def test_a_dimension_that_can_be_zero_has_extremes() -> None:
    """Such a dimension has no logarithm and needs none."""
    designs = extremes(Grid([shape(skips=skips, width=width) for skips in (0, 1, 2) for width in (4, 8, 16)]))
    assert [(design.label, design.architecture.id) for design in designs] == [
        ("skips:min", "skips=0,width=8"),
        ("skips:max", "skips=2,width=8"),
        ("width:min", "skips=1,width=4"),
        ("width:max", "skips=1,width=16"),
    ]


@pytest.mark.parametrize("state", [TrialState.COMPLETED, TrialState.PRUNED, None])
def test_a_forced_design_is_tried_once_across_restarts(make: Callable[..., Any], state: TrialState | None) -> None:
    """A completed, pruned or unfinished design is not proposed again."""
    planned = make().planned()
    outcome = None if state is None else Outcome(state=state, value=0.4)
    strategy = make()
    strategy.restore(
        [RestoredTrial(number=n, proposal=proposal, outcome=outcome) for n, proposal in enumerate(planned[:4])]
    )
    rest = [strategy.ask(number) for number in range(4, 8)]
    assert [proposal.origin.label for proposal in rest[:2]] == ["n_heads:min", "n_heads:max"]
    assert [proposal.origin.kind for proposal in rest[2:]] == ["startup", "startup"]


@pytest.mark.parametrize(
    ("state", "tries"),
    [
        (TrialState.FAILED, 2),
        (TrialState.TIMED_OUT, 2),
        (TrialState.OUT_OF_MEMORY, 1),
        (TrialState.DIVERGED, 1),
    ],
)
def test_a_forced_design_that_failed_is_tried_once_more(
    make: Callable[..., Any], state: TrialState, tries: int
) -> None:
    """Out of memory and divergence are final; a crash or a hang is repeated once."""
    strategy = make()
    labels = []
    for number in range(20):
        proposal = strategy.ask(number)
        labels.append(proposal.origin.label)
        strategy.tell(number, Outcome(state=state))
    assert labels[: 6 * tries] == [p.origin.label for p in strategy.planned() for _ in range(tries)]
    assert set(labels[6 * tries :]) == {None}


def test_a_forced_design_that_ran_as_another_trial_is_not_run_again(make: Callable[..., Any]) -> None:
    """A study resumed with `forced: extremes` knows its exact points."""
    first, *others = make().planned()
    strategy = make()
    ran = Proposal(
        architecture=first.architecture, hyperparameters=first.hyperparameters, origin=Origin(kind="sampled")
    )
    strategy.restore([RestoredTrial(number=0, proposal=ran, outcome=Outcome(state=TrialState.COMPLETED, value=0.4))])
    assert [strategy.ask(number) for number in range(1, 6)] == others


def test_several_asks_before_any_tell_share_no_forced_design(make: Callable[..., Any]) -> None:
    """Parallel slots get different forced designs, then different architectures."""
    strategy = make()
    batch = [strategy.ask(number) for number in range(12)]
    assert [proposal.origin.label for proposal in batch[:6]] == [p.origin.label for p in strategy.planned()]
    assert len({proposal.architecture.id for proposal in batch}) == 12


def test_a_second_try_that_the_driver_calls_a_duplicate_is_given_up(make: Callable[..., Any]) -> None:
    """The driver decides whether a failed trial may run again; otherwise the next design follows."""
    strategy = make()
    strategy.ask(0)
    strategy.tell(0, Outcome(state=TrialState.FAILED))
    assert strategy.ask(1).origin.label == strategy.planned()[0].origin.label
    strategy.tell(1, Outcome(state=TrialState.FAILED, duplicate_of=0))
    assert strategy.ask(1).origin.label == strategy.planned()[1].origin.label


def test_maximin_spreads_over_the_feasible_architectures(make: Callable[..., Any]) -> None:
    """The first is in the middle, the next are far apart; all are feasible, with parameters at their middles."""
    strategy = make(options={"forced": "maximin", "maximin_trials": 6})
    planned = strategy.planned()
    assert [proposal.origin.label for proposal in planned] == [f"maximin:{n}" for n in range(1, 7)]
    assert planned[0].origin.reason == "the architecture nearest to the middle"
    assert planned[1].origin.reason == "an architecture far from the previous ones"
    depths = [proposal.architecture.values["n_layers"] for proposal in planned]
    assert min(depths) <= 3
    assert max(depths) >= 32
    assert len({proposal.architecture.id for proposal in planned}) == 6
    assert [strategy.ask(number).origin.kind for number in range(7)] == ["forced"] * 6 + ["startup"]


def test_designs_are_merged_where_they_meet(make: Callable[..., Any]) -> None:
    """One architecture of both designs is one trial with both labels."""
    both = make(options={"forced": ["extremes", "maximin"], "maximin_trials": 40}).planned()
    assert len({proposal.architecture.id for proposal in both}) == len(both) < 46
    shared = [proposal for proposal in both if "min+maximin:" in (proposal.origin.label or "")]
    assert shared
    assert "; an architecture" in (shared[0].origin.reason or "")
