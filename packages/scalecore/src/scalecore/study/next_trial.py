"""Asks the strategy for the next trial, checks it against the space and earlier trials, and journals it."""

from __future__ import annotations

from attrs import evolve

from scalecore.api.errors import StudyError
from scalecore.api.strategy import SearchStrategy
from scalecore.api.trials import Outcome, Proposal, TrialState
from scalecore.store.asked_trial import AskedTrial
from scalecore.store.events import AskedFor, DuplicateAvoided
from scalecore.store.identity import trial_content, trial_hash, trial_seed
from scalecore.store.record_json import proposed
from scalecore.study.session import Session

MAX_DUPLICATES = 200
"""Number of consecutive duplicates after which the strategy counts as exhausted."""


def next_trial(session: Session) -> AskedTrial | None:
    """Return a new trial, already in the journal; None if the strategy has nothing new.

    An exact duplicate is never run: the strategy gets the outcome of the earlier trial and is asked again (guard G30).
    Raises `StudyError` if the strategy raises or leaves the declared space.
    """
    plan, state = session.plan, session.state
    number = state.next_number(retrained=False)
    for _ in range(MAX_DUPLICATES):
        proposal = session.of_strategy(lambda strategy: _asked(strategy, number))
        if proposal is None:
            return None
        _check(session, proposal)
        values = {**plan.fixed, **proposal.hyperparameters}
        content = trial_content(
            {**plan.identity, "model": state.model or plan.model},
            unbound=plan.unbound,
            data=plan.data.fingerprint,
            architecture=proposal.architecture.values,
            hyperparameters=values,
        )
        seed = trial_seed(content, study_seed=plan.resolved.experiment.seed, data=plan.data.seed_data)
        identity = trial_hash(content, seed=seed)
        earlier = state.hashes.get(identity)
        if earlier is None:
            session.record(
                AskedFor(
                    number=number,
                    hash=identity,
                    seed=seed,
                    hyperparameters=values,
                    proposal=proposal,
                    phase=session.phase(),
                    given=("phase",),
                )
            )
            return state.trials[number]
        session.record(DuplicateAvoided(number=number, duplicate_of=earlier, proposal=proposal))
        known = state.trials[earlier].outcome or Outcome(state=TrialState.FAILED, reason="that trial is still running")
        outcome = evolve(known, duplicate_of=earlier)
        session.of_strategy(lambda strategy, outcome=outcome: strategy.tell(number, outcome))  # type: ignore[misc]
    session.message(
        "warning", f"the strategy proposed {MAX_DUPLICATES} duplicates in a row: nothing new is left to try"
    )
    return None


def _asked(strategy: SearchStrategy, number: int) -> Proposal | None:
    proposal = strategy.ask(number)
    return None if proposal is None else proposed(proposal)


def _check(session: Session, proposal: Proposal) -> None:
    """Raise `StudyError` if the strategy leaves the declared space, before anything is trained."""
    space = session.plan.resolved.experiment.search.space
    name = session.plan.resolved.search.record.name
    architecture, values = proposal.architecture, proposal.hyperparameters
    if architecture not in session.plan.grid.architectures:
        raise StudyError(f"strategy {name!r} proposed {architecture.id}, which is not feasible under the budget")
    if set(values) != set(space):
        raise StudyError(f"strategy {name!r} proposed values for {sorted(values)}, expected {sorted(space)}")
    for parameter, value in values.items():
        if not space[parameter].contains(value):
            raise StudyError(f"strategy {name!r} proposed {parameter} = {value!r}, outside {space[parameter]}")
