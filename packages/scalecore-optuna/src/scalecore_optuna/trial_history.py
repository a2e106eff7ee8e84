"""The strategy's trials, and the in-memory Optuna study that is built from them."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Literal

from attrs import define, field
from optuna.pruners import NopPruner
from optuna.study import Study, create_study
from optuna.trial import Trial, create_trial
from optuna.trial import TrialState as OptunaState

from scalecore.api.space import Architecture, Value
from scalecore.api.trials import Origin, Outcome, TrialState

if TYPE_CHECKING:
    from optuna.distributions import BaseDistribution
    from optuna.samplers import BaseSampler

__all__ = ["Known", "Ledger", "check_outcome", "live_trial"]

STATES = {TrialState.COMPLETED: OptunaState.COMPLETE, TrialState.PRUNED: OptunaState.PRUNED}
"""Outcomes with a value -> Optuna's state (guard G35)."""

MEMORY = "memory"
"""The constraint that a trial violates if it did not fit into memory."""


@define(kw_only=True)
class Known:
    """The strategy's view of a trial. Optuna's study can be rebuilt from all of them."""

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
    def informative(self) -> bool:
        """Whether the trial ended with a value that informs the sampler."""
        return self.value is not None

    @property
    def value(self) -> float | None:
        """The trial's value; None for a value that says nothing about the configuration."""
        return None if self.outcome is None or self.outcome.censored else self.outcome.value


class Ledger:
    """All trials by number, and Optuna's study with the architecture among each trial's parameters (guard G20).

    | outcome | in Optuna |
    |---|---|
    | a value | COMPLETE or PRUNED with the value |
    | did not fit into memory | PRUNED, constraint `memory` violated |
    | predicts a constant | PRUNED without a value: worse than all others for its samplers (G09) |
    | diverged | the same, or FAIL without `penalise` |
    | anything else | FAIL, which samplers ignore |

    A failure is never a number (G35). The study contains the trials in the order of their numbers, and is rebuilt if
    that order was lost. A restored strategy therefore has the same study as an uninterrupted one.
    """

    def __init__(
        self,
        *,
        direction: Literal["minimize", "maximize"],
        distributions: Mapping[str, BaseDistribution],
        sampler: BaseSampler,
        penalise: bool,
    ) -> None:
        self.trials: dict[int, Known] = {}
        self.forced: dict[int, Known] = {}
        """The forced trials."""
        self.open: dict[int, Known] = {}
        """The running trials."""
        self.informative = 0
        """Number of trials with a value that informs the sampler."""
        self._direction = direction
        self._distributions = dict(distributions)
        self._sampler = sampler
        self._penalise = penalise
        self._last = -1
        self._study = self._rebuilt()
        self._in_order = True

    @property
    def study(self) -> Study:
        """Optuna's study, with the trials in order."""
        if not self._in_order:
            self._study = self._rebuilt()
            self._in_order = True
        return self._study

    def restore(self, trials: Mapping[int, Known]) -> None:
        for number, trial in trials.items():
            self._note(number, trial)
        self._in_order = False

    def add(self, number: int, trial: Known, *, asked: int | None = None) -> None:
        """Add a running trial. `asked` is its number in Optuna's study if the trial exists there already."""
        study = self.study
        in_order = number > self._last
        self._note(number, trial)
        trial.optuna_number = self._add(study, trial) if asked is None else asked
        self._in_order = in_order

    def drop(self, number: int) -> None:
        """Remove a trial that was not run."""
        for trials in (self.trials, self.forced, self.open):
            trials.pop(number, None)
        self._last = max(self.trials, default=-1)
        self._in_order = False

    def finish(self, number: int, outcome: Outcome) -> None:
        """Record the outcome of a trial."""
        trial = self.open.pop(number)
        trial.outcome = outcome
        self.informative += trial.informative
        if not self._in_order:
            return
        live = live_trial(self._study, trial.optuna_number)
        state = self._state(outcome)
        if trial.informative:
            for epoch, value in self._reports(trial).items():
                live.report(value, epoch)
        if outcome.state is TrialState.OUT_OF_MEMORY:
            live.set_constraint(MEMORY, 1.0)
        if state is OptunaState.PRUNED:
            # `Study.tell` would use the last report as the value and rejects a pruned trial without reports.
            values = None if trial.value is None else [trial.value]
            self._study._storage.set_trial_state_values(live._trial_id, state=state, values=values)
        else:
            self._study.tell(trial.optuna_number, trial.value, state=state)

    def _note(self, number: int, trial: Known) -> None:
        self.trials[number] = trial
        self._last = max(self._last, number)
        if trial.origin.kind == "forced":
            self.forced[number] = trial
        if trial.outcome is None:
            self.open[number] = trial
        self.informative += trial.informative

    def _state(self, outcome: Outcome) -> OptunaState:
        if outcome.censored or outcome.state is TrialState.OUT_OF_MEMORY:
            return OptunaState.PRUNED
        if outcome.state is TrialState.DIVERGED and self._penalise:
            return OptunaState.PRUNED
        return STATES.get(outcome.state, OptunaState.FAIL)

    def _reports(self, trial: Known) -> dict[int, float]:
        """The intermediate values for Optuna. Its samplers use those of pruned trials."""
        outcome = trial.outcome
        if outcome is None or trial.value is None:
            return {}
        return dict(sorted(trial.reports.items())) or ({0: trial.value} if outcome.state == "pruned" else {})

    def _rebuilt(self) -> Study:
        study = create_study(direction=self._direction, sampler=self._sampler, pruner=NopPruner())
        for _, trial in sorted(self.trials.items()):
            trial.optuna_number = self._add(study, trial)
        return study

    def _add(self, study: Study, trial: Known) -> int:
        """Add a trial in its current state; return its number in Optuna's study."""
        outcome = trial.outcome
        study.add_trial(
            create_trial(
                state=OptunaState.RUNNING if outcome is None else self._state(outcome),
                value=trial.value,
                params=trial.params,
                distributions=self._distributions,
                intermediate_values=self._reports(trial),
                constraints={MEMORY: 1.0} if outcome and outcome.state is TrialState.OUT_OF_MEMORY else None,
            )
        )
        return len(study.get_trials(deepcopy=False)) - 1


def live_trial(study: Study, number: int) -> Trial:
    """The handle of a running trial. Optuna has no public handle for a trial added with `add_trial`."""
    return Trial(study, study.get_trials(deepcopy=False)[number]._trial_id)


def check_outcome(number: int, outcome: Outcome | None) -> None:
    """Raise `ValueError` if state and value contradict each other. A failure is a state, never a number (guard G35)."""
    if outcome is None:
        return
    value = outcome.value
    if value is not None and (not math.isfinite(value) or outcome.state not in STATES):
        raise ValueError(f"trial {number}: {outcome.state} with the value {value}; a failure must not have a value")
    if value is None and outcome.state is TrialState.COMPLETED:
        raise ValueError(f"trial {number}: completed without a value")
