"""KEY=VALUE on the command line."""

from __future__ import annotations

from typing import Any

import pytest

from scalecore.api.errors import ExperimentError
from scalecore.api.space import Choice, Uniform
from scalecore.config.experiment import Budget, ComponentRef
from scalecore.config.load import load_experiment


def experiment_of(name: str, *overrides: str) -> Any:
    """The experiment with the overrides set."""
    return load_experiment(name, overrides=overrides).experiment


def error_of(name: str, *overrides: str) -> str:
    """The message for overrides that are refused."""
    with pytest.raises(ExperimentError) as caught:
        load_experiment(name, overrides=overrides)
    return str(caught.value)


def test_values_are_read_as_in_the_file(write: Any, small: str) -> None:
    """Numbers, null, lists and mappings have the same meaning as in the file; the last of two overrides wins."""
    experiment = experiment_of(
        write(small + "seed: 4\n"),
        "search.trials=5",
        "seed=1",
        "seed=2",
        "training.gradient_clip=1e-3",
        "training.early_stopping=null",
        "search.budget=2M",
        "search.space.rate={uniform: [0.1, 0.3]}",
        "search.exclude=['a == 1']",
    )

    assert (experiment.search.trials, experiment.seed) == (5, 2)
    assert (experiment.training.component.options, experiment.training.early_stopping) == (
        {"gradient_clip": 1e-3},
        None,
    )
    assert experiment.search.budget == Budget(text="2M", parameters=2_000_000)
    assert experiment.search.space == {"rate": Uniform(low=0.1, high=0.3)}
    assert experiment.search.exclude == ["a == 1"]


def test_missing_mappings_are_created(write: Any, small: str) -> None:
    """Also for a key below an empty one."""
    experiment = experiment_of(
        write(small + "training:\n"),
        "training.early_stopping.patience=3",
        "execution.retry.crash=1",
        "search.space.a.choice=[1, 2]",
    )

    assert experiment.training.early_stopping.patience == 3
    assert experiment.execution.retry.crash == 1
    assert experiment.search.space == {"a": Choice(values=(1, 2))}


def test_items_of_lists_are_numbered(write: Any, small: str) -> None:
    """An item is replaced, changed inside, or added at the end."""
    text = small + "loggers: [console, files, {use: csv, path: a.csv}]\n"

    experiment = experiment_of(write(text), "loggers.0=quiet", "loggers.2.path=b.csv", "loggers.3=last")

    assert experiment.loggers == [
        ComponentRef(use="quiet"),
        ComponentRef(use="files"),
        ComponentRef(use="csv", options={"path": "b.csv"}),
        ComponentRef(use="last"),
    ]


def test_a_bare_component_accepts_options(write: Any, small: str) -> None:
    """Setting an option of a component that is a string in the file keeps the component."""
    text = small + "monitors: [clock]\nloggers: [table]\nanalyses: [summary]\n"
    overrides = ("dataset.rows=3", "monitors.0.sides=8", "loggers.0.sides=8", "analyses.0.sides=8")
    experiment = experiment_of(write(text), *overrides)

    assert experiment.dataset == ComponentRef(use="table", options={"rows": 3})
    assert experiment.monitors == [ComponentRef(use="clock", options={"sides": 8})]
    assert experiment.loggers == [ComponentRef(use="table", options={"sides": 8})]
    assert experiment.analyses == [ComponentRef(use="summary", options={"sides": 8})]


def test_swapping_a_component_keeps_the_other_options(write: Any, small: str) -> None:
    """`model.use=plain` changes one key; the remaining options are checked against the new component."""
    assert experiment_of(write(small), "model.use=plain").model == ComponentRef(use="plain", options={"width": 8})


def test_an_override_fixes_a_wrong_value(write: Any, small: str) -> None:
    """A wrong value that is replaced is no longer a problem."""
    assert experiment_of(write(small + "seed: wrong\n"), "seed=3").seed == 3


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("search.trials=0", "search.trials=0: must be at least 1, got 0"),
        ("search.trials=five", "search.trials=five: expected an integer, got string 'five'"),
        ("seeed=1", "seeed=1: unknown key; did you mean 'seed'?"),
        (
            "search.space={a: {uniform: [2, 1]}}",
            "search.space={a: {uniform: [2, 1]}}: search.space.a.uniform: low must be less than high, got [2, 1]",
        ),
        (
            "execution.retry.crsh=3",
            "execution.retry.crsh=3: unknown key; did you mean 'crash'?",
        ),
        ("seed", "seed: expected KEY=VALUE, for example search.trials=5"),
        ("=3", "=3: expected KEY=VALUE, for example search.trials=5"),
        ("search..trials=3", "search..trials=3: expected KEY=VALUE, for example search.trials=5"),
        ("seed\n", "seed\\n: expected KEY=VALUE, for example search.trials=5"),
        (
            "\x1b[31m=3",
            "\\x1b[31m=3: unknown key; expected one of name, description, seed, output, plugins, dataset, model, "
            "search, objective, training, execution, guards, monitors, loggers, confirm, analyses, sweep",
        ),
        ("seed=[1", "seed=[1: not valid YAML: the list that starts here is not closed"),
        (
            "search.space={a: {choice: [1]}, a: 2}",
            "search.space={a: {choice: [1]}, a: 2}: search.space.a: the key is given twice, first in the same value",
        ),
        ("seed=!!python/none x", "seed=!!python/none x: the tag '!!python/none' is not allowed here; leave it out"),
        ("name.first=a", "name.first=a: name is string 'small', which has no keys"),
        ("search.use.x.y=a", "search.use.x.y=a: search.use is string 'dice', which has no keys"),
        (
            "loggers.2=files",
            "loggers.2=files: loggers is a list of 1: give the index of an item, from 0, or + to add one",
        ),
        (
            f"loggers.{'9' * 5000}=files",
            f"loggers.{'9' * 992}...: loggers is a list of 1: give the index of an item, from 0, or + to add one",
        ),
        (
            "loggers.last=files",
            "loggers.last=files: loggers is a list of 1: give the index of an item, from 0, or + to add one",
        ),
        (
            "loggers.-1=files",
            "loggers.-1=files: loggers is a list of 1: give the index of an item, from 0, or + to add one",
        ),
        ("objective=", "objective=: expected a mapping, got nothing"),
    ],
)
def test_problems_have_the_text_of_the_override(write: Any, small: str, override: str, message: str) -> None:
    """The position of a value from the command line is the override itself."""
    assert error_of(write(small + "loggers: [console]\n"), override) == f"<command line>: {message}"


def test_problems_of_the_file_come_first(write: Any, small: str) -> None:
    """File and command line are reported together."""
    assert error_of(write(small + "seed: x\n"), "training.device=gpu", "search.trials=0", "oops") == (
        "experiment.yaml:5:7: seed: expected an integer, got string 'x'\n"
        "<command line>: oops: expected KEY=VALUE, for example search.trials=5\n"
        "<command line>: search.trials=0: must be at least 1, got 0\n"
        "<command line>: training.device=gpu: expected one of auto, cpu, cuda, mps, got string 'gpu'; did you mean cpu?"
    )
