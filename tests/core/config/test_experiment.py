"""The experiment file: types are strict, and all problems are reported at once with their positions."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from scalecore.api.errors import ExitCode, ExperimentError
from scalecore.api.space import Choice, IntRange, LogUniform, Uniform
from scalecore.config.experiment import Budget, ComponentRef
from scalecore.config.load import load_experiment


def error_of(name: str, *overrides: str) -> str:
    """The message for a file that cannot be loaded."""
    with pytest.raises(ExperimentError) as caught:
        load_experiment(name, overrides=overrides)
    assert caught.value.exit_code is ExitCode.BAD_FILE
    return str(caught.value)


def test_a_small_file_has_every_default(write: Any, small: str) -> None:
    """Only name, dataset, model and search.use are required."""
    experiment = load_experiment(write(small)).experiment

    assert (experiment.name, experiment.seed, experiment.output) == ("small", 0, None)
    assert experiment.dataset == ComponentRef(use="table")
    assert experiment.model == ComponentRef(use="toy", options={"width": 8})
    assert (experiment.search.component, experiment.search.trials) == (ComponentRef(use="dice"), 50)
    assert experiment.execution.component == ComponentRef(use="local")
    assert (experiment.objective.metric, experiment.objective.reduction) == ("val_loss", "best")
    assert experiment.training.component == ComponentRef(use="torch")
    assert experiment.monitors == []
    assert experiment.loggers == [ComponentRef(use="console"), ComponentRef(use="files")]


def test_a_full_file(write: Any) -> None:
    """Every key is read as written, and keys of the component are separated from those of the section."""
    text = """\
name: full-1.0_b
seed: 7
output: out/here
dataset: {use: table, rows: 5}
model: plain
search:
  use: dice
  sides: 8
  trials: 12
  budget: 1.5B
  tolerance: 0.1
  exclude: ["d_model == 64"]
  space:
    a: {log_uniform: [1e-4, 1]}
    b: {uniform: [0, 0.5]}
    c: {int: [1, 9], step: 2}
    d: {int: [1, 8], log: true}
    e: {choice: [gelu, relu]}
    f: {choice: [1, 0.5]}
    g: {choice: [true, false]}
    h: {choice: [5, 3]}
objective: {metric: auc, direction: maximize, reduction: last}
training: {micro_batch: 8, gradient_clip: null, early_stopping: null, hyperparameters: {epochs: 2}, checkpoint_every: 5}
execution: {use: ships, harbor: Ravenna, slots: 2, retry: {crash: 0}}
guards: {min_validation_samples: 5}
monitors: [clock, {use: clock, sides: 3}]
loggers: []
"""
    experiment = load_experiment(write(text)).experiment

    assert experiment.output == Path.cwd() / "out" / "here"
    assert experiment.search.component == ComponentRef(use="dice", options={"sides": 8})
    assert experiment.search.budget == Budget(text="1.5B", parameters=1_500_000_000)
    assert experiment.search.space == {
        "a": LogUniform(low=1e-4, high=1.0),
        "b": Uniform(low=0.0, high=0.5),
        "c": IntRange(low=1, high=9, step=2),
        "d": IntRange(low=1, high=8, log=True),
        "e": Choice(values=("gelu", "relu")),
        "f": Choice(values=(1.0, 0.5)),
        "g": Choice(values=(True, False)),
        "h": Choice(values=(5, 3)),
    }
    assert [type(one) for one in experiment.search.space["f"].bounds()] == [float, float]
    assert [type(one) for one in experiment.search.space["h"].bounds()] == [int, int]
    own = {"micro_batch": 8, "gradient_clip": None}
    assert experiment.training.component == ComponentRef(use="torch", options=own)
    assert experiment.training.early_stopping is None
    assert type(experiment.training.checkpoint_every) is float
    assert experiment.execution.component == ComponentRef(use="ships", options={"harbor": "Ravenna"})
    assert (experiment.execution.slots, experiment.execution.retry.crash) == (2, 0)
    assert experiment.monitors == [ComponentRef(use="clock"), ComponentRef(use="clock", options={"sides": 3})]
    assert experiment.loggers == []


@pytest.mark.parametrize(
    ("text", "parameters", "kept"),
    [
        ("250000", 250_000, "250000"),
        ("250k", 250_000, "250k"),
        ("'3 K'", 3_000, "3K"),
        ("2M", 2_000_000, "2M"),
        ("35M", 35_000_000, "35M"),
        ("1.5B", 1_500_000_000, "1.5B"),
        ("0.002M", 2_000, "0.002M"),
    ],
)
def test_budgets(write: Any, small: str, text: str, parameters: int, kept: str) -> None:
    """A budget is exact, and keeps its text."""
    name = write(small.replace("{use: dice}", f"{{use: dice, budget: {text}}}"))

    assert load_experiment(name).experiment.search.budget == Budget(text=kept, parameters=parameters)


BAD_BUDGET = "search.budget: expected a number of parameters (such as 2M, 1.5B or 250000) or null, got "
TWO = "expected two numbers, [low, high]"


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ("2X", f"{BAD_BUDGET}string '2X'"),
        ("-2M", f"{BAD_BUDGET}string '-2M'"),
        ("true", f"{BAD_BUDGET}true"),
        ("2e6", f"{BAD_BUDGET}2000000.0; write 2000000"),
        ("1.5", f"{BAD_BUDGET}1.5"),
        ("[2M]", f"{BAD_BUDGET}a list"),
        ("0", "search.budget: a budget must be a whole number of parameters, at least 1, got 0"),
        ("0.0001k", "search.budget: a budget must be a whole number of parameters, at least 1, got string '0.0001k'"),
    ],
)
def test_wrong_budgets(write: Any, small: str, value: str, message: str) -> None:
    """Other values are refused, with the allowed forms."""
    name = write(small.replace("{use: dice}", f"\n  use: dice\n  budget:   {value}"))

    column = 3 if value == "[2M]" else 13
    assert error_of(name) == f"experiment.yaml:6:{column}: {message}"


@pytest.mark.parametrize(
    ("value", "place", "message"),
    [
        ("0.5", "7:8", "x: expected a distribution such as `uniform: [0.1, 0.3]` or `choice: [1, 2]`, got 0.5"),
        ("[1, 2]", "7:5", "x: expected a distribution such as `uniform: [0.1, 0.3]` or `choice: [1, 2]`, got a list"),
        ("{}", "7:5", "x: expected one of log_uniform, uniform, int, choice, got none"),
        ("{step: 2}", "7:5", "x: expected one of log_uniform, uniform, int, choice, got none"),
        ("{unifrom: [1, 2]}", "7:9", "x.unifrom: unknown key; did you mean 'uniform'?"),
        ("{zzz: 1}", "7:9", "x.zzz: unknown key; expected one of log_uniform, uniform, int, choice"),
        (
            "{uniform: [1, 2], int: [1, 2]}",
            "7:5",
            "x: expected one of log_uniform, uniform, int, choice, got uniform and int",
        ),
        ("{uniform: 1}", "7:18", f"x.uniform: {TWO}"),
        ("{uniform: [1]}", "7:9", f"x.uniform: {TWO}"),
        ("{uniform: [1, 2, 3]}", "7:9", f"x.uniform: {TWO}"),
        ("{uniform: [a, 2]}", "7:9", f"x.uniform: {TWO}"),
        ("{uniform: [true, 2]}", "7:9", f"x.uniform: {TWO}"),
        ("{uniform: [2, 1]}", "7:9", "x.uniform: low must be less than high, got [2, 1]"),
        ("{uniform: [2, 2]}", "7:9", "x.uniform: low must be less than high, got [2, 2]"),
        ("{uniform: [1, 2], step: 1}", "7:32", "x.step: step is allowed only with `int`"),
        ("{uniform: [1, 2], log: true}", "7:31", "x.log: log is allowed only with `int`"),
        ("{uniform: [1, 2], lg: true}", "7:26", "x.lg: unknown key; expected one of uniform"),
        (
            "{log_uniform: [0, 2]}",
            "7:9",
            "x.log_uniform: both ends must be greater than 0 on a logarithmic scale, got 0",
        ),
        (
            "{log_uniform: [-1, 2]}",
            "7:9",
            "x.log_uniform: both ends must be greater than 0 on a logarithmic scale, got -1",
        ),
        ("{int: [1, 2.5]}", "7:9", "x.int: expected two integers, [low, high]"),
        ("{int: [0, 4], log: true}", "7:9", "x.int: both ends must be greater than 0 on a logarithmic scale, got 0"),
        ("{int: [1, 4], step: 0}", "7:28", "x.step: expected an integer of at least 1, got 0"),
        ("{int: [1, 4], step: two}", "7:28", "x.step: expected an integer of at least 1, got string 'two'"),
        ("{int: [1, 4], log: 1}", "7:27", "x.log: expected true or false, got 1"),
        (
            "{int: [1, 5], step: 2, log: true}",
            "7:28",
            "x.step: `step` and `log` cannot be combined; remove one of them",
        ),
        ("{int: [1, 8], step: 3}", "7:28", "x.step: steps of 3 from 1 do not reach 8; the largest value would be 7"),
        ("{int: [1, 8], stpe: 7}", "7:22", "x.stpe: unknown key; did you mean 'step'?"),
        ("{choice: 1}", "7:17", "x.choice: expected a list of values, got 1"),
        ("{choice: []}", "7:9", "x.choice: must not be empty"),
        ("{choice: [1, 2, 1]}", "7:9", "x.choice: 1 is listed twice"),
        ("{choice: [1, 1.0]}", "7:9", "x.choice: 1.0 is listed twice"),
        ("{choice: [a, 1]}", "7:9", "x.choice: values must have one type: numbers, strings or booleans"),
        ("{choice: [true, 1]}", "7:9", "x.choice: values must have one type: numbers, strings or booleans"),
        ("{choice: [null]}", "7:9", "x.choice: expected numbers, strings or booleans, got nothing"),
        ("{choice: [[1]]}", "7:9", "x.choice: expected numbers, strings or booleans, got a list"),
    ],
)
def test_wrong_distributions(write: Any, small: str, value: str, place: str, message: str) -> None:
    """Ranges are ordered, logarithms positive, choices distinct and of one type."""
    name = write(small.replace("{use: dice}", f"\n  use: dice\n  space:\n    x: {value}"))

    assert error_of(name) == f"experiment.yaml:{place}: search.space.{message}"


NAME_RULE = "a name may contain letters, digits, `-`, `_` and `.`, and must not start with `-` or `.`"


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ("5", "expected a string, got 5; put it in quotes"),
        ("1e-3", "expected a string, got 0.001; put it in quotes"),
        ("true", "expected a string, got true; put it in quotes"),
        ("", "expected a string, got nothing"),
        ("[a]", "expected a string, got a list"),
        ("''", "must not be empty"),
        ("a/b", f"{NAME_RULE}, got string 'a/b'"),
        ("..", f"{NAME_RULE}, got string '..'"),
        ("-a", f"{NAME_RULE}, got string '-a'"),
        (".a", f"{NAME_RULE}, got string '.a'"),
        ("a b", f"{NAME_RULE}, got string 'a b'"),
        ("größe", f"{NAME_RULE}, got string 'größe'"),
        ('"a\\n"', f"{NAME_RULE}, got string 'a\\n'"),
        ("a" * 101, "must have at most 100 characters, got 101"),
    ],
)
def test_wrong_names(write: Any, small: str, value: str, message: str) -> None:
    """The name is part of file names, so it must not be a path, a flag or a hidden file."""
    name = write(small.replace("name: small", f"name: {value}"))
    column = {"": 6, "[a]": 1}.get(value, 7)

    assert error_of(name) == f"experiment.yaml:1:{column}: name: {message}"


@pytest.mark.parametrize("value", ["a", "A-b_c.9", "_x", "2024-01-01", "on", "007", "a" * 100])
def test_valid_names(write: Any, small: str, value: str) -> None:
    """Words that YAML 1.1 would read as dates, booleans or octal numbers are names."""
    name = write(small.replace("name: small", f"name: {value}"))

    assert load_experiment(name).experiment.name == value


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("seeed: 1", "5:1: seeed: unknown key; did you mean 'seed'?"),
        (
            "zzz: 1",
            "5:1: zzz: unknown key; expected one of name, description, seed, output, plugins, dataset, model, search, "
            "objective, training, execution, guards, monitors, loggers, confirm, analyses, sweep",
        ),
        ("seed: -1", "5:7: seed: must be at least 0, got -1"),
        (f"seed: {2**63}", f"5:7: seed: must be less than {2**63}, got {2**63}"),
        ("seed: 1.0", "5:7: seed: expected an integer, got 1.0; write 1"),
        ("seed: 1.5", "5:7: seed: expected an integer, got 1.5"),
        ("seed: true", "5:7: seed: expected an integer, got true"),
        ("seed: '1'", "5:7: seed: expected an integer, got string '1'"),
        ("seed: 1_000", "5:7: seed: expected an integer, got string '1_000'"),
        ("seed:", "5:6: seed: expected an integer, got nothing"),
        ("output: 5", "5:9: output: expected a path or null, got 5"),
        ("output: ''", "5:9: output: expected a path or null, got string ''"),
        ("objective: best", "5:12: objective: expected a mapping, got string 'best'"),
        ("objective:", "5:11: objective: expected a mapping, got nothing"),
        ("objective: [a]", "5:1: objective: expected a mapping, got a list"),
        (
            "objective: {direction: minimise}",
            "5:24: objective.direction: expected one of minimize, maximize, got string 'minimise'; "
            "did you mean minimize?",
        ),
        ("objective: {direction: 1}", "5:24: objective.direction: expected one of minimize, maximize, got 1"),
        ("objective: {dirction: minimize}", "5:13: objective.dirction: unknown key; did you mean 'direction'?"),
        ("training: {checkpoint_every: true}", "5:30: training.checkpoint_every: expected a number, got true"),
        (f"training: {{checkpoint_every: 1{'0' * 299}}}", None),
        ("training: {early_stopping: a}", "5:28: training.early_stopping: expected a mapping or null, got string 'a'"),
        (
            "training: {early_stopping: {patience: 0}}",
            "5:39: training.early_stopping.patience: must be at least 1, got 0",
        ),
        (
            "training: {early_stopping: {patince: 3}}",
            "5:29: training.early_stopping.patince: unknown key; did you mean 'patience'?",
        ),
        ("training: {hyperparameters: [a]}", "5:12: training.hyperparameters: expected a mapping, got a list"),
        ("execution: {slots: 0}", "5:20: execution.slots: must be at least 1, got 0"),
        ("execution: {retry: {crash: 101}}", "5:28: execution.retry.crash: must be at most 100, got 101"),
        ("execution: local", "5:12: execution: expected a mapping, got string 'local'"),
        ("monitors: clock", "5:11: monitors: expected a list, got string 'clock'"),
        ("monitors: [3]", "5:12: monitors.0: expected the name of a component, or a mapping with `use`, got 3"),
        ("monitors: [{sides: 3}]", "5:12: monitors.0.use: required, but missing"),
        ("monitors: [{use: 3}]", "5:18: monitors.0.use: expected the name of a component, got 3"),
        ("monitors: ['']", "5:12: monitors.0: expected the name of a component, got string ''"),
        ("monitors: [clock, clock]", "5:19: monitors.1: clock is listed twice with the same options"),
        (
            "loggers:\n- console\n- {use: console, a: 1}\n- {use: console, a: 1}",
            "8:3: loggers.2: console is listed twice with the same options",
        ),
    ],
)
def test_wrong_values(write: Any, small: str, line: str, message: str | None) -> None:
    """Each wrong value is one line: position, key, expectation and value."""
    name = write(f"{small}{line}\n")
    if message is None:
        load_experiment(name)
    else:
        assert error_of(name) == f"experiment.yaml:{message}"


def test_missing_keys(write: Any) -> None:
    """All missing keys are reported at once, at the mapping that lacks them."""
    assert error_of(write("seed: 1\nsearch:\n  trials: 3\n")) == (
        "experiment.yaml:1:1: name: required, but missing\n"
        "experiment.yaml:1:1: dataset: required, but missing\n"
        "experiment.yaml:1:1: model: required, but missing\n"
        "experiment.yaml:2:1: search.use: required, but missing"
    )


def test_all_problems_come_at_once_in_the_order_of_the_file(write: Any) -> None:
    """Syntax, types, constraints and unknown keys are all in one message."""
    text = """\
name: a/b
dataset: {}
model: toy
seed: x
seed: 2
search:
  use: dice
  trials: 0
  budget: 2X
  space: {p: {uniform: [2, 1]}, q: {choice: []}}
training: {device: gpu}
"""
    assert error_of(write(text)) == (
        f"experiment.yaml:1:7: name: {NAME_RULE}, got string 'a/b'\n"
        "experiment.yaml:2:1: dataset.use: required, but missing\n"
        "experiment.yaml:4:7: seed: expected an integer, got string 'x'\n"
        "experiment.yaml:5:1: seed: the key is given twice, first in line 4, column 1\n"
        "experiment.yaml:8:11: search.trials: must be at least 1, got 0\n"
        f"experiment.yaml:9:11: {BAD_BUDGET}string '2X'\n"
        "experiment.yaml:10:15: search.space.p.uniform: low must be less than high, got [2, 1]\n"
        "experiment.yaml:10:37: search.space.q.choice: must not be empty\n"
        "experiment.yaml:11:20: training.device: expected one of auto, cpu, cuda, mps, got string 'gpu'; "
        "did you mean cpu?"
    )


def test_the_file_is_named_as_the_user_named_it(write: Any, small: str, tmp_path: Path) -> None:
    """Positions start with the path that was typed, so that they can be clicked."""
    write(small + "seed: x\n")

    assert error_of("./experiment.yaml").startswith("./experiment.yaml:5:7: seed: ")
    assert error_of(f"{tmp_path}/experiment.yaml").startswith(f"{tmp_path}/experiment.yaml:5:7: seed: ")


def test_a_caller_can_raise_problems_at_a_place(write: Any, small: str) -> None:
    """Later checks report the position of the value, of the key, or of the nearest parent."""
    loaded = load_experiment(write(small + "seed: 3\n"), overrides=["search.trials=4"])

    with pytest.raises(ExperimentError) as caught:
        loaded.fail(
            [
                loaded.problem(("seed",), "is odd"),
                loaded.problem(("seed",), "is a key", key=True),
                loaded.problem(("search", "space", "rate"), "is missing"),
                loaded.problem(("search", "trials"), "are few"),
                loaded.problem(("seed",), "is odd"),
            ]
        )

    assert str(caught.value) == (
        "experiment.yaml:4:1: search.space.rate: is missing\n"
        "experiment.yaml:5:1: seed: is a key\n"
        "experiment.yaml:5:7: seed: is odd\n"
        "<command line>: search.trials=4: are few"
    )
    assert caught.value.exit_code is ExitCode.BAD_FILE
    assert loaded.positions["seed",].line == 5
