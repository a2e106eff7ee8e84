"""Changes allowed when a study resumes, and the past trials that still fit."""

from __future__ import annotations

from copy import deepcopy
from typing import Any

import pytest

from scalecore.api.space import Architecture, Choice, LogUniform
from scalecore.api.trials import Origin, Proposal
from scalecore.planning.continuation import Continuation, compare, continuation_lines, misfit
from scalecore.store.asked_trial import AskedTrial
from scalecore.store.event_parts import Change
from scalecore.store.events import AskedFor, SearchChanged, SmokeStep
from scalecore.store.identity import Unbound
from scalecore.store.state import replay
from scalecore.testing.fakes import make_trial

EXPERIMENT: dict[str, Any] = {
    "name": "s",
    "seed": 1,
    "output": None,
    "dataset": {"use": "parquet"},
    "model": {"use": "patchtst", "patch_len": 10, "d_model": [64, 128]},
    "search": {"use": "architectural", "trials": 5, "budget": "2M", "space": {"dropout": {"uniform": [0.1, 0.3]}}},
    "objective": {"metric": "val_loss"},
    "training": {"effective_batch": 64, "threads": 1, "hyperparameters": {"epochs": 8}},
    "execution": {"slots": 1},
    "guards": {},
    "monitors": [],
    "loggers": [],
}


def changed(**sections: dict[str, Any]) -> dict[str, Any]:
    experiment = deepcopy(EXPERIMENT)
    for name, content in sections.items():
        experiment[name] |= content
    return experiment


def keys(changes: tuple[Change, ...]) -> list[str]:
    return [change.key for change in changes]


def test_the_search_may_change() -> None:
    """Changes of grid, space, strategy and total are applied, and each is listed with both values."""
    now = changed(search={"use": "random", "trials": 9, "budget": "20M", "space": {}}, model={"d_model": [32]})
    found = compare(EXPERIMENT, now, grid=("d_model",), unbound=Unbound())
    assert found.refused == ()
    assert [change.text() for change in found.allowed] == [
        'search.budget: "2M" -> "20M"',
        'search.space.dropout: {"uniform": [0.1, 0.3]} -> null',
        "search.trials: 5 -> 9",
        'search.use: "architectural" -> "random"',
        "model.d_model: [64, 128] -> [32]",
    ]


@pytest.mark.parametrize(
    ("now", "key"),
    [
        (changed(model={"patch_len": 5}), "model.patch_len"),
        (changed(model={"d_model": [32]}), "model.d_model"),
        (changed(model={"use": "linear"}), "model.use"),
        (changed(training={"effective_batch": 32}), "training.effective_batch"),
        (changed(training={"hyperparameters": {"epochs": 9}}), "training.hyperparameters.epochs"),
        (changed(objective={"metric": "auc"}), "objective.metric"),
        (changed(dataset={"use": "market"}), "dataset.use"),
        ({**EXPERIMENT, "seed": 2}, "seed"),
    ],
)
def test_g22_changes_that_decide_results_are_refused(now: dict[str, Any], key: str) -> None:
    """Model, training, objective, data and seed, and the model's grid if the model does not declare it as one."""
    assert keys(compare(EXPERIMENT, now, unbound=Unbound()).refused) == [key]


def test_other_keys_may_differ() -> None:
    """Loggers, monitors, execution, the description, and a study that has not begun."""
    now = {
        **changed(training={"threads": 2}),
        "description": "Does depth help?",
        "loggers": ["console"],
        "monitors": ["memory"],
        "output": "/there",
    }
    for was, is_now in ((EXPERIMENT, now), ({}, now), (EXPERIMENT, EXPERIMENT)):
        assert compare(was, is_now, unbound=Unbound()) == Continuation()


def test_a_hyperparameter_may_move_between_varied_and_fixed() -> None:
    """The record of a trial has its value in both cases."""
    space = {"epochs": {"choice": [8, 16]}}
    now = changed(search={"space": space}, training={"hyperparameters": {"dropout": 0.2}})
    found = compare(EXPERIMENT, now, unbound=Unbound())
    assert found.refused == ()
    assert keys(found.allowed) == [
        "search.space.dropout",
        "search.space.epochs",
        "training.hyperparameters.dropout",
        "training.hyperparameters.epochs",
    ]


def asked(width: int = 64, **values: Any) -> AskedTrial:
    architecture = Architecture(values={"width": width}, num_parameters=1, flops=1)
    proposal = Proposal(architecture=architecture, hyperparameters={}, origin=Origin(kind="sampled"))
    used = {"rate": 1e-3, "epochs": 8, **values}
    return AskedTrial(number=0, proposal=proposal, hyperparameters=used, hash="h", seed=0)


@pytest.mark.parametrize(
    ("trial", "reason"),
    [
        (asked(), None),
        (asked(width=32), "width=32 is no longer a feasible architecture"),
        (asked(rate=0.5), "rate=0.5 is outside the current space"),
        (asked(epochs=16), "epochs=16, but it is now fixed at 8"),
    ],
)
def test_g34_a_past_trial_fits_by_its_values(trial: AskedTrial, reason: str | None) -> None:
    """Whether they were varied or fixed then; a trial that does not fit is named with the reason."""
    space = {"rate": LogUniform(low=1e-4, high=1e-2)}
    assert misfit(trial, feasible={"width=64"}, space=space, fixed={"epochs": 8}) == reason


def test_g34_a_trial_without_a_value_does_not_fit() -> None:
    """A hyper-parameter that is varied now and that the trial does not have."""
    space = {"gain": Choice(values=(1, 2))}
    assert misfit(asked(), feasible={"width=64"}, space=space, fixed={}) == "it has no gain"


def test_the_last_change_decides_what_counts() -> None:
    """The journal stores every change; the smoke step is repeated if shapes or space changed."""
    first = make_trial(0)
    proposal = Proposal(architecture=first.architecture, hyperparameters={}, origin=first.origin)
    trial = AskedFor(number=0, hash="a", seed=1, hyperparameters={}, proposal=proposal)
    smoke = SmokeStep(versions={}, results={})
    budget, trials = (Change(key=f"search.{name}", before=1, after=2) for name in ("budget", "trials"))
    grid = SearchChanged(changes=[budget], left_out={"0": "too large"})
    total = SearchChanged(changes=[trials], left_out={})
    state = replay([trial, smoke, grid])
    assert (state.left_out, state.smoke, len(state.changes)) == ({0: "too large"}, None, 1)
    assert replay([trial, smoke, grid, smoke, total]).smoke == smoke
    assert replay([trial, smoke, grid, smoke, total]).left_out == {}


def test_changes_and_their_effect_are_listed() -> None:
    """Every key, how many trials fit, and each that does not."""
    lines = continuation_lines([Change(key="search.trials", before=5, after=6)], {1: "it has no gain"}, 5)
    assert lines == [
        "the search changed since the last run of the study (study -> file):",
        "  search.trials: 5 -> 6",
        "  4 of 5 past trials still fit and count",
        "  trial 1 no longer counts: it has no gain",
    ]
    assert continuation_lines([], {}, 5) == []


def test_the_distribution_of_a_component_may_be_named_later() -> None:
    """For instance after installing a second component of that name; the study keeps its component."""
    was, now, rival = (changed(model={"use": use}) for use in ("mlp", "acme/mlp", "rival/mlp"))

    def refused(was: Any, now: Any, *, provider: str, versions: tuple[str, ...] = ()) -> list[str]:
        found = compare(was, now, unbound=Unbound(), providers={"model": provider}, versions=versions)
        return keys(found.refused)

    assert refused(was, now, provider="Acme", versions=("scalecore", "acme")) == []
    assert refused(was, now, provider="Acme", versions=("scalecore", "rival")) == ["model.use"]
    assert refused(now, was, provider="acme") == [], "and left out again"
    assert refused(now, was, provider="rival") == ["model.use"]
    assert refused(now, rival, provider="rival") == ["model.use"]
