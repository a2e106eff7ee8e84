"""The explanation of a search from plan and journal: forced trials, phase, coverage, redirections, time per shape."""

from __future__ import annotations

from typing import Any

from attrs import evolve

from scalecore.api.files import plain
from scalecore.api.plan_report import PlanReport
from scalecore.api.record_parts import Flag
from scalecore.api.space import Architecture
from scalecore.api.trials import Origin, Proposal, TrialRecord, TrialState
from scalecore.planning.explain import explain_lines, explain_search
from scalecore.planning.time_estimates import forecast
from scalecore.store.asked_trial import AskedTrial
from scalecore.store.event_lines import event_of
from scalecore.store.events import AskedFor, Event, PhaseChanged, SearchExplained
from scalecore.store.state import StudyState, replay
from scalecore.testing.plans import make_plan

SHAPES = [(8, 1), (8, 2), (16, 1), (16, 2)]


def shape(width: int, depth: int) -> Architecture:
    count = width * width * depth
    return Architecture(values={"width": width, "depth": depth}, num_parameters=count, flops=2 * count)


def plan(*forced: Proposal) -> PlanReport:
    rows = [{**shape(*one).values, "num_parameters": 0, "flops": 0} for one in SHAPES]
    grid = {"dimensions": {"width": [8, 16], "depth": [1, 2]}, "architectures": rows}
    return make_plan(architectures=grid, planned=[plain(one) for one in forced])


def proposal(width: int, depth: int, **origin: Any) -> Proposal:
    return Proposal(architecture=shape(width, depth), hyperparameters={"rate": 0.5}, origin=Origin(**origin))


def record(number: int, one: Proposal, *, seconds: float | None = 10.0, epochs: int = 5) -> TrialRecord:
    return TrialRecord(
        number=number,
        hash="",
        seed=0,
        state=TrialState.COMPLETED,
        reason=None,
        value=0.5,
        origin=one.origin,
        architecture=one.architecture,
        hyperparameters=one.hyperparameters,
        duration=seconds,
        learning_curve=[{"epoch": epoch} for epoch in range(epochs)],
    )


def study(*proposals: Proposal, unfinished: int = 0) -> StudyState:
    state = StudyState(duplicates_avoided=2)
    for number, one in enumerate(proposals):
        trial = AskedTrial(number=number, proposal=one, hyperparameters={}, hash=str(number), seed=0)
        trial.record = record(number, one) if number < len(proposals) - unfinished else None
        state.trials[number] = trial
    return state


FORCED = proposal(8, 1, kind="forced", label="width:min")
MOVED = proposal(
    16, 1, kind="redirected", rule="repeat", reason="it was tried", moved_from={"width": 8, "depth": 1, "rate": 0.5}
)


def test_a_study_without_a_trial_is_explained() -> None:
    """All forced trials are to come, and coverage is 0."""
    search = explain_search(plan(FORCED), StudyState())
    assert search["phase"] == "forced"
    assert [(one["label"], one["state"], one["trial"]) for one in search["forced"]] == [("width:min", "to come", None)]
    assert (search["coverage"]["tried"], search["coverage"]["feasible"], search["last"]) == (0, 4, None)
    assert explain_search(plan(), StudyState())["phase"] == "not begun"


def test_the_phase_is_the_last_one_reported_by_the_strategy() -> None:
    """It is stored with each proposal and each change, and has priority over a guess from origins."""
    startup = proposal(8, 2, kind="startup", reason="far away")
    told = event_of(SearchExplained, search={"method": "m", "phase": "startup", "recommended": None})
    asked = AskedFor(number=0, hash="0", seed=0, hyperparameters={}, proposal=startup, phase="sampled")
    events: list[Event] = [told, asked]
    search = explain_search(plan(), replay(events))
    assert (search["phase"], search["strategy"]["phase"]) == ("sampled", "sampled")
    changed = explain_search(plan(), replay([*events, PhaseChanged(phase="exhausted")]))
    assert (changed["phase"], changed["strategy"]["phase"]) == ("exhausted", "exhausted")
    # The journal of an earlier version stores no phase with a trial: an earlier report may be outdated.
    events[1] = evolve(asked, phase=None)
    assert explain_search(plan(), replay(events))["phase"] == "startup"
    assert replay(events).phase is None


def test_phase_origins_and_duplicates_are_reported() -> None:
    """The phase follows from the last trial; a redirected trial keeps the previous phase."""
    startup = proposal(8, 2, kind="startup", reason="far away")
    search = explain_search(plan(FORCED), study(FORCED, startup, MOVED, unfinished=1))
    assert search["phase"] == "startup"
    assert search["origins"] == {"forced": 1, "startup": 1, "redirected": 1}
    assert (search["duplicates_avoided"], search["moved"]) == (2, {"repeat": 1})
    assert search["forced"][0]["state"] == "completed"


def test_g31_coverage_counts_real_trials_per_dimension_and_pair() -> None:
    """The number of tried architectures per value and pair of values; a replicate adds no coverage."""
    again = proposal(8, 1, kind="replicate")
    coverage = explain_search(plan(FORCED), study(FORCED, MOVED, MOVED, again))["coverage"]
    assert (coverage["tried"], coverage["most_visits"]) == (2, 2)
    assert coverage["dimensions"]["width"] == [
        {"value": 8, "feasible": 2, "tried": 1, "trials": 1},
        {"value": 16, "feasible": 2, "tried": 1, "trials": 2},
    ]
    assert [pair["untried"] for pair in coverage["pairs"]] == [[[8, 2], [16, 2]]]


def test_the_reason_for_the_last_trial_is_shown() -> None:
    """Its origin, the reason, and the sampler's suggestion."""
    lines = explain_lines(explain_search(plan(FORCED), study(FORCED, MOVED)))
    assert lines[-3:] == [
        "last proposed: trial 1, redirected; width=16 depth=1 params=256",
        "  because: it was tried",
        "  moved from: width=8 depth=1 rate=0.5",
    ]
    assert "  width:min: completed, trial 0; width=8 depth=1 params=64" in lines


def test_a_forced_design_that_failed_once_shows_its_result() -> None:
    """Of two trials of a design, the one with a result counts."""
    state = study(FORCED, FORCED, unfinished=1)
    assert explain_search(plan(FORCED), state)["forced"][0] == {
        "label": "width:min",
        "shape": "width=8 depth=1 params=64",
        "architecture": {"width": 8, "depth": 1},
        "state": "completed",
        "trial": 0,
    }


def test_the_time_of_a_shape_follows_from_flops_and_measured_trials() -> None:
    """Twice the operations need twice the time; without a measured trial the time is unknown."""
    small, large = shape(8, 1), shape(8, 2)
    measured = [record(0, FORCED, seconds=10.0, epochs=5), record(1, FORCED, seconds=None)]
    told = forecast([small, large], measured, windows=100, epochs=10)
    assert told.trials == 1
    assert {name: round(seconds, 6) for name, seconds in told.seconds.items()} == {small.id: 20.0, large.id: 40.0}
    assert forecast([small], [], windows=100, epochs=10).seconds == {small.id: None}


def test_g09_a_recommended_trial_that_predicts_a_constant_is_not_shown() -> None:
    """For any strategy, also in studies of an older version."""
    state = study(FORCED, MOVED)
    told = {"method": "by hand", "phase": "sampled", "recommended": {"number": 1, "shape": "", "value": 0.1}}
    state.explained = told
    assert explain_search(plan(), state)["strategy"] == told
    flag = Flag(guard="G09", kind="collapsed", text="predicts a constant")
    state.trials[1].record = evolve(state.trials[1].record, flags=[flag])
    assert explain_search(plan(), state)["strategy"] == {**told, "recommended": None}


def test_the_last_report_of_the_strategy_is_shown() -> None:
    """Its method, and the trial that it recommends: not always the best one observed."""
    recommended = {"number": 1, "shape": "width=16", "observed": 0.5, "value": 0.51, "deviation": 0.01}
    told = {"method": "a dozen, then a model", "phase": "sampled", "recommended": recommended}
    lines = explain_lines(explain_search(plan(), replay([event_of(SearchExplained, search=told)])))
    assert lines[-2:] == [
        "strategy: a dozen, then a model",
        "recommended by the strategy: trial 1, width=16, expected 0.5100, standard deviation 0.0100; observed 0.5000",
    ]
