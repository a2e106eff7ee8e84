"""Where the trials of a run come from: the search strategy, or a list of trainings that are wanted after the search."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Protocol

from scalecore.api.trials import Outcome, TrialRecord
from scalecore.planning.continuation import restored_today
from scalecore.store.asked_trial import AskedTrial
from scalecore.store.learning_curves import reports_of
from scalecore.store.retention import settle_weights
from scalecore.study.next_trial import next_trial
from scalecore.study.repeated_failures import no_result
from scalecore.study.session import Session


class TrialSource(Protocol):
    """Called by the driver, which treats the trials of every source alike: admission, retries, stops, checkpoints."""

    @property
    def total(self) -> int:
        """Number of trials after which the run is complete."""

    @property
    def finished(self) -> Sequence[TrialRecord]:
        """The finished trials that count towards `total`."""

    @property
    def all_asked(self) -> bool:
        """Whether every trial of `total` is in the journal."""

    def begin(self) -> list[AskedTrial]:
        """Called once, before the first trial; return the trials that earlier runs left unfinished."""

    def next(self) -> AskedTrial | None:
        """Return a new trial, already in the journal; None if nothing is left to try."""

    def should_prune(self, number: int, *, epoch: int, value: float) -> bool:
        """Return True to prune the running trial."""

    def tell(self, record: TrialRecord) -> None:
        """Receive the record of a trial, which is in the journal."""

    def settle_weights(self, record: TrialRecord) -> None:
        """Keep or delete the weights of a finished trial."""

    def problem(self) -> str | None:
        """Return why a run that was not interrupted has no result; None if it has one."""


class SearchTrials:
    """The trials of the search: proposed by the strategy, which receives their outcomes."""

    def __init__(self, session: Session) -> None:
        self._session = session

    @property
    def total(self) -> int:
        return self._session.state.total

    @property
    def finished(self) -> Sequence[TrialRecord]:
        return self._session.state.counted

    @property
    def all_asked(self) -> bool:
        return self._session.state.asked >= self._session.state.total

    def begin(self) -> list[AskedTrial]:
        session = self._session
        reports = partial(reports_of, session.folder, objective=session.plan.experiment["objective"])
        restored = restored_today(session.state, session.plan, reports)
        session.of_strategy(lambda strategy: strategy.restore(restored))
        session.note_phase()
        return session.state.unfinished

    def next(self) -> AskedTrial | None:
        return next_trial(self._session)

    def should_prune(self, number: int, *, epoch: int, value: float) -> bool:
        return self._session.of_strategy(lambda one: bool(one.should_prune(number, epoch=epoch, value=value)))

    def tell(self, record: TrialRecord) -> None:
        outcome = Outcome(state=record.state, value=record.value, reason=record.reason, flags=record.flags)
        self._session.of_strategy(lambda strategy: strategy.tell(record.number, outcome))
        self._session.note_phase()

    def settle_weights(self, record: TrialRecord) -> None:
        keep = self._session.plan.resolved.experiment.training.keep_weights
        settle_weights(self._session.folder, record, self._session.state.ranked[:keep])

    def problem(self) -> str | None:
        return no_result(self._session.state.counted)
