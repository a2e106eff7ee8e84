"""An Optuna sampler for feasible architectures. It also works in a plain Optuna script."""

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
"""The system attribute of a moved trial: `{"from": parameters, "to": changes, "rule": ..., "reason": ...}`."""

WIDEST = 65_536
"""A dimension is declared from 1 to this value for every grid, so that a changed grid does not break a study."""


class ArchitecturalSampler(BaseSampler):
    """Moves the suggestions of `inner` to feasible architectures. `inner` sees the grid's bounding box.

    The trial's parameters are therefore the ones that run. The inner sampler gets the declared space instead of an
    inferred one, because a trial without some parameter would shrink the inferred space. Request all of `distributions`
    at once: `study.ask(sampler.distributions)`. The inner sampler handles other parameters. Tried points are read from
    the study, unless `tried` is passed; then other parameters are not allowed.
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
        """The points of the study, including unfinished and failed trials."""
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
            # Optuna's own samplers also set their attributes this way; there is no public function.
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
    """The parameters of each trial: dimensions on their fixed wide ranges, and the hyper-parameters of the space."""
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
    """Optuna's equivalent of a hyper-parameter's distribution."""
    match distribution:
        case Choice():
            return CategoricalDistribution(distribution.values)
        case IntRange(log=True):
            return IntDistribution(distribution.low, distribution.high, log=True)
        case IntRange():
            # Optuna warns if the range is not a multiple of the step.
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
