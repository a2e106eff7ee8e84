from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
from attrs import evolve
from optuna.samplers import TPESampler
from optuna.study import create_study
from optuna.trial import TrialState as OptunaState

from scalecore.api.errors import ExperimentError
from scalecore.api.space import Architecture, Choice, Distribution, IntRange, LogUniform, Uniform
from scalecore.api.trials import Origin, Outcome, Proposal, RestoredTrial, TrialState

if TYPE_CHECKING:
    from collections.abc import Callable

    from scalecore_optuna.strategy import ArchitecturalStrategy

    Make = Callable[..., ArchitecturalStrategy]
    Drive = Callable[..., list[Proposal]]

FIXED = Architecture(values={}, num_parameters=10, flops=10)


def done(value: float = 0.5) -> Outcome:
    return Outcome(state=TrialState.COMPLETED, value=value)


def point(proposal: Proposal) -> tuple[Any, ...]:
    return proposal.architecture.id, *proposal.hyperparameters.items()


# --- phases ---------------------------------------------------------------------------------------------------------


def test_phases_follow_each_other(make: Make, drive: Drive) -> None:
    """Six forced designs, twenty startup trials on as many other architectures, then the inner sampler."""
    proposals = drive(make(), range(50))
    kinds = [proposal.origin.kind for proposal in proposals]
    assert kinds[:26] == ["forced"] * 6 + ["startup"] * 20
    assert set(kinds[26:]) == {"sampled", "redirected"}
    assert len({proposal.architecture.id for proposal in proposals[:26]}) == 26
    assert all(proposal.origin.reason for proposal in proposals)


def test_startup_trials_spread_over_every_hyperparameter(
    make: Make, drive: Drive, space: dict[str, Distribution]
) -> None:
    """At least two startup trials fall into each fifth of each continuous range, and use each choice."""
    startup = drive(make(), range(26))[6:]
    for name, distribution in space.items():
        cells = 5 if distribution.at(0.5) != distribution.at(0.501) else len(distribution.bounds())
        met = [int(distribution.unit(proposal.hyperparameters[name]) * cells) for proposal in startup]
        assert all(met.count(cell) >= 2 for cell in range(cells)), name


def test_a_failed_startup_trial_is_replaced(make: Make) -> None:
    """The inner sampler starts once enough startup trials have values."""
    strategy = make(options={"forced": "none", "startup_trials": 3})
    kinds = []
    for number in range(7):
        proposal = strategy.ask(number)
        assert proposal is not None
        kinds.append(proposal.origin.kind)
        strategy.tell(number, Outcome(state=TrialState.FAILED) if number in (0, 2) else done(number / 10))
    assert kinds[:5] == ["startup"] * 5
    assert "startup" not in kinds[5:]


@pytest.mark.parametrize("inner", ["frontier", "tpe", "random", "qmc"])
def test_every_inner_sampler_stays_in_the_grid_and_the_space(
    make: Make, drive: Drive, inner: str, architectures: list[Architecture], space: dict[str, Distribution]
) -> None:
    """All proposals are feasible architectures with declared values."""
    proposals = drive(make(options={"inner": inner, "startup_trials": 5}), range(25))
    assert len({proposal.hyperparameters["learning_rate"] for proposal in proposals[6:]}) == 19
    for proposal in proposals:
        assert proposal.architecture in architectures
        assert list(proposal.hyperparameters) == list(space)
        assert all(space[name].contains(value) for name, value in proposal.hyperparameters.items())


def test_the_better_direction_is_the_objectives(make: Make, loss_of: Callable[[Proposal, int], float]) -> None:
    """Maximizing the negative loss proposes exactly the same as minimizing the loss."""
    low, high = make(), make(direction="maximize")
    for number in range(40):
        one, other = low.ask(number), high.ask(number)
        assert one == other
        assert one is not None
        low.tell(number, done(loss_of(one, number)))
        high.tell(number, done(-loss_of(one, number)))


def test_a_family_without_dimensions_searches_hyperparameters(make: Make, drive: Drive) -> None:
    """A single architecture has no extremes; its hyper-parameters are still searched."""
    strategy = make(architectures=[FIXED])
    assert strategy.planned() == []
    proposals = drive(strategy, range(30))
    assert all(proposal.architecture == FIXED for proposal in proposals)
    assert len({point(proposal) for proposal in proposals}) == 30


# --- guards ---------------------------------------------------------------------------------------------------------


def test_g20_architecture_is_in_params_whoever_proposed_it(make: Make, drive: Drive) -> None:
    """Forced, startup, sampled and moved trials all have their architecture among Optuna's parameters."""
    strategy = make()
    proposals = drive(strategy, range(50))
    assert {proposal.origin.kind for proposal in proposals} == {"forced", "startup", "sampled", "redirected"}
    for proposal, trial in zip(proposals, strategy.study.trials, strict=True):
        assert trial.params == {**proposal.architecture.values, **proposal.hyperparameters}
    assert strategy.study.best_params.keys() >= {"d_model", "n_layers", "n_heads", "d_ff"}


def test_g21_an_architecture_is_known_by_content_never_by_position(
    make: Make, drive: Drive, architectures: list[Architecture]
) -> None:
    """The order of the architectures changes nothing, and the first one is not skipped."""
    forwards = drive(make(), range(32))
    backwards = drive(make(architectures=architectures[::-1]), range(32))
    assert forwards == backwards
    only = make(architectures=architectures[:1], space={}, options={"forced": "none"}).ask(0)
    assert only is not None
    assert only.architecture == architectures[0]


def test_g30_no_exact_repeat_and_more_architectures_than_plain_optuna(
    make: Make,
    drive: Drive,
    architectures: list[Architecture],
    space: dict[str, Distribution],
    loss_of: Callable[[Proposal, int], float],
) -> None:
    """50 trials on the real 2M grid, compared with Optuna's TPE on an index of the architectures."""
    for seed in (0, 1, 2):
        ours = drive(make(seed=seed), range(50))
        assert len({point(proposal) for proposal in ours}) == 50

        study = create_study(sampler=TPESampler(seed=seed, n_startup_trials=20))
        visited = set()
        for number in range(50):
            trial = study.ask()
            index = trial.suggest_categorical("architecture", list(range(len(architectures))))
            values: dict[str, Any] = {
                "learning_rate": trial.suggest_float("learning_rate", 1e-4, 1e-3, log=True),
                "weight_decay": trial.suggest_float("weight_decay", 1e-4, 5e-3, log=True),
                "dropout": trial.suggest_float("dropout", 0.1, 0.3),
                **{n: trial.suggest_categorical(n, space[n].bounds()) for n in ("epochs", "warmup_steps")},
            }
            plain = Proposal(architecture=architectures[index], hyperparameters=values, origin=Origin(kind="sampled"))
            visited.add(plain.architecture.id)
            study.tell(trial, loss_of(plain, number))
        assert len({proposal.architecture.id for proposal in ours}) > len(visited)


def test_g30_a_duplicate_is_answered_by_something_else(make: Make, drive: Drive) -> None:
    """In every phase the next proposal for the number differs, and Optuna has no second observation of the point."""
    for start in (0, 10, 30):
        strategy = make()
        drive(strategy, range(start))
        asked = []
        for _ in range(5):
            proposal = strategy.ask(start)
            assert proposal is not None
            asked.append(proposal)
            strategy.tell(start, evolve(done(), duplicate_of=max(start - 1, 0)))
        assert len({point(proposal) for proposal in asked}) == 5
        assert len(strategy.study.trials) == start
        drive(strategy, [start])
        assert len(strategy.study.trials) == start + 1


def test_g31_the_sampler_is_told_what_ran(make: Make, drive: Drive) -> None:
    """A moved trial records the suggestion; Optuna has only the point that ran."""
    strategy = make()
    proposals = drive(strategy, range(50))
    moved = [number for number, proposal in enumerate(proposals) if proposal.origin.kind == "redirected"]
    assert moved
    for number in moved:
        origin, trial = proposals[number].origin, strategy.study.trials[number]
        ran = {**proposals[number].architecture.values, **proposals[number].hyperparameters}
        assert origin.moved_from is not None
        assert origin.moved_from.keys() == ran.keys()
        assert trial.params == ran != origin.moved_from
        assert trial.value is not None


def test_g34_a_changed_grid_or_space_on_resume_keeps_working(
    make: Make,
    drive: Drive,
    grid_of: Callable[[float], list[Architecture]],
    journal_of: Callable[..., list[RestoredTrial]],
    space: dict[str, Distribution],
) -> None:
    """Trials that still fit count; the others are left out with a reason, and their outcome is still accepted."""
    journal = journal_of(drive(make(), range(30)))
    journal.append(
        RestoredTrial(number=30, proposal=evolve(journal[0].proposal, origin=Origin(kind="sampled")), outcome=None)
    )
    smaller = [shape for shape in grid_of(2e6) if shape.values["d_model"] != 64]
    narrower = {**space, "dropout": Uniform(low=0.1, high=0.25)}
    strategy = make(architectures=smaller, space=narrower)
    strategy.restore(journal)
    for trial in journal:
        width, dropout = trial.proposal.architecture.values["d_model"], trial.proposal.hyperparameters["dropout"]
        reason = strategy.left_out.get(trial.number)
        if width == 64:
            assert reason == f"{trial.proposal.architecture.id} is no longer a feasible architecture"
        elif float(dropout) > 0.25:
            assert reason == f"dropout={dropout!r} is outside the space"
        else:
            assert reason is None
    strategy.tell(30, done())
    assert len(strategy.study.trials) == 31 - len(strategy.left_out)
    drive(strategy, range(31, 45))

    without = make(space={name: of for name, of in space.items() if name != "dropout"})
    without.restore(journal[:1])
    assert without.left_out == {0: "dropout is no longer varied"}
    further = make(space={**space, "patience": Choice(values=(5, 10))})
    further.restore(journal[:1])
    assert further.left_out == {0: "it has no value for patience"}
    drive(further, range(1, 40))


@pytest.mark.parametrize(
    ("state", "options", "told", "constraints"),
    [
        (TrialState.FAILED, {}, OptunaState.FAIL, {}),
        (TrialState.TIMED_OUT, {}, OptunaState.FAIL, {}),
        (TrialState.DIVERGED, {}, OptunaState.PRUNED, {}),
        (TrialState.DIVERGED, {"diverged": "fail"}, OptunaState.FAIL, {}),
        (TrialState.OUT_OF_MEMORY, {}, OptunaState.PRUNED, {"memory": 1.0}),
    ],
)
def test_g35_failures_are_not_values(
    make: Make, state: TrialState, options: dict[str, Any], told: OptunaState, constraints: dict[str, float]
) -> None:
    """Live or restored, no failure is a number: memory is a constraint, divergence a penalty without a value."""
    strategy = make(options=options)
    proposal = strategy.ask(0)
    assert proposal is not None
    with pytest.raises(ValueError, match=f"trial 0: {state} with the value 0.5; a failure must not have a value"):
        strategy.tell(0, Outcome(state=state, value=0.5))
    strategy.should_prune(0, epoch=1, value=0.7)
    strategy.tell(0, Outcome(state=state, reason="for a reason"))
    again = make(options=options)
    again.restore([RestoredTrial(number=0, proposal=proposal, outcome=Outcome(state=state), reports={1: 0.7})])
    for study in (strategy.study, again.study):
        (trial,) = study.trials
        assert (trial.state, trial.values, trial.intermediate_values) == (told, None, {})
        assert trial.constraints == constraints


@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf"), None])
def test_g35_a_completed_trial_has_a_finite_value(make: Make, value: float | None) -> None:
    """NaN, infinity and None are rejected, and the trial stays running."""
    strategy = make()
    strategy.ask(0)
    with pytest.raises(ValueError, match=r"^trial 0: completed with"):
        strategy.tell(0, Outcome(state=TrialState.COMPLETED, value=value))
    strategy.tell(0, done())
    assert [trial.value for trial in strategy.study.trials] == [0.5]


def test_g37_seeded(make: Make, drive: Drive) -> None:
    """Equal seeds yield equal studies; different seeds differ from the first trial after the forced ones."""
    one, same, other = (drive(make(seed=seed), range(32)) for seed in (1, 1, 2))
    assert one == same
    assert one[:6] == other[:6]
    assert all(a != b for a, b in zip(one[6:], other[6:], strict=True))


# --- restart --------------------------------------------------------------------------------------------------------


def through_json(proposal: Proposal) -> Proposal:
    """A proposal as read back from a journal."""
    values, hyperparameters = json.loads(
        json.dumps([dict(proposal.architecture.values), dict(proposal.hyperparameters)])
    )
    return evolve(proposal, architecture=evolve(proposal.architecture, values=values), hyperparameters=hyperparameters)


@pytest.mark.parametrize("cut", [0, 3, 6, 15, 26, 29])
@pytest.mark.parametrize("inner", ["frontier", "tpe", "random", "qmc"])
def test_g37_a_restored_study_goes_on_as_the_uninterrupted_one(
    make: Make, loss_of: Callable[[Proposal, int], float], cut: int, inner: str
) -> None:
    """With two trials at a time and every outcome, thirty proposals do not change with a restart at any point."""

    def outcome(number: int, proposal: Proposal) -> Outcome:
        if number % 7 == 5:
            return Outcome(state=list(TrialState)[2 + number % 4])
        state = TrialState.PRUNED if number % 11 == 8 else TrialState.COMPLETED
        return Outcome(state=state, value=loss_of(proposal, number))

    def study(restart: int | None) -> list[Proposal]:
        options = {"inner": inner, "startup_trials": 8}
        strategy, asked, told = make(options=options), list[Proposal](), dict[int, Outcome]()
        for number in range(31):
            if number == restart:
                journal = [
                    RestoredTrial(number=n, proposal=through_json(proposal), outcome=told.get(n))
                    for n, proposal in enumerate(asked)
                ]
                strategy = make(options=options)
                strategy.restore(journal)
            proposal = strategy.ask(number)
            assert proposal is not None
            asked.append(proposal)
            if number:
                told[number - 1] = outcome(number - 1, asked[number - 1])
                strategy.tell(number - 1, told[number - 1])
        return asked

    assert study(cut) == study(None)


def test_a_duplicate_out_of_order_leaves_the_order_of_the_numbers(make: Make, drive: Drive) -> None:
    """Trial 26 is requested again while 27 runs: a restart still continues in the same way."""
    strategy = make(options={"startup_trials": 10})
    first = drive(strategy, range(26))
    strategy.ask(26)
    later = strategy.ask(27)
    strategy.tell(26, evolve(done(), duplicate_of=3))
    again = strategy.ask(26)
    assert later is not None
    assert again is not None
    other = make(options={"startup_trials": 10})
    other.restore([RestoredTrial(number=n, proposal=p, outcome=None) for n, p in enumerate([*first, again, later])])
    for number in range(28):
        outcome = done(number / 28)
        other.tell(number, outcome)
        if number >= 26:
            strategy.tell(number, outcome)
    assert [trial.params for trial in strategy.study.trials] == [trial.params for trial in other.study.trials]


def test_asking_and_telling_out_of_turn_is_refused(make: Make) -> None:
    """A running number cannot be requested again, and has one outcome."""
    strategy = make()
    strategy.ask(0)
    with pytest.raises(ValueError, match=r"^trial 0 was already requested$"):
        strategy.ask(0)
    strategy.tell(0, done())
    for number in (0, 1):
        with pytest.raises(ValueError, match=f"^trial {number} is not running, so it cannot have an outcome$"):
            strategy.tell(number, done())


# --- coverage and repeats -------------------------------------------------------------------------------------------


def test_a_finite_space_is_tried_completely_then_ends(make: Make, architectures: list[Architecture]) -> None:
    """Five architectures times six combinations are thirty different trials; then the search ends."""
    space = {"epochs": Choice(values=(1, 2, 3)), "warmup_steps": IntRange(low=0, high=10, step=7)}
    settings: list[dict[str, Any]] = [{}, {"near_repeat": {}}, {"inner": "random", "startup_trials": 0}]
    for options in settings:
        strategy = make(architectures=architectures[:5], space=space, trials=40, options=options)
        proposals: list[Proposal] = []
        while (proposal := strategy.ask(len(proposals))) is not None:
            strategy.tell(len(proposals), done(len(proposals) / 40))
            proposals.append(proposal)
        assert len({point(proposal) for proposal in proposals}) == len(proposals) == 30


def test_one_architecture_without_hyperparameters_is_one_trial(make: Make) -> None:
    """A repeat would be identical."""
    strategy = make(architectures=[FIXED], space={})
    assert strategy.ask(0) is not None
    assert strategy.ask(1) is None


def test_an_exact_repeat_goes_to_an_untried_architecture(make: Make, architectures: list[Architecture]) -> None:
    """With a single setting, every trial has another architecture, and moved ones have a reason."""
    strategy = make(space={"epochs": Choice(values=(50,))}, options={"coverage": 0.0, "forced": "none"})
    proposals = []
    for number in range(len(architectures)):
        proposal = strategy.ask(number)
        assert proposal is not None
        proposals.append(proposal)
        strategy.tell(number, done(abs(proposal.architecture.values["n_layers"] - 12) / 10))
    assert len({proposal.architecture.id for proposal in proposals}) == len(architectures) == 80
    moved = [proposal.origin for proposal in proposals if proposal.origin.kind == "redirected"]
    assert moved
    assert all((origin.reason or "").startswith("these values were already tried at d_model=") for origin in moved)
    assert strategy.ask(80) is None


def test_near_repeats_of_an_architecture_are_varied(make: Make, drive: Drive) -> None:
    """No two trials of one architecture have both dropout and epochs closer than the thresholds."""

    def near(proposals: list[Proposal]) -> int:
        pairs = [(a, b) for i, a in enumerate(proposals) for b in proposals[:i] if a.architecture == b.architecture]
        values = [(a.hyperparameters, b.hyperparameters) for a, b in pairs]
        return sum(
            abs(float(a["dropout"]) - float(b["dropout"])) < 0.08 and abs(float(a["epochs"]) - float(b["epochs"])) < 20
            for a, b in values
        )

    assert near(drive(make(), range(50))) == 0
    assert near(drive(make(options={"near_repeat": {}}), range(50))) > 0


def test_coverage_flattens_the_visits(make: Make, drive: Drive) -> None:
    """A higher weight yields more different architectures."""

    def distinct(weight: float) -> int:
        options = {"coverage": weight, "near_repeat": {}}
        return sum(
            len({proposal.architecture.id for proposal in drive(make(seed=seed, options=options), range(50))})
            for seed in range(3)
        )

    assert distinct(0.0) < distinct(2.0) < distinct(20.0)


def test_a_batch_has_distinct_architectures(make: Make, drive: Drive) -> None:
    """Late in a study, when the weight of coverage is zero, eight slots still get eight architectures."""
    strategy = make(options={"startup_trials": 5})
    drive(strategy, range(50))
    batch = [strategy.ask(number) for number in range(50, 58)]
    assert len({proposal.architecture.id for proposal in batch if proposal is not None}) == 8


def test_a_name_of_both_kinds_is_refused(make: Make) -> None:
    """A trial's parameter has one meaning."""
    with pytest.raises(ExperimentError) as caught:
        make(space={"d_model": LogUniform(low=1.0, high=2.0)})
    assert str(caught.value) == (
        "search.space: 'd_model' is a dimension of the model and cannot also be a hyper-parameter"
    )


def test_a_near_repeat_of_texts_is_refused(make: Make) -> None:
    """Only numbers have distances."""
    with pytest.raises(ExperimentError) as caught:
        make(space={"norm": Choice(values=("layer", "batch"))}, options={"near_repeat": {"norm": 1.0}})
    assert str(caught.value) == "search.near_repeat: 'norm' is not numeric, so its values have no distance"
