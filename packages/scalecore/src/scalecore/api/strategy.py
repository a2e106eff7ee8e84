"""What a search strategy does at run time.

The *driver* is the process of `scalecore run`: it owns the study and never imports torch.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Literal, Protocol, runtime_checkable

from attrs import field, frozen

from scalecore.api.space import Architecture, Distribution

if TYPE_CHECKING:
    from scalecore.api.explanation import Explanation
    from scalecore.api.trials import Outcome, Proposal, RestoredTrial

__all__ = ["SearchContext", "SearchStrategy", "SupportsExplain", "SupportsPhase"]


@frozen(kw_only=True)
class SearchContext:
    """What a strategy's factory is given besides its options.

    `architectures` are the feasible ones in a fixed order, `dimensions` the values of each dimension that occur among
    them, `space` the declared distributions of the study, `roles` what the family says of its dimensions (`depth` and
    the `roles` of `ArchitectureSpace`).
    """

    architectures: Sequence[Architecture]
    dimensions: Mapping[str, tuple[int, ...]]
    space: Mapping[str, Distribution]
    direction: Literal["minimize", "maximize"]
    trials: int
    seed: int
    roles: Mapping[str, str] = field(factory=dict)


@runtime_checkable
class SearchStrategy(Protocol):
    """Chooses what is tried next. Called in the driver only, by one thread.

    Order: `restore` once; then any number of `ask` and `tell` in any interleaving (several trials may be running), with
    `should_prune` after each epoch of a running trial. Every `ask` that returned a proposal is followed by one `tell`,
    in this run or, through `restore`, in a later one. An exception ends the run; everything finished is kept.
    """

    def planned(self) -> Sequence[Proposal]:
        """The trials that are known beforehand, in their order: what the plan lists as forced. May be empty."""
        ...

    def restore(self, trials: Sequence[RestoredTrial]) -> None:
        """All trials of the journal in the order of their numbers; unfinished ones will be told later.

        A study may continue with other architectures, another space or another total: trials of earlier that fit
        today's context count as if they had been asked for by this strategy. What does not fit must not raise; a
        strategy that explains itself names it in `left_out`. Either way the number is taken, and a `tell` may follow.

        Results from elsewhere come first, under negative numbers and with the origin `imported`; they may lack
        parameters, and none of them is a trial of the study.
        """
        ...

    def ask(self, number: int) -> Proposal | None:
        """What trial `number` shall be; None when nothing is left to try. Depends on the seed, the number and the
        history only.

        Asked again for the same number after a duplicate was told, and after None once a running trial has ended. After
        200 duplicates in a row, or None while nothing runs, the strategy counts as exhausted.
        """
        ...

    def tell(self, number: int, outcome: Outcome) -> None:
        """How the trial ended. With `duplicate_of` set, the proposal was not run, and `ask(number)` follows again."""
        ...

    def should_prune(self, number: int, *, epoch: int, value: float) -> bool:
        """Whether a running trial shall end now; `value` is the objective after `epoch`, which counts from 1."""
        ...


@runtime_checkable
class SupportsExplain(Protocol):
    """What a search strategy may have besides, so that `scalecore plan` and `scalecore status` explain the search."""

    def explain(self) -> Explanation:
        """The current state of the search: before the first trial, after `restore`, or at any time of a run.

        Called in the driver, or by a command that only reads, with a fresh strategy after `restore`. Changes nothing
        that a later `ask` depends on.
        """
        ...


@runtime_checkable
class SupportsPhase(Protocol):
    """What a search strategy may have besides, so that `status` names its phase while the study runs."""

    def phase(self) -> str:
        """The phase of the next trial, as `Explanation.phase`.

        Called in the driver after `restore`, each `ask` and each `tell`, so it must be cheap. Changes nothing.
        """
        ...
