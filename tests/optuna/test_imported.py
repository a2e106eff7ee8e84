"""Imported results inform the strategy but are no trials of the study."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from attrs import evolve

from scalecore.api.trials import Origin, RestoredTrial

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from scalecore.api.trials import Proposal
    from scalecore_optuna.strategy import ArchitecturalStrategy

    Make = Callable[..., ArchitecturalStrategy]
    Drive = Callable[..., list[Proposal]]
    JournalOf = Callable[[Sequence[Proposal]], list[RestoredTrial]]


def imported(trials: Sequence[RestoredTrial], *without: str) -> list[RestoredTrial]:
    """Results as the core passes them: with negative numbers, possibly without some parameters."""
    found = []
    for index, trial in enumerate(trials):
        values: dict[str, Any] = {n: v for n, v in trial.proposal.hyperparameters.items() if n not in without}
        proposal = evolve(trial.proposal, hyperparameters=values, origin=Origin(kind="imported"))
        found.append(evolve(trial, number=index - len(trials), proposal=proposal))
    return found


def test_imported_results_teach_the_sampler(make: Make, drive: Drive, journal_of: JournalOf) -> None:
    """Optuna's study contains them; the study's phases do not change."""
    old = journal_of(drive(make(seed=1), range(30)))
    strategy = make()
    strategy.restore(imported(old))
    assert len(strategy.study.trials) == 30
    assert strategy.explain().origins == {"imported": 30}
    proposals = drive(strategy, range(30))
    assert [one.origin.kind for one in proposals[:6]] == ["forced"] * 6
    plain = drive(make(), range(30))
    assert [one.origin.kind for one in proposals if one.origin.kind == "startup"] != []
    assert [one.hyperparameters for one in proposals[-4:]] != [one.hyperparameters for one in plain[-4:]]


def test_g32_imported_results_spare_no_forced_trial(make: Make, drive: Drive, journal_of: JournalOf) -> None:
    """Forced designs of an older study do not replace this study's forced trials."""
    designs = drive(make(), range(6))
    strategy = make()
    strategy.restore(imported(journal_of(designs)))
    assert [one.origin.label for one in drive(strategy, range(8))][:6] == [one.origin.label for one in designs]


def test_imported_results_with_missing_parameters_are_visits(make: Make, drive: Drive, journal_of: JournalOf) -> None:
    """The architecture counts as visited, the value is ignored, and the reason is reported."""
    strategy = make()
    strategy.restore(imported(journal_of(drive(make(), range(3))), "dropout"))
    assert strategy.study.trials == []
    assert set(strategy.left_out.values()) == {"it has no value for dropout"}
    assert drive(strategy, range(1))[0].origin.kind == "forced"


def test_an_imported_result_is_never_recommended(make: Make, drive: Drive, journal_of: JournalOf) -> None:
    """Only a trial of this study is recommended, however good the import."""
    strategy = make()
    strategy.restore(imported(journal_of(drive(make(seed=1), range(12)))))
    assert strategy.explain().recommended is None
    drive(strategy, range(4))
    recommended = strategy.explain().recommended
    assert recommended is not None
    assert recommended.number in range(4)
