"""The search strategy `architectural`: forced designs, a space-filling start, then a sampler of Optuna; no repeats."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from attrs import define, field
from optuna.logging import WARNING, get_verbosity, set_verbosity
from optuna.pruners import BasePruner, MedianPruner, NopPruner
from optuna.samplers import BaseSampler, RandomSampler, TPESampler
from optuna.study import Study, StudyDirection, create_study
from optuna.trial import Trial, create_trial
from optuna.trial import TrialState as OptunaState

from scalecore.space import Architecture, Value, middle
from scalecore.trials import Origin, Outcome, Proposal, RestoredTrial, TrialState
from scalecore_optuna.coverage import Coverage, Point, Tried
from scalecore_optuna.forced import Design, explain, extremes
from scalecore_optuna.grid import Grid
from scalecore_optuna.sampler import MOVED, ArchitecturalSampler, declared_distributions
from scalecore_optuna.spread import Spread

if TYPE_CHECKING:
    from scalecore.protocols import SearchContext
    from scalecore_optuna.options import ArchitecturalOptions

__all__ = ["ArchitecturalStrategy"]

TRANSIENT = (TrialState.FAILED, TrialState.TIMED_OUT)
"""Ends that say nothing about the configuration: a forced trial that ended so is asked for once more."""

FORCED_TRIES = 2

STATES = {TrialState.COMPLETED: OptunaState.COMPLETE, TrialState.PRUNED: OptunaState.PRUNED}
"""What Optuna is told; every other end is a failure, which its samplers pass over (guard G35)."""


@define(kw_only=True)
class _Trial:
    """A trial as the strategy knows it; Optuna's study can be rebuilt from all of them."""

    architecture: Architecture
    hyperparameters: Mapping[str, Value]
    kind: str
    outcome: Outcome | None = None
    reports: dict[int, float] = field(factory=dict)
    optuna_number: int = -1

    @property
    def params(self) -> dict[str, Value]:
        return {**self.architecture.values, **self.hyperparameters}


class ArchitecturalStrategy:
    """Satisfies `scalecore.protocols.SearchStrategy`.

    What `ask` returns depends on the study's seed, the trial's number, how often that number was asked for, and the
    trials so far: a restored strategy goes on exactly as one that was never interrupted.
    """

    def __init__(self, options: ArchitecturalOptions, context: SearchContext) -> None:
        # Optuna speaks to the terminal at level INFO by itself; what is to be said of a study is said by loggers.
        set_verbosity(max(get_verbosity(), WARNING))
        self._options = options
        self._context = context
        self._grid = Grid(context.architectures)
        self._coverage = Coverage(
            self._grid, context.space, weight=options.coverage, trials=context.trials, near=options.near_repeat
        )
        self._distributions = declared_distributions(self._coverage)
        self._forced = extremes(self._grid, options.extremes) if options.forced == "extremes" else []
        self._middle: dict[str, Any] = {name: middle(distribution) for name, distribution in context.space.items()}
        self._spread = Spread(self._grid, context.space, seed=np.random.SeedSequence([context.seed, 0]))
        self._trials: dict[int, _Trial] = {}
        self._asks: dict[int, int] = {}
        self._repeats: set[Point] = set()
        self._left_out: dict[int, str] = {}
        self._study = self._rebuilt()
        self._in_order = True

    @property
    def study(self) -> Study:
        """Optuna's study in memory, with the architecture among the parameters of every trial (guard G20)."""
        if not self._in_order:
            self._study = self._rebuilt()
            self._in_order = True
        return self._study

    @property
    def left_out(self) -> Mapping[int, str]:
        """Restored trials that do not fit the grid or the space of today, by number, with the reason (guard G34)."""
        return dict(self._left_out)

    def planned(self) -> Sequence[Proposal]:
        return [self._forced_proposal(design) for design in self._forced]

    def restore(self, trials: Sequence[RestoredTrial]) -> None:
        for trial in trials:
            if misfit := self._misfit(trial.proposal):
                self._left_out[trial.number] = misfit
                continue
            self._check(trial.number, trial.outcome)
            self._remember(trial.number, trial.proposal, outcome=trial.outcome, reports=trial.reports)
        self._in_order = False

    def ask(self, number: int) -> Proposal | None:
        if number in self._trials or number in self._left_out:
            raise ValueError(f"trial {number} was asked for already")
        asks = self._asks.get(number, 0)
        self._asks[number] = asks + 1
        study = self.study
        tried = self._tried()
        asked: int | None = None
        if design := self._next_forced(tried):
            proposal = self._forced_proposal(design)
        elif self._coverage.exhausted(tried):
            return None
        elif self._started() < self._options.startup_trials or self._options.inner == "qmc":
            proposal = self._spread_proposal(tried)
        else:
            proposal, asked = self._sampled_proposal(study, tried, seed=[number, asks])
        self._in_order = all(number > known for known in self._trials)
        trial = self._remember(number, proposal)
        trial.optuna_number = self._add(study, trial) if asked is None else asked
        return proposal

    def tell(self, number: int, outcome: Outcome) -> None:
        if number in self._left_out:
            return
        trial = self._trials.get(number)
        if trial is None or trial.outcome is not None:
            raise ValueError(f"trial {number} is not running, so nothing can be told of it")
        self._check(number, outcome)
        if outcome.duplicate_of is not None:
            # It was not run, so there is nothing to learn from: only that it is not to be proposed again.
            self._repeats.add(self._coverage.point(trial.architecture.values, trial.hyperparameters))
            del self._trials[number]
            self._in_order = False
            return
        trial.outcome = outcome
        if self._in_order:
            state = STATES.get(outcome.state, OptunaState.FAIL)
            if state is OptunaState.PRUNED and not trial.reports and outcome.value is not None:
                self._live(trial).report(outcome.value, 0)
            value = outcome.value if state is OptunaState.COMPLETE else None
            self._study.tell(trial.optuna_number, value, state=state)

    def should_prune(self, number: int, *, epoch: int, value: float) -> bool:
        trial = self._trials.get(number)
        if trial is None or self._options.pruner == "none" or not math.isfinite(value):
            return False
        live = self._live(trial)
        if epoch not in trial.reports:
            trial.reports[epoch] = value
            live.report(value, epoch)
        return trial.kind != "forced" and live.should_prune()

    def _forced_proposal(self, design: Design) -> Proposal:
        return Proposal(
            architecture=design.architecture,
            hyperparameters=self._middle,
            origin=Origin(kind="forced", label=design.label, reason=explain(design.label, design.architecture.values)),
        )

    def _next_forced(self, tried: Tried) -> Design | None:
        """The first forced design that has no trial yet, or only one that failed for a reason of its own."""
        for design in self._forced:
            point = self._coverage.point(design.architecture.values, self._middle)
            ends = [trial.outcome for trial in self._forced_trials(design)]
            if not ends and point not in tried.points:
                return design
            again = 0 < len(ends) < FORCED_TRIES and all(end is not None and end.state in TRANSIENT for end in ends)
            if again and point not in self._repeats:
                return design
        return None

    def _forced_trials(self, design: Design) -> Iterator[_Trial]:
        return (
            trial
            for trial in self._trials.values()
            if trial.kind == "forced" and trial.architecture is design.architecture
        )

    def _started(self) -> int:
        """Trials after the forced ones that ran, or still run."""
        return sum(
            trial.kind not in ("forced", "replicate") and (trial.outcome is None or trial.outcome.state in STATES)
            for trial in self._trials.values()
        )

    def _spread_proposal(self, tried: Tried) -> Proposal:
        index = sum(trial.kind not in ("forced", "replicate") for trial in self._trials.values())
        settled = self._coverage.settle(self._spread.point(index, tried), tried)
        if settled.moved_from is not None:
            origin = Origin(kind="redirected", reason=settled.reason, moved_from=settled.moved_from)
        elif self._started() < self._options.startup_trials:
            origin = Origin(kind="startup", reason="startup: an architecture far from those tried")
        else:
            origin = Origin(kind="sampled", reason=f"{self._options.inner}: an architecture far from those tried")
        return Proposal(architecture=settled.architecture, hyperparameters=settled.hyperparameters, origin=origin)

    def _sampled_proposal(self, study: Study, tried: Tried, *, seed: list[int]) -> tuple[Proposal, int]:
        """What the sampler suggests, and Optuna's number for it."""
        seeds = np.random.SeedSequence([self._context.seed, 1, *seed])
        inner = self._inner(int(seeds.generate_state(1)[0]))
        study.sampler = ArchitecturalSampler(inner, self._coverage, tried=tried)
        trial = study.ask(self._distributions)
        architecture = self._grid.find(trial.params)
        assert architecture is not None, "the sampler settles on feasible architectures"
        moved = study.get_trials(deepcopy=False)[trial.number].system_attrs.get(MOVED)
        learnt = sum(known.outcome is not None and known.outcome.state in STATES for known in self._trials.values())
        origin = (
            Origin(kind="sampled", reason=f"{self._options.inner}, knowing {learnt} trials")
            if moved is None
            else Origin(kind="redirected", reason=moved["reason"], moved_from=moved["from"])
        )
        hyperparameters = {name: trial.params[name] for name in self._context.space}
        return Proposal(architecture=architecture, hyperparameters=hyperparameters, origin=origin), trial.number

    def _inner(self, seed: int) -> BaseSampler:
        # One trial is enough for TPE to take over: the start is this strategy's own.
        return (
            RandomSampler(seed=seed) if self._options.inner == "random" else TPESampler(seed=seed, n_startup_trials=1)
        )

    def _pruner(self) -> BasePruner:
        return NopPruner() if self._options.pruner == "none" else MedianPruner(n_warmup_steps=self._options.prune_after)

    def _tried(self) -> Tried:
        tried = self._coverage.tried((trial.params, trial.outcome is None) for trial in self._trials.values())
        tried.points.update(self._repeats)
        return tried

    def _misfit(self, proposal: Proposal) -> str | None:
        """Why a trial of earlier cannot be told to today's sampler, or None."""
        if self._grid.find(proposal.architecture.values) is None:
            return f"{proposal.architecture.id} is no feasible architecture any more"
        space, values = self._context.space, proposal.hyperparameters
        if missing := [name for name in space if name not in values]:
            return f"it has no {', '.join(missing)}"
        if further := [name for name in values if name not in space]:
            return f"{', '.join(further)} is not varied any more"
        if outside := [name for name, distribution in space.items() if not distribution.contains(values[name])]:
            return f"{', '.join(f'{name}={values[name]!r}' for name in outside)} is outside the space"
        return None

    def _check(self, number: int, outcome: Outcome | None) -> None:
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

    def _remember(
        self,
        number: int,
        proposal: Proposal,
        *,
        outcome: Outcome | None = None,
        reports: Mapping[int, float] | None = None,
    ) -> _Trial:
        architecture = self._grid.find(proposal.architecture.values)
        assert architecture is not None, "only feasible architectures are proposed, and only they are restored"
        hyperparameters = {name: proposal.hyperparameters[name] for name in self._context.space}
        self._trials[number] = trial = _Trial(
            architecture=architecture,
            hyperparameters=hyperparameters,
            kind=proposal.origin.kind,
            outcome=outcome,
            reports={epoch: value for epoch, value in (reports or {}).items() if math.isfinite(value)},
        )
        return trial

    def _rebuilt(self) -> Study:
        """Optuna's study with all trials in the order of their numbers."""
        direction = StudyDirection.MAXIMIZE if self._context.direction == "maximize" else StudyDirection.MINIMIZE
        study = create_study(direction=direction, pruner=self._pruner(), sampler=RandomSampler(seed=0))
        for _, trial in sorted(self._trials.items()):
            trial.optuna_number = self._add(study, trial)
        return study

    def _add(self, study: Study, trial: _Trial) -> int:
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

    def _live(self, trial: _Trial) -> Trial:
        """The handle of a running trial. Optuna has no public way to one that `add_trial` put there."""
        study = self.study
        return Trial(study, study.get_trials(deepcopy=False)[trial.optuna_number]._trial_id)
