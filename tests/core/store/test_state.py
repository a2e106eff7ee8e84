"""The state of a replay: its indices equal a calculation over all trials."""

from __future__ import annotations

import random

import attrs

from scalecore.api.record_parts import EpochResult, Flag
from scalecore.api.trials import FIRST_RETRAINED, Origin, Proposal, StudyEnd, TrialRecord, TrialState, best_first
from scalecore.store.events import (
    AskedFor,
    AttemptEnded,
    AttemptStarted,
    RunEnded,
    RunStarted,
    SearchChanged,
    StudyBegun,
    TrialFinished,
)
from scalecore.store.state import StudyState, replay
from scalecore.testing.fakes import make_trial
from scalecore.testing.plans import make_plan


def started(direction: str = "minimize") -> StudyState:
    """A study at its start."""
    experiment = {"model": {}, "objective": {"direction": direction}}
    return replay([StudyBegun(experiment=experiment, plan=make_plan())])


def ask(state: StudyState, record: TrialRecord) -> None:
    proposal = Proposal(architecture=record.architecture, hyperparameters={}, origin=record.origin)
    state.apply(AskedFor(number=record.number, hash=record.hash, seed=1, hyperparameters={}, proposal=proposal))


def finish(state: StudyState, record: TrialRecord) -> None:
    state.apply(TrialFinished(number=record.number, record=record))


def start(state: StudyState, number: int, *, index: int = 0) -> None:
    state.apply(AttemptStarted(number=number, index=index, micro_batch=1, predicted_memory=1))


def at(loss: float) -> EpochResult:
    return EpochResult(epoch=1, metrics={"val_loss": loss})


def trials(count: int) -> list[TrialRecord]:
    """Trials of every state, some of them collapsed, with values that are often equal."""
    draw = random.Random(1)
    flags = (Flag(guard="G09", kind="collapsed", text="constant"),)
    found = []
    for number in range(count):
        state = draw.choice([*TrialState, TrialState.COMPLETED])
        value = draw.randrange(5) / 10 if state in (TrialState.COMPLETED, TrialState.PRUNED) else None
        one = make_trial(number)
        found.append(
            attrs.evolve(one, state=state, value=value, hash=str(number), flags=flags if draw.random() < 0.2 else ())
        )
    return found


def test_records_ranking_and_unfinished_trials_are_those_of_all_trials() -> None:
    """Trials end in any order, some are left out later: the result equals a full recount."""
    for direction in ("minimize", "maximize"):
        state, records = started(direction), trials(40)
        for record in records:
            ask(state, record)
        order = random.Random(2).sample(records, 30)
        for record in order:
            finish(state, record)
        done = sorted(order, key=lambda one: one.number)
        assert [one.number for one in state.records] == [one.number for one in done]
        expected = [one.number for one in best_first(done, direction=direction)]
        assert [one.number for one in state.ranked] == expected
        assert [one.number for one in state.unfinished] == [one.number for one in records if one not in order]
        away = {str(number): "outside" for number in expected[:3]}
        state.apply(SearchChanged(changes=(), left_out=away))
        assert [one.number for one in state.ranked] == expected[3:]
        assert {one.number for one in state.records} - {one.number for one in state.counted} == set(expected[:3])


def test_g30_a_failed_configuration_may_be_asked_for_once_more() -> None:
    """Its hash is free after the first failure, and taken after the second."""
    state = started()
    for number in (0, 1):
        record = attrs.evolve(make_trial(number), state=TrialState.FAILED, value=None, hash="same")
        ask(state, record)
        finish(state, record)
        assert ("same" in state.hashes) is (number == 1)


def retrained(index: int, *, identity: str, kind: str = "replicate") -> TrialRecord:
    """A trial after the search, with the best loss of all."""
    one = make_trial(FIRST_RETRAINED + index)
    return attrs.evolve(
        one, hash=identity, state=TrialState.COMPLETED, value=0.0, best=at(0.0), origin=Origin(kind=kind)
    )  # type: ignore[arg-type]


def test_g14_retrained_trials_are_not_those_of_the_search() -> None:
    """They have their own numbers, and change no total, ranking or duplicate of the search."""
    state = started()
    first, second = (
        attrs.evolve(make_trial(number), hash=f"search {number}", state=TrialState.COMPLETED, value=1.0)
        for number in (0, 1)
    )
    ask(state, first)
    finish(state, first)
    replicate, final = retrained(0, identity="fresh"), retrained(1, identity="search 0", kind="final")
    for record in (replicate, final):
        ask(state, record)
        assert state.unfinished == []
        assert [one.number for one in state.open] == [record.number]
        finish(state, record)
    ask(state, second)  # the search continues without a gap in its numbers
    finish(state, second)
    assert [one.number for one in state.records] == [0, 1]
    assert [one.number for one in state.ranked] == [0, 1]
    assert [one.number for one in state.finished] == [0, 1, FIRST_RETRAINED, FIRST_RETRAINED + 1]
    assert state.asked == len(state.counted) == 2
    assert state.hashes == {"search 0": 0, "search 1": 1}
    assert state.retrained_hashes == {"fresh": FIRST_RETRAINED, "search 0": FIRST_RETRAINED + 1}
    assert [one.number for one in state.restored(lambda _: {})] == [0, 1]
    assert [one.number for one in state.alike(0.0)] == [FIRST_RETRAINED]


def test_the_end_of_a_retraining_is_not_the_end_of_the_search() -> None:
    """A stopped confirmation leaves a completed study completed."""
    state = started()
    for retrains, total, end in ((None, 5, StudyEnd.COMPLETED), ("confirmation of s", 15, StudyEnd.STOPPED)):
        state.apply(RunStarted(pid=1, host="h", versions={}, total=total, retrains=retrains))
        state.apply(RunEnded(end=end, retrains=retrains))
    assert (state.end, state.total) == (StudyEnd.COMPLETED, 5)
    assert state.retraining is not None
    assert state.retraining.retrains == "confirmation of s"
    assert state.retraining_ended is not None
    assert state.retraining_ended.end is StudyEnd.STOPPED


def test_attempts_that_ended_are_kept_in_the_order_of_their_ends() -> None:
    """Each once, with its end."""
    state, records = started(), trials(2)
    for record in records:
        ask(state, record)
        start(state, record.number)
    for number in (1, 0):
        state.apply(AttemptEnded(number=number, index=0, end="completed"))
    assert [one.started.number for one in state.ended] == [1, 0]
    assert [one.ended and one.ended.end for one in state.ended] == ["completed", "completed"]


def test_g09_trials_of_equal_loss_are_found() -> None:
    """By the loss of their best epoch, in any state."""
    state = started()
    for number, loss in enumerate((0.5, 0.25, 0.5, None)):
        record = attrs.evolve(make_trial(number), hash=str(number), best=None if loss is None else at(loss))
        ask(state, record)
        finish(state, record)
    assert [one.number for one in state.alike(0.5)] == [0, 2]
    assert [one.number for one in state.alike(0.25)] == [1]
    assert list(state.alike(0.75)) == []
