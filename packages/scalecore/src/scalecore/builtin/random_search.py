"""Random search: every trial is an independent draw from the feasible architectures and the declared space."""

from __future__ import annotations

import random
from collections.abc import Sequence

from scalecore.api.space import levels
from scalecore.api.strategy import SearchContext
from scalecore.api.trials import Origin, Outcome, Proposal, RestoredTrial


class RandomSearch:
    """Satisfies `scalecore.api.strategy.SearchStrategy`.

    A draw depends on the study's seed, the trial's number and how often that number was requested, so a resumed study
    draws the same configurations as an uninterrupted one. In a finite space no configuration is drawn twice.
    """

    def __init__(self, context: SearchContext) -> None:
        self._context = context
        self._asked: dict[int, int] = {}
        self._tried: set[tuple[str, tuple[tuple[str, object], ...]]] = set()

    def planned(self) -> Sequence[Proposal]:
        return ()

    def restore(self, trials: Sequence[RestoredTrial]) -> None:
        for trial in trials:
            if self._fits(trial.proposal):
                self._tried.add(_key(trial.proposal))

    def ask(self, number: int) -> Proposal | None:
        size = _size(self._context)
        if size is not None and len(self._tried) >= size:
            return None
        while True:
            attempt = self._asked[number] = self._asked.get(number, -1) + 1
            # A string as seed is hashed by SHA-512 and so is the same everywhere, unlike the hash of a tuple.
            generator = random.Random(f"{self._context.seed}/{number}/{attempt}")
            proposal = Proposal(
                architecture=generator.choice(self._context.architectures),
                hyperparameters={name: d.at(generator.random()) for name, d in self._context.space.items()},
                origin=Origin(kind="sampled", reason="drawn at random"),
            )
            if _key(proposal) not in self._tried:
                self._tried.add(_key(proposal))
                return proposal

    def tell(self, number: int, outcome: Outcome) -> None:
        """Do nothing: draws do not depend on outcomes."""

    def should_prune(self, number: int, *, epoch: int, value: float) -> bool:
        return False

    def _fits(self, proposal: Proposal) -> bool:
        """Whether the point is in the current grid and space; other points do not count as tried."""
        space, values = self._context.space, proposal.hyperparameters
        known = any(proposal.architecture.values == one.values for one in self._context.architectures)
        return known and set(values) == set(space) and all(space[name].contains(values[name]) for name in space)


def _key(proposal: Proposal) -> tuple[str, tuple[tuple[str, object], ...]]:
    return proposal.architecture.id, tuple(sorted(proposal.hyperparameters.items()))


def _size(context: SearchContext) -> int | None:
    """The number of configurations; None if a parameter is continuous."""
    size = len(context.architectures)
    for distribution in context.space.values():
        values = levels(distribution)
        if values is None:
            return None
        size *= values
    return size
