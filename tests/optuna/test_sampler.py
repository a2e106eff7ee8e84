from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from optuna.distributions import FloatDistribution, IntDistribution
from optuna.samplers import BaseSampler, QMCSampler, RandomSampler, TPESampler
from optuna.search_space import intersection_search_space
from optuna.storages import BaseStorage, JournalStorage, RDBStorage
from optuna.storages.journal import JournalFileBackend
from optuna.study import Study, create_study
from optuna.testing.pytest_samplers import BasicSamplerTestCase, MultiObjectiveSamplerTestCase, RelativeSamplerTestCase
from optuna.trial import TrialState, create_trial

from scalecore.api.space import Architecture, Choice, Distribution, LogUniform
from scalecore_optuna.coverage import Coverage
from scalecore_optuna.frontier import FrontierSampler
from scalecore_optuna.grid import Grid
from scalecore_optuna.sampler import MOVED, ArchitecturalSampler

pytestmark = pytest.mark.slow

README = Path(__file__).parents[2] / "packages" / "scalecore-optuna" / "README.md"
DOCS = Path(__file__).parents[2] / "docs" / "search.md"


def small(inner: BaseSampler) -> ArchitecturalSampler:
    """A sampler over nine shapes and one hyper-parameter, with further parameters in a trial."""
    shapes = [
        Architecture(values={"width": width, "depth": depth}, num_parameters=width * depth, flops=1)
        for width in (8, 16, 32)
        for depth in (1, 2, 4)
    ]
    return ArchitecturalSampler(inner, Coverage(Grid(shapes), {"rate": LogUniform(low=1e-4, high=1e-2)}))


class TestOptunasOwnSuiteWithTpeInside(BasicSamplerTestCase, RelativeSamplerTestCase, MultiObjectiveSamplerTestCase):
    """Optuna's tests for samplers, applied to ours."""

    @pytest.fixture
    def sampler(self) -> Callable[[], BaseSampler]:
        return lambda: small(TPESampler(n_startup_trials=0))


class TestOptunasOwnSuiteWithRandomInside(BasicSamplerTestCase, RelativeSamplerTestCase):
    """The same with an inner sampler that never suggests jointly."""

    @pytest.fixture
    def sampler(self) -> Callable[[], BaseSampler]:
        return lambda: small(RandomSampler())


@pytest.mark.filterwarnings("ignore::optuna.exceptions.ExperimentalWarning")
class TestOptunasOwnSuiteWithQmcInside(BasicSamplerTestCase, RelativeSamplerTestCase):
    """The same with a low-discrepancy sequence inside."""

    @pytest.fixture
    def sampler(self) -> Callable[[], BaseSampler]:
        return lambda: small(QMCSampler(warn_independent_sampling=False, warn_asynchronous_seeding=False))


@pytest.fixture(params=["memory", "journal", "sqlite"])
def storage(request: pytest.FixtureRequest, tmp_path: Path) -> BaseStorage | None:
    """Storages reject different things, so in-memory storage alone would hide errors."""
    if request.param == "journal":
        return JournalStorage(JournalFileBackend(str(tmp_path / "study.log")))
    return RDBStorage(f"sqlite:///{tmp_path / 'study.db'}") if request.param == "sqlite" else None


def optimize(study: Study, sampler: ArchitecturalSampler, trials: int) -> None:
    for _ in range(trials):
        trial = study.ask(sampler.distributions)
        study.tell(trial, abs(trial.params["n_layers"] - 12) / 10 + trial.params["dropout"])


@pytest.mark.parametrize("inner", ["tpe", "frontier"])
def test_alone_in_a_plain_study_it_proposes_feasible_architectures(
    storage: BaseStorage | None,
    inner: str,
    architectures: list[Architecture],
    space: dict[str, Distribution],
    grid_of: Callable[[float], list[Architecture]],
) -> None:
    """On every storage, with a changing grid, and with recorded moves."""
    study = create_study(storage=storage)
    everything: list[Architecture] = []
    for shapes in (architectures, grid_of(4e6), [shape for shape in architectures if shape.values["d_model"] < 256]):
        everything += shapes
        coverage = Coverage(Grid(shapes), space, trials=36)
        inside = TPESampler(seed=3) if inner == "tpe" else FrontierSampler(coverage, seed=3)
        study.sampler = ArchitecturalSampler(inside, coverage)
        before = len(study.trials)
        optimize(study, study.sampler, 12)
        grid = Grid(shapes)
        assert all(grid.find(trial.params) is not None for trial in study.trials[before:])
    moved = [trial for trial in study.trials if MOVED in trial.system_attrs]
    # Frontier chooses among what is feasible and new in the first place.
    assert bool(moved) is (inner == "tpe")
    for trial in moved:
        assert trial.system_attrs[MOVED]["from"].keys() == trial.params.keys()
        assert trial.system_attrs[MOVED]["reason"]


class Recorder(BaseSampler):
    """A random sampler that records the joint search spaces."""

    def __init__(self) -> None:
        self.asked: list[dict[str, Any]] = []
        self._random = RandomSampler(seed=0)

    def infer_relative_search_space(self, study: Any, trial: Any) -> dict[str, Any]:
        return {}

    def sample_relative(self, study: Any, trial: Any, search_space: dict[str, Any]) -> dict[str, Any]:
        self.asked.append(search_space)
        return {}

    def sample_independent(self, study: Any, trial: Any, param_name: str, param_distribution: Any) -> Any:
        return self._random.sample_independent(study, trial, param_name, param_distribution)


def test_pruned_and_injected_trials_do_not_shrink_the_space(
    architectures: list[Architecture], space: dict[str, Distribution]
) -> None:
    """The inner sampler gets every dimension and hyper-parameter, where Optuna would have inferred none."""
    recorder = Recorder()
    sampler = ArchitecturalSampler(recorder, Coverage(Grid(architectures), space))
    study = create_study(sampler=sampler)
    study.add_trial(create_trial(state=TrialState.PRUNED))
    study.add_trial(
        create_trial(
            params={"dropout": 0.2},
            distributions={"dropout": FloatDistribution(0, 1)},
            value=1.0,
        )
    )
    assert intersection_search_space(study.trials, include_pruned=True) == {}
    optimize(study, sampler, 1)
    (asked,) = recorder.asked
    assert list(asked) == ["d_model", "n_layers", "n_heads", "d_ff", *space]
    assert (asked["n_layers"].low, asked["n_layers"].high, asked["n_layers"].log) == (2, 64, True)


def test_dimensions_are_declared_on_ranges_that_never_change(
    grid_of: Callable[[float], list[Architecture]], space: dict[str, Distribution]
) -> None:
    """Another budget declares the same parameters, so that studies can be resumed and compared."""
    declared = [
        ArchitecturalSampler(RandomSampler(), Coverage(Grid(grid_of(b)), space)).distributions for b in (2e6, 2e9)
    ]
    assert declared[0] == declared[1]
    assert declared[0]["d_model"] == IntDistribution(1, 65536, log=True)


def test_other_parameters_of_a_trial_are_left_to_the_inner_sampler(architectures: list[Architecture]) -> None:
    """A plain script may use more parameters than the declared space."""
    sampler = ArchitecturalSampler(TPESampler(seed=0), Coverage(Grid(architectures), {"depth": Choice(values=(1, 2))}))
    study = create_study(sampler=sampler)
    for _ in range(15):
        trial = study.ask(sampler.distributions)
        study.tell(trial, trial.suggest_float("mine", 0, 1))
    assert all(0 <= trial.params["mine"] <= 1 for trial in study.trials)


@pytest.mark.parametrize("inner", ["tpe", "frontier"])
def test_the_script_of_the_documentation_runs(inner: str, capsys: pytest.CaptureFixture[str]) -> None:
    """In the README's form, and with the sampler and weight of docs/search.md."""
    (script,) = re.findall(r"```python\n(.*?)```", README.read_text(), flags=re.DOTALL)
    if inner == "frontier":
        for shown, other in {
            "optuna.samplers.TPESampler(seed=1)": "FrontierSampler(coverage, seed=1)",
            "trials=20": "weight=0.0",
        }.items():
            assert shown in script
            assert other in DOCS.read_text()
            script = script.replace(shown, other)
    exec(compile(script, str(README), "exec"), {"FrontierSampler": FrontierSampler})
    assert "width" in capsys.readouterr().out
