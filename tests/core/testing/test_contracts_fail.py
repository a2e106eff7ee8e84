"""Each test of a contract fails for a component with the fault that it detects."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from attrs import evolve

from scalecore.api.analysis import AnalysisResult
from scalecore.api.errors import DataError
from scalecore.api.executor import AttemptStatus
from scalecore.api.explanation import Explanation, Recommendation
from scalecore.api.logger import Logger
from scalecore.api.readings import Reading, Verdict
from scalecore.api.space import ArchitectureSpace, DataShape
from scalecore.api.strategy import SearchContext
from scalecore.builtin.random_search import RandomSearch
from scalecore.execution.local.executor import LocalExecutor
from scalecore.execution.local.options import LocalOptions
from scalecore.testing import (
    AnalysisContract,
    DatasetContract,
    ExecutorContract,
    LoggerContract,
    MonitorContract,
    PluginContract,
    SearchStrategyContract,
)
from scalecore.testing.fakes import ScriptedMonitor, TinyDataset, make_study
from scalecore_torch.testing import ModelContract


class Sound:
    """A family that satisfies the contract; `change` breaks the module that it builds."""

    def __init__(self, change: Callable[[Any, DataShape], Any] | None = None, **told: int) -> None:
        self.change, self.told = change, told

    def hyperparameters(self) -> list[Any]:
        return []

    def architecture_space(self, data: DataShape) -> ArchitectureSpace:
        return ArchitectureSpace(dimensions={"width": (4,)}, architectures=({"width": 4},))

    def num_parameters(self, architecture: Mapping[str, int], data: DataShape) -> int:
        inputs = data.context * data.features
        return 4 * inputs + 4 + 4 * data.outputs + data.outputs + self.told.get("parameters", 0)

    def flops(self, architecture: Mapping[str, int], data: DataShape) -> int:
        return 2 * 4 * (data.context * data.features + data.outputs) * self.told.get("flops", 1)

    def saved_activations(self, architecture: Mapping[str, int], data: DataShape) -> int:
        return (data.context * data.features + 8) * self.told.get("activations", 1)

    def build(self, architecture: Mapping[str, int], hyperparameters: Any, data: DataShape) -> Any:
        from torch import nn

        inputs = data.context * data.features
        module = nn.Sequential(nn.Flatten(), nn.Linear(inputs, 4), nn.Tanh(), nn.Linear(4, data.outputs))
        return module if self.change is None else self.change(module, data)


class Wrapped(torch.nn.Module):
    """A module whose inputs or outputs are changed."""

    def __init__(self, module: Any, *, before: Any = None, after: Any = None) -> None:
        super().__init__()
        self.module, self.before, self.after = module, before, after

    def forward(self, x_BTF: torch.Tensor) -> torch.Tensor:
        logits_BC = self.module(x_BTF if self.before is None else self.before(x_BTF))
        return logits_BC if self.after is None else self.after(logits_BC)


class BrokenSpace(Sound):
    def architecture_space(self, data: DataShape) -> ArchitectureSpace:
        return ArchitectureSpace(dimensions={"width": (4,)}, architectures=({"width": 5},))


class Underivable(Sound):
    def architecture_space(self, data: DataShape) -> ArchitectureSpace:
        rules: dict[str, Any] = {"share": lambda one: one["width"] / 0 if data.outputs > 1 else float("nan")}
        return evolve(super().architecture_space(data), derived=rules)


class Unread(Sound):
    def hyperparameters(self) -> list[Any]:
        from scalecore.api.space import Hyperparameter

        return [Hyperparameter(name="dropout", default=0.1, help="Never read.")]


def _dead(module: Any, data: DataShape) -> Any:
    module.register_parameter("dead", torch.nn.Parameter(torch.zeros(1)))
    return module


def _unseeded(module: Any, data: DataShape) -> Any:
    generator = torch.Generator()
    generator.seed()
    with torch.no_grad():
        module[1].weight.normal_(generator=generator)
    return module


MODELS = {
    "test_the_space_is_legal": BrokenSpace(),
    "test_derived_names_have_a_number_for_every_architecture": Underivable(),
    "test_parameters_are_counted_exactly": Sound(parameters=1),
    "test_logits_are_finite": Sound(lambda module, data: Wrapped(module, after=lambda x: x[:, 0])),
    "test_logits_are_not_squashed": Sound(lambda module, data: Wrapped(module, after=torch.sigmoid)),
    "test_every_parameter_gets_a_gradient": Sound(_dead),
    "test_a_wrong_shape_is_an_error": Sound(
        lambda module, data: Wrapped(module, before=lambda x_BTF: x_BTF[:, :, : data.features])
    ),
    "test_the_seed_decides": Sound(_unseeded),
    "test_windows_do_not_see_each_other": Sound(lambda module, data: Wrapped(module, after=lambda x: x - x.mean(0))),
    "test_a_lost_level_is_declared": Sound(
        lambda module, data: Wrapped(module, before=lambda x_BTF: x_BTF - x_BTF.mean(1, keepdim=True))
    ),
    "test_declared_hyperparameters_are_read_and_no_others": Unread(),
    "test_flops_are_those_of_torch": Sound(flops=9),
    "test_activations_are_about_right": Sound(activations=9),
    "test_learning_works": Sound(lambda module, data: Wrapped(module, after=lambda x: x * 0 + x.detach())),
}


def names_of(contract: type) -> list[str]:
    """The names of a contract's tests."""
    return [name for name in dir(contract) if name.startswith("test_")]


def test_every_test_of_models_has_a_broken_family() -> None:
    """`MODELS` has one for each test of the contract."""
    assert sorted(MODELS) == names_of(ModelContract)


@pytest.mark.parametrize("name", MODELS)
def test_a_broken_model_fails(name: str) -> None:
    """A sound family passes the test, a broken one fails it."""
    contract = ModelContract()
    getattr(contract, name)(Sound())
    with pytest.raises((AssertionError, pytest.fail.Exception)):
        getattr(contract, name)(MODELS[name])


def test_a_model_that_ignores_its_input_fails() -> None:
    """Its bias learns and lowers the loss as far as a constant can."""
    blind = Sound(lambda module, data: Wrapped(module, before=lambda x_BTF: x_BTF * 0))
    with pytest.raises(AssertionError, match="all windows get the logit"):
        ModelContract().test_learning_works(blind)


class BrokenSearch(RandomSearch):
    """Random search with one fault."""

    def __init__(self, context: SearchContext, fault: str) -> None:
        super().__init__(context)
        self.context, self.fault, self.history, self.reports = context, fault, 0, 0
        self.first: Any = None

    def planned(self) -> Any:
        return (self.ask(1000),) if self.fault == "planned" else ()

    def restore(self, trials: Any) -> None:
        if self.fault == "foreign":
            for trial in trials:
                self.context.space[next(iter(trial.proposal.hyperparameters))]
        self.history = len(trials)
        if self.fault != "forgets":
            super().restore(trials)

    def ask(self, number: int) -> Any:
        if self.fault == "never ends" and len(self.context.architectures) == 2:
            self._tried.clear()
        if self.fault == "repeats":
            self.first = self.first or super().ask(number)
            return self.first
        if self.fault == "forgets" and self.history:
            number += 500
        proposal = super().ask(number)
        if proposal is not None and self.fault == "illegal":
            proposal = evolve(proposal, hyperparameters={**proposal.hyperparameters, "dropout": 7.0})
        if proposal is not None and self.fault == "chance":
            proposal = evolve(proposal, hyperparameters={**proposal.hyperparameters, "dropout": np.random.rand() / 2})
        return proposal

    def tell(self, number: int, outcome: Any) -> None:
        if self.fault == "needs a value":
            float(outcome.value)

    def should_prune(self, number: int, *, epoch: int, value: float) -> Any:
        self.reports += 1
        if self.fault == "counts anew":
            return self.reports > 96
        return None if self.fault == "shrugs" else False


@pytest.mark.parametrize(
    ("fault", "name"),
    [
        ("illegal", "test_proposals_are_valid"),
        ("planned", "test_planned_trials_come_first"),
        ("chance", "test_equal_seeds_propose_the_same"),
        ("repeats", "test_no_configuration_is_proposed_twice"),
        ("repeats", "test_parallel_trials"),
        ("forgets", "test_a_restored_strategy_proposes_the_same"),
        ("repeats", "test_a_duplicate_is_replaced"),
        ("never ends", "test_a_finite_space_ends"),
        ("foreign", "test_trials_of_another_space_are_ignored"),
        ("shrugs", "test_pruning_is_repeatable"),
        ("counts anew", "test_pruning_is_repeatable"),
    ],
)
def test_a_broken_strategy_fails(fault: str, name: str) -> None:
    """The test fails with the fault and passes without it."""
    getattr(SearchStrategyContract(), name)(lambda context: BrokenSearch(context, ""))
    with pytest.raises((AssertionError, KeyError)):
        getattr(SearchStrategyContract(), name)(lambda context: BrokenSearch(context, fault))


def test_a_strategy_that_needs_a_value_fails() -> None:
    """A failed trial has no value."""
    from scalecore.api.trials import TrialState

    contract = SearchStrategyContract()
    with pytest.raises(TypeError):
        contract.test_every_state_is_accepted(lambda context: BrokenSearch(context, "needs a value"), TrialState.FAILED)


class Gullible(RandomSearch):
    """Random search that recommends the smallest value, also of a collapsed trial."""

    def __init__(self, context: SearchContext) -> None:
        super().__init__(context)
        self.asked: dict[int, Any] = {}
        self.values: dict[int, float] = {}

    def ask(self, number: int) -> Any:
        self.asked[number] = super().ask(number)
        return self.asked[number]

    def restore(self, trials: Any) -> None:
        super().restore(trials)
        self.asked = {trial.number: trial.proposal for trial in trials}
        self.values = {trial.number: trial.outcome.value for trial in trials}

    def tell(self, number: int, outcome: Any) -> None:
        self.values[number] = outcome.value

    def explain(self) -> Explanation:
        number = min(self.values, key=lambda one: self.values[one])
        chosen, value = self.asked[number], self.values[number]
        found = Recommendation(
            number=number,
            architecture=chosen.architecture,
            hyperparameters=chosen.hyperparameters,
            observed=value,
            value=value,
        )
        return Explanation(method="by hand", phase="sampled", recommended=found)


def test_a_strategy_that_recommends_a_constant_fails() -> None:
    """The best value belongs to a model that predicts a constant."""
    contract = SearchStrategyContract()
    contract.test_g09_a_trial_that_predicts_a_constant_is_never_recommended(lambda context: BrokenSearch(context, ""))
    with pytest.raises(AssertionError, match="recommends trial 1, which predicts a constant"):
        contract.test_g09_a_trial_that_predicts_a_constant_is_never_recommended(Gullible)


class Changed(TinyDataset):
    """The tiny dataset with its panel changed."""

    def __init__(self, change: Callable[[Any], Any]) -> None:
        super().__init__()
        self.change = change

    def panel(self) -> Any:
        return self.change(super().panel())


def _with(array: Any, index: Any, value: float) -> Any:
    array = array.copy()
    array[index] = value
    return array


@pytest.mark.parametrize(
    ("name", "change"),
    [
        ("test_rows_are_ordered_by_time", lambda panel: evolve(panel, times=panel.times[::-1])),
        ("test_shapes_match", lambda panel: evolve(panel, features=("Close", "Close"))),
        ("test_values_are_finite", lambda panel: evolve(panel, values=_with(panel.values, (5, 0), np.nan))),
        ("test_the_future_has_no_label", lambda panel: evolve(panel, labels=_with(panel.labels, -1, 1.0))),
        (
            "test_reading_twice_returns_the_same",
            lambda panel: evolve(panel, values=panel.values + np.random.default_rng().random()),
        ),
    ],
)
def test_a_broken_dataset_fails(name: str, change: Callable[[Any], Any]) -> None:
    """The test fails with the fault and passes without it."""
    getattr(DatasetContract(), name)(TinyDataset)
    with pytest.raises(AssertionError):
        getattr(DatasetContract(), name)(lambda: Changed(change))


def test_a_dataset_that_cannot_be_split_fails() -> None:
    """The contract raises the core's refusal."""
    from scalecore.api.errors import RefusedError

    with pytest.raises(RefusedError):
        DatasetContract().test_it_can_be_split(
            lambda: Changed(lambda panel: evolve(panel, labels=np.zeros_like(panel.labels)))
        )


class Formats(Logger):
    """A logger with one fault."""

    def __init__(self, context: Any, fault: str) -> None:
        self.folder, self.fault = context.folder, fault

    def trial_finished(self, record: Any, study: Any) -> None:
        if self.fault == "numbers":
            f"{record.value:.4f} after {record.duration:.0f} s"
        if self.fault == "paths" and record.origin.label:
            (self.folder / record.origin.label).write_text("x")
        if self.fault in ("journal.jsonl", "experiment.yaml"):
            (self.folder / self.fault).write_text("mine")

    def take_remarks(self) -> Any:
        return [("warning", "the copy cannot be written")] if self.fault == "copy" else ()

    def close(self) -> None:
        if self.fault == "closes":
            del self.opened

    def study_started(self, study: Any) -> None:
        self.opened = True


@pytest.mark.parametrize(
    ("fault", "name", "error"),
    [
        ("numbers", "test_missing_values", TypeError),
        ("paths", "test_hostile_texts", OSError),
        ("closes", "test_it_can_be_closed_at_any_time", AttributeError),
        ("journal.jsonl", "test_it_leaves_journal_and_experiment_unchanged", AssertionError),
        ("experiment.yaml", "test_it_leaves_journal_and_experiment_unchanged", AssertionError),
        ("copy", "test_missing_values", AssertionError),
    ],
)
def test_a_broken_logger_fails(fault: str, name: str, error: type[Exception], tmp_path: Path) -> None:
    """The test fails with the fault and passes without it."""
    study = make_study(tmp_path / "study")
    getattr(LoggerContract(), name)(lambda context: Formats(context, ""), study)
    with pytest.raises(error):
        getattr(LoggerContract(), name)(lambda context: Formats(context, fault), study)


def _reading(value: float | None, reason: str | None = None) -> Reading:
    return Reading(quantity="fan", source="script", unit="rpm", value=value, reason=reason)


@pytest.mark.parametrize(
    ("name", "monitor"),
    [
        ("test_interval_is_positive", ScriptedMonitor(interval=0.0)),
        ("test_readings_are_numbers_or_reasons", ScriptedMonitor(script=[([], Verdict(action="go_on"))])),
        (
            "test_readings_are_numbers_or_reasons",
            ScriptedMonitor(script=[([_reading(float("nan"))], Verdict(action="go_on"))]),
        ),
        ("test_verdicts_have_reasons", ScriptedMonitor(script=[((), Verdict(action="pause"))])),
        ("test_missing_values_do_not_raise", ScriptedMonitor(script=[((), Verdict(action="stop_trial"))])),
        ("test_ended_processes_do_not_raise", ScriptedMonitor(script=[((), Verdict(action="pause"))])),
    ],
)
def test_a_broken_monitor_fails(name: str, monitor: ScriptedMonitor) -> None:
    """The test fails with the fault and passes without it."""
    getattr(MonitorContract(), name)(ScriptedMonitor(script=[([_reading(None, "none")], Verdict(action="go_on"))]))
    with pytest.raises(AssertionError):
        getattr(MonitorContract(), name)(monitor)


class Clumsy:
    """An analysis with one fault."""

    def __init__(self, fault: str) -> None:
        self.fault = fault

    def run(self, studies: Any) -> AnalysisResult:
        if self.fault == "writes":
            (studies[0].folder / "mine.txt").write_text("x")
        if self.fault == "refuses":
            raise DataError("not these")
        if self.fault == "best":
            studies[0].best.value + 0.0
        label = str(studies[0].trials[0].origin.label) if studies[0].trials else ""
        return AnalysisResult(
            title="" if self.fault == "title" else "Clumsy",
            tables={},
            data={},
            files={"page.html": label} if self.fault == "html" else {},
        )


@pytest.mark.parametrize(
    ("fault", "name", "error"),
    [
        ("title", "test_result_can_be_stored", AssertionError),
        ("refuses", "test_result_can_be_stored", DataError),
        ("best", "test_a_study_without_a_result", AttributeError),
        ("html", "test_hostile_texts", AssertionError),
        ("writes", "test_it_writes_no_files", AssertionError),
    ],
)
def test_a_broken_analysis_fails(fault: str, name: str, error: type[Exception], tmp_path: Path) -> None:
    """The test fails with the fault and passes without it."""
    getattr(AnalysisContract(), name)(Clumsy(""), tmp_path / "sound")
    with pytest.raises(error):
        getattr(AnalysisContract(), name)(Clumsy(fault), tmp_path / "broken")


class Careless(LocalExecutor):
    """The local executor, which reports running attempts as ended or mixes up their order."""

    def __init__(self, fault: str) -> None:
        super().__init__(LocalOptions(), worker="scalecore_torch.worker")
        self.fault = fault

    def poll(self, handles: Any) -> Any:
        if self.fault == "hasty":
            return [AttemptStatus(state="ended", exit_code=0) for _ in handles]
        found = super().poll(handles)
        return found[::-1] if self.fault == "mixed" else found


def test_an_executor_that_mixes_up_attempts_fails(tmp_path: Path) -> None:
    """`poll` must return statuses in the order of the handles."""
    executor = Careless("mixed")
    with pytest.raises(AssertionError, match="the first of two attempts was killed, but poll returns running"):
        ExecutorContract().test_closing_ends_all_attempts(lambda context: executor, tmp_path)
    executor.close()


def test_an_executor_that_reports_running_attempts_as_ended_fails(tmp_path: Path) -> None:
    """It fails the first test of the contract."""
    executor = Careless("hasty")
    with pytest.raises(AssertionError):
        ExecutorContract().test_an_attempt_runs_to_its_end(executor, tmp_path)
    executor.close()


BROKEN_PLUGIN = """
import numpy
from attrs import frozen
from scalecore import hookimpl
from scalecore.api.options import option
from scalecore.api.components import ModelRecord

@frozen(kw_only=True)
class Options:
    width: int = option(4, help="")

class Family:
    def __init__(self, options): pass
    def architecture_space(self, data):
        import torch
        from scalecore.api.space import ArchitectureSpace
        return ArchitectureSpace(dimensions={}, architectures=({},))
    def num_parameters(self, architecture, data): return 1
    flops = saved_activations = num_parameters
    def hyperparameters(self): return ()

@hookimpl
def scalecore_models():
    return [ModelRecord(name="careless", summary="no sentence", options=Options, factory=Family)]
"""


def test_a_broken_plugin_fails(fake_plugin: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Slow imports, torch in the driver, missing help, missing types and an open range each fail a test."""
    from scalecore.plugins.registry import load_registry

    place = fake_plugin("careless", requires=["scalecore>=0.1"], code=BROKEN_PLUGIN)
    monkeypatch.setenv("PYTHONPATH", str(place))

    class Contract(PluginContract):
        distribution = "careless"

    contract, installed = Contract(), load_registry()
    contract.test_it_is_found_and_works(installed)
    for name in (
        "test_it_provides_components",
        "test_options_are_documented_and_valid",
        "test_importing_it_is_cheap",
        "test_the_driver_needs_no_torch",
        "test_it_is_typed",
        "test_it_requires_a_range_of_scalecore",
    ):
        with pytest.raises(AssertionError):
            getattr(contract, name)(installed)


TWINS = """
from scalecore import hookimpl
from scalecore.api.components import ModelRecord

@hookimpl
def scalecore_models():
    return [ModelRecord(name=name, summary="A model.", factory=print) for name in ("shared", __name__)]
"""


def test_a_name_of_two_plugins_fails(fake_plugin: Any) -> None:
    """scalecore can use neither of the two components."""
    from scalecore.plugins.registry import load_registry

    class Contract(PluginContract):
        distribution = "twin-one"

    fake_plugin("twin-one", code=TWINS)
    Contract().test_its_component_names_are_unique(load_registry())
    fake_plugin("twin-two", code=TWINS)
    with pytest.raises(AssertionError, match=r"model 'shared' is provided by twin-one 1\.0 and twin-two 1\.0"):
        Contract().test_its_component_names_are_unique(load_registry())


def test_a_plugin_that_is_not_installed_fails() -> None:
    """The message lists the installed plugins."""
    from scalecore.plugins.registry import load_registry

    class Contract(PluginContract):
        distribution = "nowhere"

    text = "nowhere has no entry point in the group 'scalecore'; installed plugins: "
    with pytest.raises(AssertionError, match=text):
        Contract().test_it_is_found_and_works(load_registry())
