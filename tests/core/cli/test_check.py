"""`scalecore check`."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from click.testing import Result

from scalecore import __version__


def test_a_valid_file(invoke: Any, mine: str) -> None:
    """The output is ok, and each component is listed with its provider."""
    result = invoke("check", mine)

    assert (result.exit_code, result.stderr) == (0, "")
    assert result.stdout == (
        "mine.yaml: ok\n"
        "  dataset   my-table (acme 1.2)\n"
        "  model     my-model (acme 1.2)\n"
        "  search    my-search (acme 1.2)\n"
        f"  training  torch (scalecore-torch {__version__})\n"
        "  execution my-rack (acme 1.2)\n"
        "  monitors  none\n"
        "  loggers   my-logger (acme 1.2)\n"
        "  analyses  none\n"
    )


def test_an_invalid_file(invoke: Any, mine: str) -> None:
    """All problems on stderr, nothing on stdout, exit code 2."""
    result = invoke("check", mine, "search.trials=0", "seeed=1")

    assert (result.exit_code, result.stdout) == (2, "")
    assert result.stderr == (
        "<command line>: seeed=1: unknown key; did you mean 'seed'?\n"
        "<command line>: search.trials=0: must be at least 1, got 0\n"
    )


def test_a_missing_plugin(invoke: Any, mine: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A component that is not installed: the exit code of plugins, and the position of the name."""
    # Any package of this project may be installed where the tests run.
    monkeypatch.setattr("scalecore.plugins.registry._PROVIDERS", {("logger", "pigeon"): "scalecore-pigeon"})
    result = invoke("check", mine, "--block", "acme", "loggers=[pigeon]")

    assert (result.exit_code, result.stdout) == (3, "")
    lines = result.stderr.splitlines()
    assert len(lines) == 5
    assert lines[0].startswith("mine.yaml:2:10: dataset: there is no dataset 'my-table'")
    assert "acme 1.2 is blocked: excluded by --block acme" in lines[0]
    assert lines[3].startswith("mine.yaml:5:18: execution.use: there is no executor 'my-rack'")
    assert lines[4] == (
        "<command line>: loggers=[pigeon]: loggers.0: logger 'pigeon' is not installed; "
        "`pip install scalecore-pigeon` provides it"
    )


def test_swapping_a_logger_is_one_line(invoke: Any, mine: str, fake_plugin: Any) -> None:
    """Another distribution's logger is used by changing its name in the file."""
    code = "from scalecore import hookimpl\nfrom scalecore.api.components import LoggerRecord\n"
    code += "@hookimpl\ndef scalecore_loggers():\n"
    code += "    return [LoggerRecord(name='pigeon', summary='By air.', factory=print)]\n"
    fake_plugin("loft", version="3.0", code=code)
    text = Path(mine).read_text()
    Path(mine).write_text(text.replace("loggers: [my-logger]", "loggers: [pigeon]"))

    assert invoke("check", mine).stdout.splitlines()[-2] == "  loggers   pigeon (loft 3.0)"


def test_json_of_a_valid_file(invoke: Any, mine: str) -> None:
    """JSON has the components with their providers."""
    result = invoke("check", mine, "--json")

    assert json.loads(result.stdout) == {
        "file": "mine.yaml",
        "ok": True,
        "studies": [],
        "components": {
            "dataset": [{"use": "my-table", "provider": "acme", "version": "1.2"}],
            "model": [{"use": "my-model", "provider": "acme", "version": "1.2"}],
            "search": [{"use": "my-search", "provider": "acme", "version": "1.2"}],
            "training": [{"use": "torch", "provider": "scalecore-torch", "version": __version__}],
            "execution": [{"use": "my-rack", "provider": "acme", "version": "1.2"}],
            "monitors": [],
            "loggers": [{"use": "my-logger", "provider": "acme", "version": "1.2"}],
            "analyses": [],
        },
    }


def test_json_of_an_invalid_file(invoke: Any, mine: str) -> None:
    """JSON has the problems with their positions; the exit code is the same."""
    Path(mine).write_text(Path(mine).read_text() + "seed: x\n")

    result = invoke("check", mine, "search.trials=0", "--json")

    assert result.exit_code == 2
    assert json.loads(result.stdout) == {
        "file": "mine.yaml",
        "ok": False,
        "problems": [
            {
                "file": "mine.yaml",
                "line": 7,
                "column": 7,
                "override": None,
                "key": "seed",
                "kind": "file",
                "message": "expected an integer, got string 'x'",
            },
            {
                "file": None,
                "line": None,
                "column": None,
                "override": "search.trials=0",
                "key": "search.trials",
                "kind": "file",
                "message": "must be at least 1, got 0",
            },
        ],
    }


def test_json_of_an_unreadable_file(invoke: Any) -> None:
    """A file that cannot be read is one problem without a position."""
    result = invoke("check", "no.yaml", "--json")

    assert result.exit_code == 2
    assert json.loads(result.stdout) == {
        "file": "no.yaml",
        "ok": False,
        "problems": [{"message": "no.yaml: there is no such file"}],
    }


def test_annotations_for_github(invoke: Any, mine: str) -> None:
    """One command per problem, for its line; special characters in a value are escaped; exit codes are the same."""
    Path(mine).write_text(Path(mine).read_text() + "seed: x\nobjective: {metric: [1, 2]}\n")

    result = invoke("check", mine, "guards.margin=a,b:c", "--format", "github")

    assert result.exit_code == 2
    assert result.stdout.splitlines() == [
        "::error file=mine.yaml,line=7,col=7,title=seed::expected an integer, got string 'x'",
        "::error file=mine.yaml,line=8,col=13,title=objective.metric::expected a string, got a list",
        "::error title=scalecore check guards.margin=a%2Cb%3Ac::expected a number or null, got string 'a,b:c'",
    ]
    gone = invoke("check", "a%b.yaml", "--format", "github")
    assert (gone.exit_code, gone.stdout) == (
        2,
        "::error file=a%25b.yaml,title=scalecore check::a%25b.yaml: there is no such file\n",
    )
    right = invoke("check", "mine.yaml", "seed=1", "objective.metric=val_loss", "--format", "github")
    assert right.stdout.startswith("mine.yaml: ok\n")


@pytest.fixture
def on_data(invoke: Any, tmp_path: Path) -> Callable[..., Result]:
    """Run a command on an experiment of a data file and these further lines, starting at line 4."""

    def run(*lines: str, target: str = "{kind: direction}", command: str = "check") -> Result:
        (tmp_path / "data.csv").touch()
        search = [] if any(line.startswith("search") for line in lines) else ["search: {use: random}"]
        dataset = f"dataset: {{use: parquet, path: data.csv, features: [Close], target: {target}}}"
        (tmp_path / "mine.yaml").write_text("\n".join(["name: mine", dataset, "model: linear", *lines, *search, ""]))
        return invoke(command, "mine.yaml", "--no-plugins")

    return run


@pytest.mark.parametrize(
    ("objective", "problem"),
    [
        ("{metric: auc}", "4:1: objective.direction: a larger auc is better, so minimize would"),
        (
            "{metric: val_loss, direction: maximize}",
            "4:42: objective.direction: a smaller val_loss is better, so maximize would",
        ),
        ("{metric: auc, direction: maximize}", None),
    ],
)
def test_an_objective_in_the_wrong_direction_is_refused(on_data: Any, objective: str, problem: str | None) -> None:
    """The search would find the worst trial."""
    result = on_data(f"objective: {objective}")
    if problem is None:
        assert result.exit_code == 0, result.output
    else:
        right = "minimize" if "maximize would" in problem else "maximize"
        assert result.exit_code == 2
        assert f"mine.yaml:{problem} rank the worst trial first; set {right}\n" in result.stderr


@pytest.mark.parametrize(
    ("target", "loss", "objective", "problem"),
    [
        (
            "{kind: forward_return}",
            "{kind: focal, gamma: 1.5}",
            "{}",
            "5:25: training.loss.kind: focal is not a loss for a forecast, the task of the target; use one of mse, "
            "mae, quantile",
        ),
        (
            "{kind: direction}",
            "{kind: focal, class_weights: auto}",
            "{}",
            "5:47: training.loss.class_weights: does not apply to a binary task, the task of the target",
        ),
        (
            "{kind: direction}",
            "{kind: soft_auc, bce_share: 0}",
            "{}",
            "5:12: training.loss: val_loss cannot rank trials of soft_auc without cross-entropy, which leaves the "
            "level of the logits undetermined; set objective.metric to auc with direction maximize, or bce_share "
            "above 0",
        ),
        ("{kind: direction}", "{kind: soft_auc, bce_share: 0}", "{metric: auc, direction: maximize}", None),
        ("{kind: label, column: y}", "{kind: quantile}", "{}", None),
        (
            "{kind: forward_return}",
            "{kind: quantile, quantiles: [0.9, 0.5]}",
            "{}",
            "5:12: training.loss: quantiles: must be in ascending order without duplicates",
        ),
    ],
)
def test_g11_a_loss_of_another_task_is_refused(
    on_data: Any, target: str, loss: str, objective: str, problem: str | None
) -> None:
    """Found without reading data if the target determines the task, at the wrong key, with a remedy."""
    result = on_data(f"objective: {objective}", f"training: {{loss: {loss}}}", target=target)
    if problem is None:
        assert result.exit_code == 0, result.output
    else:
        assert result.exit_code == 2
        assert f"mine.yaml:{problem}\n" in result.stderr


NAMES = [
    (
        "search: {use: random, space: {momentum: {uniform: [0, 1]}}}",
        "4:31: search.space.momentum: unknown hyper-parameter 'momentum'; the trainer and model 'linear' read epochs, "
        "learning_rate, warmup_steps, weight_decay",
    ),
    (
        "training: {hyperparameters: {drop: 0.1}}",
        "4:36: training.hyperparameters.drop: unknown hyper-parameter 'drop'; the trainer and model 'linear' read "
        "epochs, learning_rate, warmup_steps, weight_decay",
    ),
    ("training: {hyperparameters: {epochs: 0}}", "4:38: training.hyperparameters.epochs: 0 is below 1"),
    (
        "objective: {metric: sharpe}",
        "4:21: objective.metric: 'sharpe' is not measured; the task binary measures accuracy, auc, brier, f1, pr_auc, "
        "precision, recall, train_loss, val_loss",
    ),
    (
        "objective: {metric: mae}",
        "4:21: objective.metric: 'mae' is not measured; the task binary measures accuracy, auc, brier, f1, pr_auc, "
        "precision, recall, train_loss, val_loss",
    ),
    (
        "search: {use: random, exclude: [width > 1]}",
        "4:33: search.exclude.0: 'width' in 'width > 1' is not a dimension; the dimensions are none",
    ),
]


@pytest.mark.parametrize(("line", "problem"), NAMES)
def test_problems_with_names_are_found_without_data(on_data: Any, line: str, problem: str) -> None:
    """An unused hyper-parameter, a metric that is not measured, a condition on no dimension, with positions."""
    for command in ("check", "plan", "run"):
        result = on_data(line, command=command)
        if command != "check" and "exclude" in problem:
            continue  # found once the data is read, which is empty here
        assert (result.exit_code, result.stderr) == (2, f"mine.yaml:{problem}\n")


def test_the_names_of_every_study_of_a_campaign_are_checked(on_data: Any) -> None:
    """Each problem once, even if only one study of the sweep has it."""
    search, sweep = "search: {use: random, space: {momentum: {uniform: [0, 1]}}}", "sweep: {seed: [1, 2]}"
    result = on_data(search, sweep.replace("}", ", objective.metric: [val_loss, mae]}"))
    assert result.exit_code == 2
    assert result.stderr.count("'mae' is not measured") == 1
    result = on_data(search, sweep)
    assert result.exit_code == 2
    assert result.stderr.count("unknown hyper-parameter 'momentum'") == 1
