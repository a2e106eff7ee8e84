"""Forced configurations of the user, and extremes of hyper-parameters."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from scalecore.api.errors import ExperimentError
from scalecore.api.space import Architecture, ArchitectureSpace, Choice, IntRange, LogUniform, Uniform, middle
from scalecore.api.trials import Outcome, RestoredTrial, TrialState
from scalecore_optuna.configurations import hyperparameter_extremes
from scalecore_optuna.options import ArchitecturalOptions, ForcedConfiguration

Make = Callable[..., Any]

SHAPE = {"d_model": 192, "n_layers": 8, "n_heads": 8, "d_ff": 384}


def configuration(architecture: dict[str, int | float], **hyperparameters: Any) -> ForcedConfiguration:
    return ForcedConfiguration(architecture=architecture, hyperparameters=hyperparameters)


def shapes(architectures: list[Architecture]) -> ArchitectureSpace:
    """The legal shapes are those of the budget and one outside of it."""
    legal = [*(one.values for one in architectures), {"d_model": 64, "n_layers": 2, "n_heads": 2, "d_ff": 128}]
    names = list(legal[0])
    return ArchitectureSpace(
        dimensions={name: tuple(sorted({one[name] for one in legal})) for name in names},
        architectures=tuple(legal),
        derived={
            "d_ff_ratio": lambda one: one["d_ff"] / one["d_model"],
            "head_dim": lambda one: one["d_model"] // one["n_heads"],
        },
    )


def test_g32_every_configuration_is_planned_and_runs_first(make: Make, architectures: list[Architecture]) -> None:
    """In the order of the list, by dimensions or derived names; what is not given is at its middle."""
    own = [
        configuration(SHAPE, learning_rate=1e-4, dropout=0.1),
        configuration({"d_model": 192, "n_layers": 8, "head_dim": 6, "d_ff_ratio": 2}),
    ]
    strategy = make(options={"forced": [*own, "extremes"]}, shapes=shapes(architectures))
    planned = strategy.planned()
    middles = {name: middle(one) for name, one in strategy._context.space.items()}
    assert [one.origin.label for one in planned[:2]] == ["configuration:1", "configuration:2+n_heads:max"]
    assert planned[0].architecture.values == SHAPE
    assert planned[0].hyperparameters == {**middles, "learning_rate": 1e-4, "dropout": 0.1}
    assert planned[0].origin.reason == ("configuration 1 of search.forced, the other hyper-parameters at their middles")
    assert planned[1].architecture.values == {**SHAPE, "n_heads": 32}
    assert planned[1].hyperparameters == middles
    assert len(planned) == 2 + 5
    asked = []
    for number in range(len(planned)):
        asked.append(strategy.ask(number))
        strategy.tell(number, Outcome(state=TrialState.COMPLETED, value=0.5))
    assert asked == planned
    assert [one.state for one in strategy.explain().forced] == ["completed"] * len(planned)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        (
            configuration({"width": 3}),
            "architecture: width: not a dimension of the model; dimensions: d_model, n_layers, n_heads, d_ff; or "
            "d_ff_ratio, head_dim, which follow from them",
        ),
        (
            configuration({**SHAPE, "d_model": 100}),
            "architecture: d_model=100 is not a value of the model's option; it has 64, 128, 192, 256, 384",
        ),
        (
            configuration({**SHAPE, "d_ff_ratio": 4}),
            "architecture: the model has no legal shape with d_model=192 n_layers=8 n_heads=8 d_ff=384 d_ff_ratio=4",
        ),
        (
            configuration({"d_model": 192, "n_layers": 8, "d_ff": 384}),
            "architecture: n_heads missing: 5 shapes of the model have d_model=192 n_layers=8 d_ff=384",
        ),
        (
            configuration({"d_model": 64, "n_layers": 2, "n_heads": 2, "d_ff_ratio": 2}),
            "architecture: d_model=64 n_layers=2 n_heads=2 d_ff=128 cannot run: it has too few parameters",
        ),
        (
            configuration(SHAPE, learning_rate=0.1),
            "hyperparameters.learning_rate: 0.1 is outside of search.space: within 0.0001, 0.001",
        ),
        (
            configuration(SHAPE, epochs=60),
            "hyperparameters.epochs: 60 is outside of search.space: one of 50, 75, 100",
        ),
        (
            configuration(SHAPE, momentum=0.9),
            "hyperparameters.momentum: is not varied; search.space has learning_rate, epochs, weight_decay, "
            "warmup_steps, dropout",
        ),
    ],
)
def test_g32_a_configuration_that_cannot_run_is_refused_with_the_reason(
    make: Make, architectures: list[Architecture], wrong: ForcedConfiguration, message: str
) -> None:
    """Nothing is completed from the budget, and nothing is left out in silence."""
    infeasible = {"d_model=64,n_layers=2,n_heads=2,d_ff=128": "it has too few parameters"}
    with pytest.raises(ExperimentError) as caught:
        make(options={"forced": ["extremes", wrong]}, shapes=shapes(architectures), infeasible=infeasible)
    assert str(caught.value) == f"search.forced.1.{message}"


def test_extremes_of_hyperparameters_are_at_the_middle_architecture() -> None:
    """Both ends of ranges and of choices of numbers, every value of other choices; one value has no ends."""
    architecture = Architecture(values=SHAPE, num_parameters=1, flops=1)
    space = {
        "rate": LogUniform(low=1e-4, high=1e-3),
        "dropout": Uniform(low=0.0, high=0.3),
        "steps": IntRange(low=1, high=10, step=4),
        "epochs": Choice(values=(100, 50, 75)),
        "optimizer": Choice(values=("adam", "sgd", "lion")),
        "bias": Choice(values=(True, False)),
        "fixed": Choice(values=(7,)),
    }
    designs = hyperparameter_extremes(space, architecture)
    assert [(one.label, dict(one.hyperparameters)) for one in designs] == [
        ("rate:min", {"rate": 1e-4}),
        ("rate:max", {"rate": 1e-3}),
        ("dropout:min", {"dropout": 0.0}),
        ("dropout:max", {"dropout": 0.3}),
        ("steps:min", {"steps": 1}),
        ("steps:max", {"steps": 9}),
        ("epochs:min", {"epochs": 50}),
        ("epochs:max", {"epochs": 100}),
        ("optimizer:value 1", {"optimizer": "adam"}),
        ("optimizer:value 2", {"optimizer": "sgd"}),
        ("optimizer:value 3", {"optimizer": "lion"}),
        ("bias:value 1", {"bias": True}),
        ("bias:value 2", {"bias": False}),
    ]
    assert all(one.architecture is architecture for one in designs)


def test_a_restart_runs_each_design_of_one_architecture_once(make: Make) -> None:
    """Designs that differ in hyper-parameters only are different trials, also after a restart in between."""
    options = {"forced": "hyperparameters"}
    planned = make(options=options).planned()
    assert [one.origin.label for one in planned][:3] == ["learning_rate:min", "learning_rate:max", "epochs:min"]
    assert planned[0].origin.reason == (
        "learning_rate at its minimum (0.0001), the other hyper-parameters at their middles, the architecture nearest "
        "to the middle"
    )
    assert len({one.architecture.id for one in planned}) == 1
    strategy = make(options=options)
    done = Outcome(state=TrialState.COMPLETED, value=0.4)
    strategy.restore([RestoredTrial(number=n, proposal=one, outcome=done) for n, one in enumerate(planned[:3])])
    assert [strategy.ask(number) for number in range(3, len(planned))] == planned[3:]
    assert strategy.ask(len(planned)).origin.kind == "startup"


def test_a_configuration_added_later_runs_next(make: Make, architectures: list[Architecture]) -> None:
    """Although a forced extreme of an earlier run had its architecture; what it equals is not run again."""
    before = make().planned()
    done = Outcome(state=TrialState.COMPLETED, value=0.4)
    extreme = before[0].architecture.values
    own = [configuration(dict(extreme), learning_rate=1e-4), configuration(dict(extreme))]
    strategy = make(options={"forced": own}, shapes=shapes(architectures))
    strategy.restore([RestoredTrial(number=n, proposal=one, outcome=done) for n, one in enumerate(before)])
    first = strategy.ask(len(before))
    assert (first.origin.label, first.architecture.values, first.hyperparameters["learning_rate"]) == (
        "configuration:1",
        extreme,
        1e-4,
    )
    assert strategy.ask(len(before) + 1).origin.kind != "forced"


def test_without_configurations_the_options_are_those_of_earlier_versions() -> None:
    """The stored form of the default is a text."""
    assert ArchitecturalOptions().forced == "extremes"
    assert ArchitecturalOptions(forced=["extremes", "maximin", "extremes"]).designs == ("extremes", "maximin")
    assert ArchitecturalOptions(forced="none").designs == ()
