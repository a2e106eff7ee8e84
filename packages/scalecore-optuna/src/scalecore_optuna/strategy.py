"""The search strategy `architectural`: forced designs, a space-filling start, then a model-based sampler."""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from optuna.logging import WARNING, get_verbosity, set_verbosity
from optuna.samplers import RandomSampler
from optuna.study import Study

from scalecore.api.explanation import Explanation
from scalecore.api.space import middle
from scalecore.api.trials import Origin, Outcome, Proposal, RestoredTrial, TrialState
from scalecore_optuna.configurations import configurations, hyperparameter_extremes
from scalecore_optuna.coverage import Coverage, Point, Settled, Tried
from scalecore_optuna.explanation import covered, forced_designs, last_choice, moved, recommendation
from scalecore_optuna.forced import ForcedTrials, extremes, maximin, merged
from scalecore_optuna.frontier import FrontierSampler
from scalecore_optuna.grid import Grid
from scalecore_optuna.inner_samplers import inner_sampler
from scalecore_optuna.pruning import Pruning
from scalecore_optuna.sampler import MOVED, ArchitecturalSampler, declared_distributions
from scalecore_optuna.space_filling import Spread
from scalecore_optuna.trial_history import Known, Ledger, check_outcome

if TYPE_CHECKING:
    from scalecore.api.strategy import SearchContext
    from scalecore_optuna.options import ArchitecturalOptions

__all__ = ["ArchitecturalStrategy"]

STARTUP, FIRST_DESIGN, LEAST_DESIGN = 20, 12, 6
"""Default number of startup trials. With `frontier`, the forced and startup trials together make at least twelve."""


class ArchitecturalStrategy:
    """Implements `scalecore.api.strategy.SearchStrategy` and `SupportsExplain`.

    The result of `ask` depends on the study's seed, the trial's number, the number of calls for that number, and the
    trials so far: a restored strategy continues exactly like an uninterrupted one.
    """

    def __init__(self, options: ArchitecturalOptions, context: SearchContext) -> None:
        # Optuna logs to the terminal at level INFO by default; scalecore's loggers report on a study.
        set_verbosity(max(get_verbosity(), WARNING))
        self._options = options
        self._context = context
        self._grid = grid = Grid(context.architectures)
        weight = 0.0 if options.inner == "frontier" else options.coverage
        self._coverage = Coverage(grid, context.space, weight=weight, trials=context.trials, near=options.near_repeat)
        self._frontier = FrontierSampler(self._coverage, roles=context.roles)
        coordinates = self._frontier.surrogate.coordinates
        self._middle: dict[str, Any] = {name: middle(distribution) for name, distribution in context.space.items()}
        designs = {
            "extremes": lambda: extremes(grid, options.extremes),
            "maximin": lambda: maximin(coordinates.scaled, grid, count=options.maximin_trials),
            "hyperparameters": lambda: hyperparameter_extremes(
                context.space, maximin(coordinates.scaled, grid, count=1)[0].architecture
            ),
            "configurations": lambda: configurations(options, context, grid),
        }
        forced = merged((design for name in options.designs for design in designs[name]()), middle=self._middle)
        first = max(FIRST_DESIGN - len(forced), LEAST_DESIGN) if options.inner == "frontier" else STARTUP
        self._startup = first if options.startup_trials is None else options.startup_trials
        seed = np.random.SeedSequence([context.seed, 0])
        self._spread = Spread(grid, context.space, coordinates=coordinates, seed=seed)
        self._distributions = declared_distributions(self._coverage)
        self._ledger = Ledger(
            direction=context.direction,
            distributions=self._distributions,
            sampler=RandomSampler(seed=0),
            penalise=options.diverged == "penalise",
        )
        self._forced = ForcedTrials(forced, middle=self._middle, coverage=self._coverage, ledger=self._ledger)
        self._pruning: Pruning | None = None
        if options.pruner != "none":
            depth = coordinates.roles.get("depth")
            self._pruning = Pruning(options, grid=grid, depth=depth, space=context.space, direction=context.direction)
        if options.inner not in ("frontier", "qmc"):
            # Report errors in its options before the first trial.
            inner_sampler(options.inner, options=options.inner_options, seed=0)
        self._trials = self._ledger.trials
        self._asks: dict[int, int] = {}
        self._repeats: set[Point] = set()
        self._left_out: dict[int, str] = {}
        self._visits: list[Mapping[str, Any]] = []
        self._known_tried: Tried | None = None

    @property
    def study(self) -> Study:
        """The in-memory Optuna study, with the architecture among the parameters of every trial (guard G20)."""
        return self._ledger.study

    @property
    def left_out(self) -> Mapping[int, str]:
        """Number -> reason, for restored trials outside the current grid or space (guard G34)."""
        return dict(self._left_out)

    def planned(self) -> Sequence[Proposal]:
        return self._forced.planned()

    def explain(self) -> Explanation:
        trials = [trial for _, trial in sorted(self._trials.items())]
        moves = moved(trials)
        kinds = [trial.origin.kind for trial in trials]
        designs = " and ".join(self._options.designs) or "nothing"
        return Explanation(
            method=f"{designs} forced, {self._startup} startup trials, then {self._options.inner}",
            phase=self.phase(),
            origins={kind: kinds.count(kind) for kind in dict.fromkeys(kinds)},
            forced=forced_designs(self._forced),
            covered=covered(self._grid, trials),
            moved=moves,
            duplicates_avoided=moves.get("repeat", 0) + len(self._repeats),
            last=last_choice(self._trials),
            recommended=recommendation(self._frontier.surrogate, self._trials, direction=self._context.direction),
            left_out=self.left_out,
        )

    def phase(self) -> str:
        return self._phase(self._tried())

    def restore(self, trials: Sequence[RestoredTrial]) -> None:
        restored = {}
        for trial in trials:
            if misfit := self._misfit(trial.proposal):
                self._left_out[trial.number] = misfit
                continue
            check_outcome(trial.number, trial.outcome)
            restored[trial.number] = self._known(trial.proposal, outcome=trial.outcome, reports=trial.reports)
        self._ledger.restore(restored)
        if self._pruning is not None:
            self._pruning.restore(restored)
        self._known_tried = None

    def ask(self, number: int) -> Proposal | None:
        if number in self._trials or number in self._left_out:
            raise ValueError(f"trial {number} was already requested")
        asks = self._asks.get(number, 0)
        self._asks[number] = asks + 1
        tried = self._tried()
        asked: int | None = None
        phase = self._phase(tried)
        if forced := self._forced.next(tried, repeats=self._repeats):
            proposal = forced
        elif phase == "exhausted":
            return None
        elif phase == "startup" or self._options.inner == "qmc":
            proposal = self._spread_proposal(tried, phase)
        else:
            proposal, asked = self._sampled_proposal(self.study, tried, seed=[number, asks])
        trial = self._known(proposal)
        self._ledger.add(number, trial, asked=asked)
        if self._pruning is not None:
            self._pruning.start(number, trial.architecture)
        self._coverage.note(tried, trial.params)
        return proposal

    def tell(self, number: int, outcome: Outcome) -> None:
        if number in self._left_out:
            return
        trial = self._ledger.open.get(number)
        if trial is None:
            raise ValueError(f"trial {number} is not running, so it cannot have an outcome")
        check_outcome(number, outcome)
        if outcome.duplicate_of is not None:
            # It was not run: remember only that it must not be proposed again.
            self._repeats.add(self._coverage.point(trial.architecture.values, trial.hyperparameters))
            self._ledger.drop(number)
            if self._pruning is not None:
                self._pruning.forget(number)
            self._known_tried = None
            return
        self._ledger.finish(number, outcome)
        if self._pruning is not None:
            self._pruning.finish(number, trial)
        if outcome.state is TrialState.OUT_OF_MEMORY:
            self._known_tried = None

    def should_prune(self, number: int, *, epoch: int, value: float) -> bool:
        trial = self._ledger.open.get(number)
        if trial is None or self._pruning is None or not math.isfinite(value):
            return False
        new = epoch not in trial.reports
        trial.reports.setdefault(epoch, value)
        prune = self._pruning.should_prune(number, epoch=epoch, value=value, new=new)
        return prune and (self._options.prune_forced or trial.origin.kind != "forced")

    # --- phases -----------------------------------------------------------------------------------------------------

    def _phase(self, tried: Tried) -> str:
        """The phase of the next trial."""
        if self._forced.next(tried, repeats=self._repeats) is not None:
            return "forced"
        if self._coverage.exhausted(tried):
            return "exhausted"
        return "startup" if self._started() < self._startup else "sampled"

    def _started(self) -> int:
        """Number of startup trials that are running or inform the sampler. Counting stops at the required number."""
        kinds = ("forced", "replicate", "imported")
        penalty = TrialState.DIVERGED if self._options.diverged == "penalise" else None
        counting = (
            trial
            for trial in self._trials.values()
            if trial.origin.kind not in kinds
            and (trial.outcome is None or trial.outcome.value is not None or trial.outcome.state is penalty)
        )
        return sum(1 for _ in itertools.islice(counting, self._startup))

    def _spread_proposal(self, tried: Tried, phase: str) -> Proposal:
        others = [trial for trial in self._trials.values() if trial.origin.kind not in ("forced", "replicate")]
        at_middle = sum(trial.hyperparameters == self._middle for trial in self._trials.values())
        # Equal hyper-parameters best show the architecture's effect: a third of the first design is at the middles.
        middles = self._options.inner == "frontier" and 3 * at_middle < len(self._trials) + 1
        settled = self._coverage.settle(self._spread.point(len(others), tried, middles=middles), tried)
        reason = f"{self._options.inner}: " if phase == "sampled" else "startup: "
        origin = Origin(
            kind="sampled" if phase == "sampled" else "startup",
            reason=reason + "an architecture far from those already tried",
        )
        return Proposal(
            architecture=settled.architecture,
            hyperparameters=settled.hyperparameters,
            origin=_moved_origin(settled) or origin,
        )

    def _sampled_proposal(self, study: Study, tried: Tried, *, seed: list[int]) -> tuple[Proposal, int]:
        """The sampler's suggestion, and its number in Optuna's study."""
        drawn = int(np.random.SeedSequence([self._context.seed, 1, *seed]).generate_state(1)[0])
        if self._options.inner == "frontier":
            self._frontier.reseed(drawn)
            self._frontier.tried = tried
            inner: Any = self._frontier
        else:
            inner = inner_sampler(self._options.inner, options=self._options.inner_options, seed=drawn)
        study.sampler = ArchitecturalSampler(inner, self._coverage, tried=tried)
        trial = study.ask(self._distributions)
        architecture = self._grid.find(trial.params)
        assert architecture is not None, "the sampler settles on feasible architectures"
        move = study.get_trials(deepcopy=False)[trial.number].system_attrs.get(MOVED)
        origin = Origin(kind="sampled", reason=f"{self._options.inner}, based on {self._ledger.informative} trials")
        if move is not None:
            origin = Origin(
                kind="redirected",
                reason=move["reason"],
                moved_from=move["from"],
                moved_to=move["to"],
                rule=move["rule"],
            )
        hyperparameters = {name: trial.params[name] for name in self._context.space}
        return Proposal(architecture=architecture, hyperparameters=hyperparameters, origin=origin), trial.number

    # --- trials -----------------------------------------------------------------------------------------------------

    def _tried(self) -> Tried:
        """The points tried so far. Cached, because collecting them from thousands of trials is slow."""
        if self._known_tried is None:
            tried = self._coverage.tried(
                [*((trial.params, False) for trial in self._trials.values()), *((v, False) for v in self._visits)]
            )
            tried.points.update(self._repeats)
            for trial in self._trials.values():
                if trial.outcome is not None and trial.outcome.state is TrialState.OUT_OF_MEMORY:
                    tried.unfit.add(self._grid.key(trial.architecture.values))
            self._known_tried = tried
        running = self._ledger.open.values()
        self._known_tried.running = {self._grid.key(trial.architecture.values) for trial in running}
        return self._known_tried

    def _misfit(self, proposal: Proposal) -> str | None:
        """Why the current sampler cannot use an earlier trial; None if it can."""
        if self._grid.find(proposal.architecture.values) is None:
            return f"{proposal.architecture.id} is no longer a feasible architecture"
        space, values = self._context.space, proposal.hyperparameters
        if missing := [name for name in space if name not in values]:
            self._visits.append(proposal.architecture.values)
            return f"it has no value for {', '.join(missing)}"
        if further := [name for name in values if name not in space]:
            return f"{', '.join(further)} is no longer varied"
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


def _moved_origin(settled: Settled) -> Origin | None:
    """The origin of a trial that a rule moved; None if no rule moved it."""
    if settled.moved_from is None:
        return None
    return Origin(
        kind="redirected",
        reason=settled.reason,
        moved_from=settled.moved_from,
        moved_to=settled.moved_to,
        rule=settled.rule,
    )
