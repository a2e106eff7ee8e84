"""The trials of a study as the strategy knows them, and Optuna's study in memory that is built from them."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING

from attrs import define, field
from optuna.study import Study, StudyDirection, create_study
from optuna.trial import Trial, create_trial
from optuna.trial import TrialState as OptunaState

from scalecore.space import Architecture, Value
from scalecore.trials import Origin, Outcome, TrialState

if TYPE_CHECKING:
    from optuna.distributions import BaseDistribution
    from optuna.pruners import BasePruner
    from optuna.samplers import BaseSampler

__all__ = ["STATES", "Known", "Ledger", "check_outcome"]

STATES = {TrialState.COMPLETED: OptunaState.COMPLETE, TrialState.PRUNED: OptunaState.PRUNED}
"""What Optuna is told; every other end is a failure, which its samplers pass over (guard G35)."""


@define(kw_only=True)
class Known:
    """A trial as the strategy knows it; Optuna's study can be rebuilt from all of them."""

    architecture: Architecture
    hyperparameters: Mapping[str, Value]
    origin: Origin
    outcome: Outcome | None = None
    reports: dict[int, float] = field(factory=dict)
    optuna_number: int = -1

    @property
    def params(self) -> dict[str, Value]:
        return {**self.architecture.values, **self.hyperparameters}

    @property
    def taught(self) -> bool:
        """Whether it ended with a value."""
        return self.outcome is not None and self.outcome.state in STATES


class Ledger:
    """All trials by number, and Optuna's study with the architecture among the parameters of each (guard G20).

    Optuna's study has the trials in the order of their numbers. It is rebuilt where that order was lost, so that a
    restored strategy has the same study as one that was never interrupted.
    """

    def __init__(
        self,
        *,
        direction: str,
        distributions: Mapping[str, BaseDistribution],
        pruner: BasePruner,
        sampler: BaseSampler,
    ) -> None:
        self.trials: dict[int, Known] = {}
        self._direction = StudyDirection.MAXIMIZE if direction == "maximize" else StudyDirection.MINIMIZE
        self._distributions = dict(distributions)
        self._pruner = pruner
        self._sampler = sampler
        self._study = self._rebuilt()
        self._in_order = True

    @property
    def study(self) -> Study:
        """Optuna's study, in order."""
        if not self._in_order:
            self._study = self._rebuilt()
            self._in_order = True
        return self._study

    def restore(self, trials: Mapping[int, Known]) -> None:
        self.trials.update(trials)
        self._in_order = False

    def add(self, number: int, trial: Known, *, asked: int | None = None) -> None:
        """A new trial that runs; `asked` is Optuna's number for it where its study has it already."""
        study = self.study
        in_order = all(number > known for known in self.trials)
        self.trials[number] = trial
        trial.optuna_number = self._add(study, trial) if asked is None else asked
        self._in_order = in_order

    def drop(self, number: int) -> None:
        """Forget a trial that was not run."""
        del self.trials[number]
        self._in_order = False

    def finish(self, number: int, outcome: Outcome) -> None:
        """Tell how a trial ended."""
        trial = self.trials[number]
        trial.outcome = outcome
        if self._in_order:
            state = STATES.get(outcome.state, OptunaState.FAIL)
            if state is OptunaState.PRUNED and not trial.reports and outcome.value is not None:
                self.live(trial).report(outcome.value, 0)
            value = outcome.value if state is OptunaState.COMPLETE else None
            self._study.tell(trial.optuna_number, value, state=state)

    def report(self, trial: Known, *, epoch: int, value: float) -> Trial:
        """Note the objective after an epoch, once; returns the running trial."""
        live = self.live(trial)
        if epoch not in trial.reports:
            trial.reports[epoch] = value
            live.report(value, epoch)
        return live

    def live(self, trial: Known) -> Trial:
        """The handle of a running trial. Optuna has no public way to one that `add_trial` put there."""
        study = self.study
        return Trial(study, study.get_trials(deepcopy=False)[trial.optuna_number]._trial_id)

    def _rebuilt(self) -> Study:
        study = create_study(direction=self._direction, pruner=self._pruner, sampler=self._sampler)
        for _, trial in sorted(self.trials.items()):
            trial.optuna_number = self._add(study, trial)
        return study

    def _add(self, study: Study, trial: Known) -> int:
        """Put a trial into the study as it is now; returns Optuna's number for it."""
        state, value, reports = OptunaState.RUNNING, None, dict(trial.reports)
        if trial.outcome is not None:
            state = STATES.get(trial.outcome.state, OptunaState.FAIL)
            value = trial.outcome.value
            if state is OptunaState.PRUNED and value is not None:
                reports = reports or {0: value}
        study.add_trial(
            create_trial(
                state=state,
                value=value,
                params=trial.params,
                distributions=self._distributions,
                intermediate_values=reports,
            )
        )
        return len(study.get_trials(deepcopy=False)) - 1


def check_outcome(number: int, outcome: Outcome | None) -> None:
    """Raise `ValueError` for a value that is none: failures are states, never numbers (guard G35)."""
    if outcome is None:
        return
    value = outcome.value
    if value is not None and (not math.isfinite(value) or outcome.state not in STATES):
        raise ValueError(
            f"trial {number}: {outcome.state} with the value {value}; a failure is a state, never a number"
        )
    if value is None and outcome.state is TrialState.COMPLETED:
        raise ValueError(f"trial {number}: completed without a value")
