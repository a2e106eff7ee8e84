"""The trainer `function` in the driver, and real attempts of a numpy function."""

from __future__ import annotations

from pathlib import Path
from types import MappingProxyType
from typing import Any

import pytest

from scalecore.api.errors import ExperimentError
from scalecore.api.memory_forecast import EndedAttempt
from scalecore.api.options import ImportPath
from scalecore.api.space import Architecture
from scalecore.api.trainer import TrainingChoices
from scalecore.builtin.function_trainer import FunctionForecast, FunctionTrainer
from scalecore.builtin.options import FunctionOptions
from scalecore.config.resolve import load_resolved
from scalecore.planning.check_names import family_of, name_problems
from scalecore.plugins.registry import load_registry
from scalecore.testing import TrainerContract
from scalecore.testing.fakes import EXPERIMENT, write_walk
from scalecore.testing.function_files import MODEL, TRAIN

SECTIONS: dict[str, Any] = {
    "plugins": ["./flat.py"],
    "model": "flat",
    "training": {"use": "function", "target": "./train.py:train", "threads": 1, "hyperparameters": {"epochs": 2}},
}
SHAPE = Architecture(values={}, num_parameters=2, flops=2)


class TestFunction(TrainerContract):
    """The contract of trainers for a function in numpy."""

    experiment = SECTIONS
    diverging = MappingProxyType({"learning_rate": 1e308})

    @pytest.fixture
    def source(self, tmp_path: Path) -> Path:
        folder = tmp_path / "source"
        folder.mkdir()
        (folder / "flat.py").write_text(MODEL)
        (folder / "train.py").write_text(TRAIN)
        return folder


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A folder with an experiment, its model, its function and its data."""
    import yaml

    write_walk(tmp_path)
    (tmp_path / "flat.py").write_text(MODEL)
    (tmp_path / "train.py").write_text(TRAIN)
    (tmp_path / "e.yaml").write_text(yaml.safe_dump({**EXPERIMENT, **SECTIONS}))
    return tmp_path


def refused(project: Path, *overrides: str) -> list[str]:
    """The problems of the experiment, one per line."""
    registry = load_registry(no_plugins=True)
    try:
        loaded, resolved = load_resolved(project / "e.yaml", overrides=overrides, registry=registry)
    except ExperimentError as error:
        return str(error).replace(f"{project}/", "").splitlines()
    return [f"{'.'.join(map(str, one.path))}: {one.message}" for one in name_problems(loaded, resolved)]


def test_an_experiment_with_a_function_is_valid(project: Path) -> None:
    """Its hyper-parameters are those that the file fixes or varies."""
    assert refused(project) == []
    _, resolved = load_resolved(project / "e.yaml", registry=load_registry(no_plugins=True))
    assert sorted(family_of(resolved)[1]) == ["epochs", "learning_rate"]


@pytest.mark.parametrize(
    ("override", "text"),
    [
        ("training.target=./train.py:trein", "train.py has no trein; did you mean train?"),
        ("training.target=./nothing.py:train", "nothing.py cannot be read (No such file or directory)"),
        ("training.target=os:sep", "os:sep is not callable: its type is str"),
        (
            "training.target=no_such_module:f",
            "there is no module 'no_such_module' in this environment; the import path of a file is ./FILE.py:NAME",
        ),
    ],
)
def test_a_target_that_is_not_a_function_is_refused(project: Path, override: str, text: str) -> None:
    """The message has the key and the problem."""
    assert refused(project, override) == [f"<command line>: {override}: {text}"]


def test_a_function_with_further_arguments_is_refused(project: Path) -> None:
    """It is called with the trial as its only argument."""
    (project / "train.py").write_text("def train(trial, loader):\n    yield {}\n")
    assert refused(project) == [
        "e.yaml:26:11: training.target: train.py:train must accept the trial as its only argument: missing a required "
        "argument: 'loader'"
    ]


def test_options_of_another_trainer_are_unknown(project: Path) -> None:
    """The message lists them and the known options."""
    assert refused(project, "training.precision=fp32") == [
        "<command line>: training.precision=fp32: unknown key; expected one of early_stopping, hyperparameters, "
        "device, threads, checkpoint_every, checkpoint_epochs, keep_weights, target, memory_gb"
    ]


def test_a_users_metric_needs_a_direction(project: Path) -> None:
    """Only the user knows whether it is minimised or maximised."""
    assert refused(project, "objective.metric=sharpe", "objective.direction=maximize") == []
    assert refused(project, "objective.metric=sharpe") == [
        "<command line>: objective.metric=sharpe: sharpe is a custom metric: set objective.direction"
    ]


@pytest.mark.parametrize("value", ["[1, 2]", "null", "{a: 1}"])
def test_a_hyperparameter_is_one_value(project: Path, value: str) -> None:
    """Lists, null and mappings are refused."""
    (problem,) = refused(project, f"training.hyperparameters.layers={value}")
    assert problem.startswith("training.hyperparameters.layers: expected str, got ")


def test_values_of_any_type_may_be_varied(project: Path) -> None:
    """Choices of strings and integers work."""
    space = "search.space={a: {choice: [relu, tanh]}, b: {choice: [1, 0.5]}, c: {int: [1, 4]}, d: {choice: [true]}}"
    assert refused(project, space) == []
    assert refused(project, "training.hyperparameters.epochs=0") == ["training.hyperparameters.epochs: 0 is below 1"]


def test_two_files_of_one_name_are_refused(project: Path) -> None:
    """Records identify code by its file name."""
    (project / "own").mkdir()
    (project / "own" / "flat.py").write_text(TRAIN)
    (problem,) = refused(project, "training.target=./own/flat.py:train")
    assert problem.endswith("two files are named flat.py: flat.py and own/flat.py; rename one of them")


def test_a_forecast_starts_with_memory_gb() -> None:
    """Then it is the largest measured peak plus a quarter; an incomplete attempt can only increase it."""
    forecast = FunctionForecast(1000)

    def predicted() -> tuple[int, str]:
        found = forecast.predict(SHAPE, 1, device="cpu")
        assert found is not None
        return found.bytes, found.source

    def ended(peak: int | None, *, whole: bool) -> EndedAttempt:
        return EndedAttempt(predicted={}, peak=peak, host_peak=peak, whole=whole)

    assert predicted() == (1000, "training.memory_gb")
    forecast.learn([ended(None, whole=True), ended(1500, whole=False)])
    assert predicted() == (1500, "training.memory_gb")
    forecast.learn([ended(400, whole=True), ended(2000, whole=True)])
    assert predicted() == (2500, "measured")
    assert forecast.predict(SHAPE, 1, device="cpu", smoke=True) is None
    with pytest.raises(ValueError, match=r"^the trainer function builds no models before they are trained$"):
        forecast.count([{}], None, False)  # type: ignore[arg-type]  # data, which it does not look at


def test_g26_its_file_is_part_of_the_code(project: Path) -> None:
    """Its checked content counts."""
    target = ImportPath(file=project / "train.py", name="train")
    trainer = FunctionTrainer(FunctionOptions(target=target))
    assert trainer.code() == []
    assert list(trainer.problems(TrainingChoices(), task=None)) == []
    (code,) = trainer.code()
    assert code.file == project / "train.py"
    assert code.sha256 is not None
    (project / "train.py").write_text(TRAIN + "# changed")
    assert list(trainer.problems(TrainingChoices(), task="binary")) == []
    assert trainer.code() == [code]
