from __future__ import annotations

import importlib.util
from typing import TYPE_CHECKING, Any

import pytest
from optuna.samplers import QMCSampler, RandomSampler, TPESampler

from scalecore.api.errors import ExperimentError
from scalecore_optuna import inner_samplers
from scalecore_optuna.inner_samplers import inner_sampler
from scalecore_optuna.options import ArchitecturalOptions

if TYPE_CHECKING:
    from collections.abc import Callable

    from scalecore.api.trials import Proposal
    from scalecore_optuna.strategy import ArchitecturalStrategy

    Make = Callable[..., ArchitecturalStrategy]


class Unseeded(RandomSampler):
    """A sampler without a seed."""

    def __init__(self) -> None:
        super().__init__(seed=None)


def test_a_sampler_class_is_loaded_by_its_import_path(make: Make, drive: Callable[..., list[Proposal]]) -> None:
    """Its suggestions become feasible, and it receives the options and the trial's seed."""
    options = {"inner": "optuna.samplers:TPESampler", "inner_options": {"n_startup_trials": 3}, "startup_trials": 4}
    proposals = drive(make(options=options), range(14))
    assert proposals == drive(make(options=options), range(14))
    assert {proposal.origin.kind for proposal in proposals[10:]} <= {"sampled", "redirected"}
    assert drive(make(options={**options, "inner_options": {"n_startup_trials": 99}}), range(14)) != proposals


@pytest.mark.parametrize(
    ("path", "message"),
    [
        (
            "no_such_package.samplers:Sampler",
            "search.inner: 'no_such_package.samplers' cannot be imported: No module named 'no_such_package'; "
            "install the package that provides it",
        ),
        ("optuna.samplers:Nothing", "search.inner: module 'optuna.samplers' has no 'Nothing'"),
        (
            "os:system",
            "search.inner: 'os:system' is not a subclass of optuna.samplers.BaseSampler",
        ),
        (
            "pathlib:Path",
            "search.inner: 'pathlib:Path' is not a subclass of optuna.samplers.BaseSampler",
        ),
        (
            "optuna.samplers:BaseSampler",
            "search.inner: 'optuna.samplers:BaseSampler' is an abstract class",
        ),
        (
            f"{__name__}:Unseeded",
            f"search.inner: '{__name__}:Unseeded' has no argument `seed`, which repeating or resuming a study requires",
        ),
    ],
)
def test_anything_but_a_sampler_class_is_refused(make: Make, path: str, message: str) -> None:
    """The object is not called, and the message describes it."""
    with pytest.raises(ExperimentError) as caught:
        make(options={"inner": path})
    assert str(caught.value) == message


def test_options_that_the_class_rejects_are_reported(make: Make) -> None:
    """The message appears before the first trial and contains the class's error."""
    with pytest.raises(ExperimentError) as caught:
        make(options={"inner": "tpe", "inner_options": {"n_startup": 3}})
    assert str(caught.value) == (
        "search.inner_options: TPESampler rejects them: TPESampler.__init__() got an unexpected keyword argument "
        "'n_startup'"
    )


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (
            {"inner": "fronteer"},
            "inner: 'fronteer' is neither one of frontier, tpe, gp, random, qmc nor a class as package.module:Class",
        ),
        ({"inner": "qmc", "inner_options": {"seed": 1}}, "inner_options: 'qmc' has no options"),
    ],
)
def test_a_misspelt_inner_is_found_with_the_file(settings: dict[str, Any], message: str) -> None:
    """The options reject it, so that `scalecore check` reports the line."""
    with pytest.raises(ValueError, match=f"^{message}$"):
        ArchitecturalOptions(**settings)


def test_gp_without_torch_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """The message names an alternative."""
    monkeypatch.setattr(inner_samplers, "find_spec", lambda name: None)
    with pytest.raises(ExperimentError) as caught:
        inner_sampler("gp", options={}, seed=1)
    assert str(caught.value) == (
        "search.inner: 'gp' is Optuna's GPSampler, which needs torch, and torch is not installed; install it, or "
        "use 'frontier', which does not need torch"
    )


@pytest.mark.skipif(importlib.util.find_spec("torch") is None, reason="torch is not installed")
def test_gp_proposes_feasible_architectures(make: Make, drive: Callable[..., list[Proposal]]) -> None:
    """Optuna's Gaussian process works as inner sampler and is reproducible with the same seed."""
    import torch

    torch.set_num_threads(1)
    options = {"inner": "gp", "startup_trials": 4, "forced": "none"}
    proposals = drive(make(options=options), range(6))
    assert [proposal.origin.kind for proposal in proposals[:4]] == ["startup"] * 4
    assert proposals == drive(make(options=options), range(6))


def test_names_are_optunas_classes() -> None:
    """`tpe` and `random` are Optuna's samplers; a path may name any other."""
    assert type(inner_sampler("tpe", options={}, seed=1)) is TPESampler
    assert type(inner_sampler("random", options={}, seed=1)) is RandomSampler
    assert type(inner_sampler("optuna.samplers:QMCSampler", options={}, seed=1)) is QMCSampler
