"""The trainings that `confirm` and `cross-budget` plan, before and after the searches."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import pytest
from attrs import evolve

from scalecore.api.analysis import AnalysisPlan
from scalecore.api.errors import RefusedError
from scalecore.api.trials import Origin, StudyEnd, StudyView
from scalecore_analysis.confirmation.analysis import ConfirmAnalysis
from scalecore_analysis.cross_budget import CrossBudget
from scalecore_analysis.options import ConfirmOptions, CrossBudgetOptions

from .conftest import shape, trial

Make = Callable[..., StudyView]
SAME = {"architecture": shape(16, 2), "hyperparameters": {"learning_rate": 0.01, "epochs": 10}}


@pytest.fixture
def studies(study: Make) -> Callable[..., list[StudyView]]:
    """Two budgets with three trials each, of which the second is the best and equal in both."""

    def make(*, total: int = 3, **changes: Any) -> list[StudyView]:
        trials = [trial(0, 0.7), trial(1, 0.5, **SAME), trial(2, 0.6)]
        return [study(trials, name=name, budget=name, total=total, **changes) for name in ("1k", "2k")]

    return make


def confirm(studies: Sequence[StudyView]) -> AnalysisPlan:
    return ConfirmAnalysis(ConfirmOptions(top=2, seeds=5)).plan(studies, wanted=())


def cross(studies: Sequence[StudyView]) -> AnalysisPlan:
    return CrossBudget(CrossBudgetOptions(seeds=3)).plan(studies, wanted=())


def cells(plan: AnalysisPlan) -> set[tuple[str, str]]:
    return {(one.study, one.configuration) for one in plan.trainings}


def test_before_the_search_only_the_ranks_are_known(studies: Callable[..., list[StudyView]]) -> None:
    """The own cells of the matrix are the replicates of the best trials; equal transfers are not known yet."""
    running = studies(total=4)
    first, second = confirm(running), cross(running)
    assert [(one.study, one.configuration, one.seeds) for one in first.trainings] == [
        ("1k", "trial of rank 1", 5),
        ("1k", "trial of rank 2", 5),
        ("2k", "trial of rank 1", 5),
        ("2k", "trial of rank 2", 5),
    ]
    assert (len(second.trainings), second.at_most, first.at_most) == (4, True, False)
    assert cells(first) & cells(second) == {("1k", "trial of rank 1"), ("2k", "trial of rank 1")}
    assert cells(second) - cells(first) == {("1k", "best of 2k"), ("2k", "best of 1k")}
    assert all(one.architecture is None and one.epochs is None for one in (*first.trainings, *second.trainings))


def test_after_the_search_equal_configurations_are_one(studies: Callable[..., list[StudyView]]) -> None:
    """The best trial of both budgets is the same: a transfer is what `confirm` trains, and finished seeds count."""
    fresh = [
        trial(10, 0.5, hash="a", origin=Origin(kind="replicate"), **SAME),
        trial(11, 0.5, hash="b", origin=Origin(kind="transfer"), **SAME),
        trial(12, state="failed", hash="c", origin=Origin(kind="replicate"), **SAME),
    ]
    over = studies(confirmations=tuple(fresh))
    first, second = confirm(over), cross(over)
    best = first.trainings[0]
    assert (best.done, best.seeds, best.epochs, best.architecture) == (2, 5, 10, SAME["architecture"])
    assert first.trainings[1].done == 0
    assert not second.at_most
    assert len(second.trainings) == 4
    assert cells(second) == {(best.study, best.configuration), ("2k", best.configuration)}


def test_a_search_that_found_nothing_has_nothing_to_train(study: Make) -> None:
    """`confirm` plans what there is, `cross-budget` refuses as it will."""
    failed = [study([trial(0, state="failed")], name=name, budget=name, total=1) for name in ("1k", "2k")]
    assert confirm(failed).trainings == []
    with pytest.raises(RefusedError) as caught:
        cross(failed)
    assert str(caught.value) == "1k has no completed trial to train again"
    exhausted = [evolve(one, total=9, end=StudyEnd.EXHAUSTED) for one in failed]
    assert confirm(exhausted).trainings == []


def test_studies_that_are_not_comparable_are_refused_before_the_search(
    studies: Callable[..., list[StudyView]],
) -> None:
    """One budget has no other to transfer to."""
    with pytest.raises(RefusedError, match="no two studies have the same data"):
        cross(studies(total=4)[:1])
