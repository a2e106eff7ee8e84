"""Aging evolution: a child of one of the newest trials, with one thing changed.

After Real, Aggarwal, Huang and Le, "Regularized Evolution for Image Classifier Architecture Search", 2019: the parent
is the best of a few drawn from the newest trials, so that a trial that was good by luck dies of age.
"""

from __future__ import annotations

import random
from typing import TYPE_CHECKING

from scalecore.api.trials import Origin, Proposal, TrialState

if TYPE_CHECKING:
    from collections.abc import Sequence

    from scalecore.api.space import Architecture
    from scalecore.api.strategy import SearchContext
    from scalecore.api.trials import Outcome, RestoredTrial
    from scalecore_example.options import EvolutionOptions

__all__ = ["Evolution"]

DRAWS = 500
"""So many draws that were all tried before: then nothing new is left."""

Key = tuple[str, tuple[tuple[str, object], ...]]


class Evolution:
    """Satisfies `scalecore.api.strategy.SearchStrategy`; called by the driver only, by one thread."""

    def __init__(self, options: EvolutionOptions, context: SearchContext) -> None:
        self._options, self._context = options, context
        self._proposals: dict[int, Proposal] = {}
        self._values: dict[int, float] = {}
        self._tried: set[Key] = set()

    def planned(self) -> Sequence[Proposal]:
        """Nothing is known beforehand."""
        return ()

    def restore(self, trials: Sequence[RestoredTrial]) -> None:
        """The history of earlier runs. Trials that do not fit today's shapes or space teach nothing, and do no harm."""
        for trial in trials:
            if self._fits(trial.proposal):
                self._remember(trial.number, trial.proposal)
                if trial.outcome is not None:
                    self.tell(trial.number, trial.outcome)

    def ask(self, number: int) -> Proposal | None:
        """Depends on the seed, the number and the history only: so an interruption changes nothing."""
        for draw in range(DRAWS):
            generator = random.Random(f"{self._context.seed}/{number}/{draw}")
            proposal = self._drawn(generator) if self._is_young() else self._child(generator)
            if _key(proposal) not in self._tried:
                self._remember(number, proposal)
                return proposal
        return None

    def tell(self, number: int, outcome: Outcome) -> None:
        """Only what completed has a value to go by; a failure is never a number, and a pruned trial's is no end.

        A model that predicts a constant is no parent, however good its value looks.
        Of a duplicate the value is another trial's, and the number is asked for again.
        """
        if outcome.duplicate_of is not None:
            return
        if number not in self._proposals or outcome.censored:
            return
        if outcome.state is TrialState.COMPLETED and outcome.value is not None:
            self._values[number] = outcome.value

    def should_prune(self, number: int, *, epoch: int, value: float) -> bool:
        """Never."""
        return False

    def _is_young(self) -> bool:
        return len(self._values) < self._options.population

    def _drawn(self, generator: random.Random) -> Proposal:
        return Proposal(
            architecture=generator.choice(self._context.architectures),
            hyperparameters={name: one.at(generator.random()) for name, one in self._context.space.items()},
            origin=Origin(kind="startup", reason="the first population is drawn at random"),
        )

    def _child(self, generator: random.Random) -> Proposal:
        population = sorted(self._values)[-self._options.population :]
        sign = 1.0 if self._context.direction == "minimize" else -1.0
        rivals = generator.sample(population, self._options.tournament)
        number = min(rivals, key=lambda rival: (sign * self._values[rival], rival))
        architecture, values = self._proposals[number].architecture, dict(self._proposals[number].hyperparameters)
        neighbours = self._neighbours(architecture)
        # As likely to change as each hyper-parameter.
        names: list[str | None] = [*self._context.space, *([None] if neighbours else [])]
        name = generator.choice(names) if names else None
        if name is not None:
            distribution = self._context.space[name]
            unit = distribution.unit(values[name]) + generator.gauss(0, self._options.step)
            values[name] = distribution.at(min(max(unit, 0.0), 1.0))
        elif neighbours:
            architecture = generator.choice(neighbours)
        origin = Origin(kind="sampled", reason=f"trial {number} with another {name or 'shape'}")
        return Proposal(architecture=architecture, hyperparameters=values, origin=origin)

    def _neighbours(self, architecture: Architecture) -> list[Architecture]:
        """The feasible shapes that are the fewest steps away in the grid; under a budget that may be more than one."""

        def steps(other: Architecture) -> int:
            return sum(
                abs(sizes.index(other.values[name]) - sizes.index(architecture.values[name]))
                for name, sizes in self._context.dimensions.items()
            )

        others = [one for one in self._context.architectures if one.id != architecture.id]
        nearest = min(map(steps, others), default=0)
        return [one for one in others if steps(one) == nearest]

    def _remember(self, number: int, proposal: Proposal) -> None:
        self._proposals[number] = proposal
        self._tried.add(_key(proposal))

    def _fits(self, proposal: Proposal) -> bool:
        space, values = self._context.space, proposal.hyperparameters
        known = any(proposal.architecture.id == one.id for one in self._context.architectures)
        return known and set(values) == set(space) and all(space[name].contains(values[name]) for name in space)


def _key(proposal: Proposal) -> Key:
    return proposal.architecture.id, tuple(sorted(proposal.hyperparameters.items()))
