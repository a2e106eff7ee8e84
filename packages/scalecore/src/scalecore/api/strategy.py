"""The protocol of search strategies.

The *driver* is the process of `scalecore run`: it owns the study and never imports torch.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Literal, Protocol, runtime_checkable

from attrs import field, frozen

from scalecore.api.space import Architecture, ArchitectureSpace, Distribution

if TYPE_CHECKING:
    from scalecore.api.explanation import Explanation
    from scalecore.api.trials import Outcome, Proposal, RestoredTrial

__all__ = ["SearchContext", "SearchStrategy", "SupportsExplain", "SupportsPhase"]


@frozen(kw_only=True)
class SearchContext:
    """The second argument of a strategy's factory.

    `architectures` are the feasible ones in a fixed order, `dimensions` the values of each dimension that occur in
    them, `space` the distributions of the varied hyper-parameters, `trials` the total of the study, and `roles` the
    family's description of its dimensions (`depth` and the `roles` of `ArchitectureSpace`). `shapes` are all legal
    shapes of the family with the names derived from them, and `infeasible` has by id why some of them are not among
    `architectures`.
    """

    architectures: Sequence[Architecture]
    dimensions: Mapping[str, tuple[int, ...]]
    space: Mapping[str, Distribution]
    direction: Literal["minimize", "maximize"]
    trials: int
    seed: int
    roles: Mapping[str, str] = field(factory=dict)
    shapes: ArchitectureSpace | None = None
    infeasible: Mapping[str, str] = field(factory=dict)


@runtime_checkable
class SearchStrategy(Protocol):
    """Proposes the trials of a study. Called in the driver only, by one thread.

    The driver calls `restore` once, then `ask` and `tell` in any order (several trials may run at the same time), and
    `should_prune` after each epoch of a running trial. Each `ask` that returns a proposal is followed by exactly one
    `tell`, either in this run or, through `restore`, in a later one. An exception ends the run; finished trials are
    kept.
    """

    def planned(self) -> Sequence[Proposal]:
        """Return the trials that do not depend on results, in order; the plan lists them as forced. May be empty."""
        ...

    def restore(self, trials: Sequence[RestoredTrial]) -> None:
        """Restore the strategy from all trials of the journal, in the order of their numbers.

        A `tell` follows later for each unfinished trial. A resumed study may have other architectures, another space or
        another total. Past trials that fit the current context count as if this strategy had proposed them. A trial
        that does not fit must not raise; a strategy that implements `SupportsExplain` lists it in `left_out`. Its
        number is used all the same, and a `tell` may follow.

        Imported results come first, with negative numbers and the origin `imported`. They may lack parameters, and they
        are not trials of the study.
        """
        ...

    def ask(self, number: int) -> Proposal | None:
        """Propose trial `number`, or return None if nothing is left to try.

        The proposal may depend only on the seed, the number and the history. The driver asks again for the same number
        after it reported a duplicate, and after None when a running trial has ended. The strategy counts as exhausted
        after 200 duplicates in a row, or after None while no trial runs.
        """
        ...

    def tell(self, number: int, outcome: Outcome) -> None:
        """Receive the outcome of a trial. With `duplicate_of` set, it was not run, and `ask(number)` follows again."""
        ...

    def should_prune(self, number: int, *, epoch: int, value: float) -> bool:
        """Return True to prune the running trial; `value` is the objective after `epoch`, which counts from 1."""
        ...


@runtime_checkable
class SupportsExplain(Protocol):
    """Optional for a search strategy: explains the search in `scalecore plan` and `scalecore status`."""

    def explain(self) -> Explanation:
        """Return the current state of the search, at any time after `restore`.

        Called in the driver, or by a read-only command with a new, restored strategy. Must not affect a later `ask`.
        """
        ...


@runtime_checkable
class SupportsPhase(Protocol):
    """Optional for a search strategy: reports its phase in `status` while the study runs."""

    def phase(self) -> str:
        """Return the phase of the next trial, as in `Explanation.phase`.

        Called in the driver after `restore`, each `ask` and each `tell`: it must be cheap and change nothing.
        """
        ...
