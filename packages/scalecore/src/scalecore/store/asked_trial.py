"""A trial between its proposal and its record, with its attempts."""

from __future__ import annotations

from collections.abc import Mapping

from attrs import define, field

from scalecore.api.space import Value
from scalecore.api.trials import FIRST_RETRAINED, Outcome, Proposal, TrialRecord
from scalecore.store.events import AttemptEnded, AttemptStarted


@define(kw_only=True)
class Attempt:
    """One attempt at a trial; `ended` is None while it runs, or if its driver was killed with it."""

    started: AttemptStarted
    ended: AttemptEnded | None = None


@define(kw_only=True)
class AskedTrial:
    """A trial with its attempts so far and, once it is finished, its record."""

    number: int
    proposal: Proposal
    hyperparameters: Mapping[str, Value]
    hash: str
    seed: int
    attempts: list[Attempt] = field(factory=list)
    record: TrialRecord | None = None

    @property
    def retrained(self) -> bool:
        """Whether the trial was trained after the search and does not belong to it."""
        return self.number >= FIRST_RETRAINED

    @property
    def outcome(self) -> Outcome | None:
        if self.record is None:
            return None
        record = self.record
        return Outcome(state=record.state, value=record.value, reason=record.reason, flags=record.flags)
