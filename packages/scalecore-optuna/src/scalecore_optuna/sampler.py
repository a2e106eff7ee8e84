"""A sampler for Optuna that searches feasible architectures; it works in a plain Optuna script as well."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.samplers import BaseSampler
from optuna.trial import FrozenTrial, TrialState

from scalecore.api.space import Choice, Distribution, IntRange, LogUniform

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from optuna.study import Study

    from scalecore_optuna.coverage import Coverage, Tried
    from scalecore_optuna.grid import Grid

__all__ = ["MOVED", "ArchitecturalSampler", "as_optuna", "declared_distributions"]

MOVED = "scalecore:moved"
"""The system attribute of a moved trial: `{"from": parameters, "to": what changed, "rule": ..., "reason": ...}`."""

WIDEST = 65_536
"""A dimension is declared from 1 to here whatever the grid is today, so that no change of the grid breaks a study."""


class ArchitecturalSampler(BaseSampler):
    """Lets `inner` suggest the dimensions as numbers in the grid's bounding box, and moves them to what is feasible.

    What the trial's parameters say is therefore what runs. The inner sampler is given the declared space, never the one
    it would infer, so that trials which lack a parameter cannot shrink it. A trial asks for all of `distributions` at
    once, with `study.ask(sampler.distributions)`; parameters beside these are left to the inner sampler. What was tried
    is read from the study, unless `tried` tells it: then there are no other parameters either.
    """

    def __init__(self, inner: BaseSampler, coverage: Coverage, *, tried: Tried | None = None) -> None:
        self.inner = inner
        self.coverage = coverage
        self._tried = tried
        self._box = {**_box(coverage.grid), **_hyperparameters(coverage.space)}

    @property
    def distributions(self) -> dict[str, BaseDistribution]:
        """The declared space: dimensions on their fixed wide ranges, then hyper-parameters."""
        return declared_distributions(self.coverage)

    def tried(self, study: Study) -> Tried:
        """What the study has tried, unfinished and failed trials included."""
        return self._tried if self._tried is not None else self.coverage.tried_in(study)

    def infer_relative_search_space(self, study: Study, trial: FrozenTrial) -> dict[str, BaseDistribution]:
        # The inner sampler reads all trials for this.
        inferred = {} if self._tried is not None else self.inner.infer_relative_search_space(study, trial)
        return {**self._box, **{name: of for name, of in inferred.items() if name not in self._box}}

    def sample_relative(
        self, study: Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
    ) -> dict[str, Any]:
        open_space = {name: distribution for name, distribution in search_space.items() if not distribution.single()}
        params = dict(self.inner.sample_relative(study, trial, open_space))
        for name, distribution in search_space.items():
            if distribution.single():
                params[name] = _only_value(distribution)
            elif name not in params:
                params[name] = self.inner.sample_independent(study, trial, name, distribution)
        if not self._box.keys() <= params.keys():
            return params
        settled = self.coverage.settle(params, self.tried(study))
        if settled.moved_from is not None:
            # Optuna's own samplers write their attributes in this way too; there is no public one.
            moved = {
                "from": dict(settled.moved_from),
                "to": dict(settled.moved_to or {}),
                "rule": settled.rule,
                "reason": settled.reason,
            }
            study._storage.set_trial_system_attr(trial._trial_id, MOVED, moved)
        return {**params, **settled.architecture.values, **settled.hyperparameters}

    def sample_independent(
        self, study: Study, trial: FrozenTrial, param_name: str, param_distribution: BaseDistribution
    ) -> Any:
        return self.inner.sample_independent(study, trial, param_name, param_distribution)

    def before_trial(self, study: Study, trial: FrozenTrial) -> None:
        self.inner.before_trial(study, trial)

    def after_trial(self, study: Study, trial: FrozenTrial, state: TrialState, values: Sequence[float] | None) -> None:
        self.inner.after_trial(study, trial, state, values)

    def reseed_rng(self) -> None:
        self.inner.reseed_rng()


def declared_distributions(coverage: Coverage) -> dict[str, BaseDistribution]:
    """What each trial has as parameters: each dimension on its fixed wide range, each hyper-parameter of the space."""
    grid = coverage.grid
    wide: dict[str, BaseDistribution] = {}
    for name in grid.names:
        low, high = grid.values[name][0], grid.values[name][-1]
        wide[name] = (
            IntDistribution(1, max(WIDEST, high), log=True)
            if grid.is_log(name)
            else IntDistribution(min(-WIDEST, low), max(WIDEST, high))
        )
    return {**wide, **_hyperparameters(coverage.space)}


def _box(grid: Grid) -> dict[str, BaseDistribution]:
    return {
        name: IntDistribution(grid.values[name][0], grid.values[name][-1], log=grid.is_log(name)) for name in grid.names
    }


def _hyperparameters(space: Mapping[str, Distribution]) -> dict[str, BaseDistribution]:
    return {name: as_optuna(distribution) for name, distribution in space.items()}


def as_optuna(distribution: Distribution) -> BaseDistribution:
    """A distribution of hyper-parameters as Optuna has it."""
    match distribution:
        case Choice():
            return CategoricalDistribution(distribution.values)
        case IntRange(log=True):
            return IntDistribution(distribution.low, distribution.high, log=True)
        case IntRange():
            # Optuna warns where the range is no whole number of steps.
            steps = (distribution.high - distribution.low) // distribution.step
            return IntDistribution(
                distribution.low, distribution.low + steps * distribution.step, step=distribution.step
            )
        case _:
            return FloatDistribution(distribution.low, distribution.high, log=isinstance(distribution, LogUniform))


def _only_value(distribution: BaseDistribution) -> Any:
    if isinstance(distribution, CategoricalDistribution):
        return distribution.choices[0]
    assert isinstance(distribution, FloatDistribution | IntDistribution)
    return distribution.low
