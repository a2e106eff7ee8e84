"""The search strategy `architectural`: forced designs, a space-filling start, then a sampler of Optuna; no repeats."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from optuna.logging import WARNING, get_verbosity, set_verbosity
from optuna.pruners import BasePruner, MedianPruner, NopPruner
from optuna.samplers import BaseSampler, RandomSampler, TPESampler
from optuna.study import Study

from scalecore.explanation import Explanation
from scalecore.space import middle
from scalecore.trials import Origin, Outcome, Proposal, RestoredTrial, TrialState
from scalecore_optuna.coverage import Coverage, Point, Tried
from scalecore_optuna.explaining import covered, forced_designs, last_choice, moved
from scalecore_optuna.forced import Design, explain, extremes
from scalecore_optuna.grid import Grid
from scalecore_optuna.ledger import Known, Ledger, check_outcome
from scalecore_optuna.sampler import MOVED, ArchitecturalSampler, declared_distributions
from scalecore_optuna.spread import Spread

if TYPE_CHECKING:
    from scalecore.protocols import SearchContext
    from scalecore_optuna.options import ArchitecturalOptions

__all__ = ["ArchitecturalStrategy"]

TRANSIENT = (TrialState.FAILED, TrialState.TIMED_OUT)
"""Ends that say nothing about the configuration: a forced trial that ended so is asked for once more."""

FORCED_TRIES = 2


class ArchitecturalStrategy:
    """Satisfies `scalecore.protocols.SearchStrategy` and `Explains`.

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
        self._ledger = Ledger(
            direction=context.direction,
            distributions=self._distributions,
            pruner=self._pruner(),
            sampler=RandomSampler(seed=0),
        )
        self._trials = self._ledger.trials
        self._asks: dict[int, int] = {}
        self._repeats: set[Point] = set()
        self._left_out: dict[int, str] = {}

    @property
    def study(self) -> Study:
        """Optuna's study in memory, with the architecture among the parameters of every trial (guard G20)."""
        return self._ledger.study

    @property
    def left_out(self) -> Mapping[int, str]:
        """Restored trials that do not fit the grid or the space of today, by number, with the reason (guard G34)."""
        return dict(self._left_out)

    def planned(self) -> Sequence[Proposal]:
        return [self._forced_proposal(design) for design in self._forced]

    def explain(self) -> Explanation:
        tried = self._tried()
        moves = moved(self._trials.values())
        origins: dict[str, int] = {}
        for _, trial in sorted(self._trials.items()):
            origins[trial.origin.kind] = origins.get(trial.origin.kind, 0) + 1
        return Explanation(
            method=f"{self._options.inner}, forced {self._options.forced}",
            phase=self._phase(tried),
            origins=origins,
            forced=forced_designs(self._forced, self._trials),
            covered=covered(self._grid, self._trials.values()),
            moved=moves,
            duplicates_avoided=moves.get("repeat", 0) + len(self._repeats),
            last=last_choice(self._trials),
            left_out=self.left_out,
        )

    def restore(self, trials: Sequence[RestoredTrial]) -> None:
        restored = {}
        for trial in trials:
            if misfit := self._misfit(trial.proposal):
                self._left_out[trial.number] = misfit
                continue
            check_outcome(trial.number, trial.outcome)
            restored[trial.number] = self._known(trial.proposal, outcome=trial.outcome, reports=trial.reports)
        self._ledger.restore(restored)

    def ask(self, number: int) -> Proposal | None:
        if number in self._trials or number in self._left_out:
            raise ValueError(f"trial {number} was asked for already")
        asks = self._asks.get(number, 0)
        self._asks[number] = asks + 1
        tried = self._tried()
        asked: int | None = None
        phase = self._phase(tried)
        if design := self._next_forced(tried):
            proposal = self._forced_proposal(design)
        elif phase == "exhausted":
            return None
        elif phase == "startup" or self._options.inner == "qmc":
            proposal = self._spread_proposal(tried)
        else:
            proposal, asked = self._sampled_proposal(self.study, tried, seed=[number, asks])
        self._ledger.add(number, self._known(proposal), asked=asked)
        return proposal

    def tell(self, number: int, outcome: Outcome) -> None:
        if number in self._left_out:
            return
        trial = self._trials.get(number)
        if trial is None or trial.outcome is not None:
            raise ValueError(f"trial {number} is not running, so nothing can be told of it")
        check_outcome(number, outcome)
        if outcome.duplicate_of is not None:
            # It was not run, so there is nothing to learn from: only that it is not to be proposed again.
            self._repeats.add(self._coverage.point(trial.architecture.values, trial.hyperparameters))
            self._ledger.drop(number)
            return
        self._ledger.finish(number, outcome)

    def should_prune(self, number: int, *, epoch: int, value: float) -> bool:
        trial = self._trials.get(number)
        if trial is None or self._options.pruner == "none" or not math.isfinite(value):
            return False
        live = self._ledger.report(trial, epoch=epoch, value=value)
        return trial.origin.kind != "forced" and live.should_prune()

    def _phase(self, tried: Tried) -> str:
        """The phase of the next trial."""
        if self._next_forced(tried) is not None:
            return "forced"
        if self._coverage.exhausted(tried):
            return "exhausted"
        return "startup" if self._started() < self._options.startup_trials else "sampled"

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
            ends = [
                trial.outcome
                for trial in self._trials.values()
                if trial.origin.kind == "forced" and trial.architecture is design.architecture
            ]
            if not ends and point not in tried.points:
                return design
            again = 0 < len(ends) < FORCED_TRIES and all(end is not None and end.state in TRANSIENT for end in ends)
            if again and point not in self._repeats:
                return design
        return None

    def _started(self) -> int:
        """Trials after the forced ones that ran, or still run."""
        return sum(
            trial.origin.kind not in ("forced", "replicate") and (trial.outcome is None or trial.taught)
            for trial in self._trials.values()
        )

    def _spread_proposal(self, tried: Tried) -> Proposal:
        index = sum(trial.origin.kind not in ("forced", "replicate") for trial in self._trials.values())
        settled = self._coverage.settle(self._spread.point(index, tried), tried)
        if settled.moved_from is not None:
            origin = Origin(
                kind="redirected",
                reason=settled.reason,
                moved_from=settled.moved_from,
                moved_to=settled.moved_to,
                rule=settled.rule,
            )
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
        move = study.get_trials(deepcopy=False)[trial.number].system_attrs.get(MOVED)
        learnt = sum(known.taught for known in self._trials.values())
        origin = (
            Origin(kind="sampled", reason=f"{self._options.inner}, knowing {learnt} trials")
            if move is None
            else Origin(
                kind="redirected",
                reason=move["reason"],
                moved_from=move["from"],
                moved_to=move["to"],
                rule=move["rule"],
            )
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

    def _known(
        self, proposal: Proposal, *, outcome: Outcome | None = None, reports: Mapping[int, float] | None = None
    ) -> Known:
        architecture = self._grid.find(proposal.architecture.values)
        assert architecture is not None, "only feasible architectures are proposed, and only they are restored"
        return Known(
            architecture=architecture,
            hyperparameters={name: proposal.hyperparameters[name] for name in self._context.space},
            origin=proposal.origin,
            outcome=outcome,
            reports={epoch: value for epoch, value in (reports or {}).items() if math.isfinite(value)},
        )
