from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import attrs

from scalecore.api.files import plain
from scalecore.api.strategy import SupportsExplain
from scalecore.api.trials import Outcome, Proposal, TrialState

if TYPE_CHECKING:
    from collections.abc import Callable

    from scalecore_optuna.strategy import ArchitecturalStrategy

    Make = Callable[..., ArchitecturalStrategy]
    Drive = Callable[..., list[Proposal]]


def test_before_the_first_trial_everything_is_planned(make: Make) -> None:
    """The plan shows the forced designs and zero coverage."""
    strategy = make()
    assert isinstance(strategy, SupportsExplain)
    before = strategy.explain()
    assert (before.phase, before.last, before.origins, before.moved) == ("forced", None, {}, {})
    assert [(design.state, design.trials) for design in before.forced] == [("planned", ())] * 6
    assert before.forced[0].reason.startswith("d_model at its feasible minimum (64)")
    whole, *single, first_pair = before.covered[:6]
    assert (whole.of, whole.feasible, whole.tried) == ((), 80, 0)
    assert [(one.of, one.feasible) for one in single] == [
        (("d_model",), 5),
        (("n_layers",), 10),
        (("n_heads",), 5),
        (("d_ff",), 6),
    ]
    assert (first_pair.of, first_pair.feasible) == (("d_model", "n_layers"), 13)


def test_the_explanation_counts_what_ran(make: Make, drive: Drive, journal_of: Callable[..., Any]) -> None:
    """Visits, origins, moves and the last choice match the trials, live and restored."""
    strategy = make()
    proposals = drive(strategy, range(40))
    strategy.ask(40)
    now = strategy.explain()
    assert now.phase == "sampled"
    assert now.origins["forced"] == 6
    assert sum(now.origins.values()) == 41
    for one in now.covered:
        assert sum(one.visits.values()) == 41
    widths = next(one for one in now.covered if one.of == ("d_model",))
    assert set(widths.visits) == {"64", "128", "192", "256", "384"}
    moved = [proposal.origin for proposal in proposals if proposal.origin.kind == "redirected"]
    assert moved
    assert sum(now.moved.values()) >= len(moved)
    assert now.moved.keys() <= {"coverage", "running", "repeat", "variation"}
    assert [design.trials for design in now.forced] == [(number,) for number in range(6)]
    assert {design.state for design in now.forced} == {"completed"}
    assert now.last is not None
    assert (now.last.number, bool(now.last.origin.reason)) == (40, True)
    json.dumps(plain(attrs.asdict(now)), allow_nan=False)

    again = make()
    again.restore(journal_of(proposals))
    restored = again.explain()
    assert (restored.phase, restored.forced, restored.duplicates_avoided) == (
        now.phase,
        now.forced,
        now.duplicates_avoided,
    )


def test_a_moved_trial_records_origin_target_and_rule(make: Make, drive: Drive) -> None:
    """`moved_to` contains exactly the differences from the suggestion."""
    moved = [proposal for proposal in drive(make(options={"coverage": 8.0}), range(45)) if proposal.origin.moved_from]
    assert {proposal.origin.rule for proposal in moved} >= {"coverage"}
    for proposal in moved:
        ran = {**proposal.architecture.values, **proposal.hyperparameters}
        before, after = proposal.origin.moved_from, proposal.origin.moved_to
        assert before is not None
        assert after == {name: value for name, value in ran.items() if value != before[name]} != {}


def test_trials_that_no_longer_fit_are_reported(make: Make, drive: Drive, journal_of: Callable[..., Any]) -> None:
    """After a change of the grid, the explanation counts trials that still fit and lists the others with reasons."""
    strategy = make()
    journal = journal_of(drive(strategy, range(10)))
    shapes = [design.architecture for design in strategy.explain().forced[1:]]
    smaller = make(architectures=shapes)
    smaller.restore(journal)
    now = smaller.explain()
    assert now.left_out[0] == f"{journal[0].proposal.architecture.id} is no longer a feasible architecture"
    assert sum(now.origins.values()) == 10 - len(now.left_out)


def test_a_failed_forced_trial_shows_its_state(make: Make) -> None:
    """Running, failed, running again: the design lists its trials and has the state of the last."""
    strategy = make()
    strategy.ask(0)
    assert strategy.explain().forced[0].state == "running"
    strategy.tell(0, Outcome(state=TrialState.FAILED))
    strategy.ask(1)
    strategy.tell(1, Outcome(state=TrialState.TIMED_OUT))
    first = strategy.explain().forced[0]
    assert (first.trials, first.state) == ((0, 1), "timed_out")
