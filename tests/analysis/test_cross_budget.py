from __future__ import annotations

from pathlib import Path

import pytest
from attrs import evolve

from scalecore.api.trials import StudyView, TrialRecord
from scalecore.testing.fakes import make_study, make_trial
from scalecore_analysis.cross_budget import CrossBudget
from scalecore_analysis.options import CrossBudgetOptions

SEEDS = 3


def studies(root: Path) -> list[StudyView]:
    """Two studies that differ only in their budget, with one trial each."""
    found = []
    for budget, value in (("1k", 0.6), ("2k", 0.5)):
        study = make_study(root / budget, [make_trial(0, value)], name=budget)
        search = {**study.experiment["search"], "budget": budget}
        found.append(evolve(study, experiment={**study.experiment, "search": search}))
    return found


def confirmed(studies: list[StudyView], records: list[TrialRecord]) -> list[StudyView]:
    """The studies, the first with these trainings after its search."""
    return [evolve(studies[0], confirmations=tuple(records)), *studies[1:]]


def test_a_failed_training_is_missing(tmp_path: Path) -> None:
    """The plan lists it, because the next call trains it again; the matrix counts it as failed."""
    analysis = CrossBudget(CrossBudgetOptions(seeds=SEEDS))
    found = studies(tmp_path)
    shape = found[0].trials[0].architecture
    ends = [("first", 0.5), ("second", None), ("third", 0.6)]
    ended = [make_trial(n, value, hash=name, architecture=shape) for n, (name, value) in enumerate(ends)]
    once = confirmed(found, ended)
    again = confirmed(found, [ended[0], make_trial(1, 0.7, hash="second", architecture=shape), ended[2]])
    assert analysis.planned(once).tables["trainings"][0]["done"] == 2
    assert analysis.planned(again).tables["trainings"][0]["done"] == 3
    own = analysis.run(once).tables["matrix"][0]
    assert (own["seeds"], own["failed"], own["mean"]) == (2, 1, pytest.approx(0.55))
    own = analysis.run(again).tables["matrix"][0]
    assert (own["seeds"], own["failed"], own["mean"]) == (3, 0, pytest.approx(0.6))


def test_each_target_has_its_own_matrix(tmp_path: Path) -> None:
    """Studies of two seeds of the search are two groups; rows and sentences name the group."""
    first = studies(tmp_path / "a")
    second = [
        evolve(study, name=f"{study.name}-again", experiment={**study.experiment, "seed": 7})
        for study in studies(tmp_path / "b")
    ]
    found = CrossBudget(CrossBudgetOptions(seeds=SEEDS)).run([*first, *second])
    assert [(row["group"], row["best of"]) for row in found.tables["matrix"]] == [
        (f"seed {seed}", f"{name}{again}")
        for seed, again in ((0, ""), (7, "-again"))
        for name in ("1k", "2k", "2k", "1k")
    ]
    text = "2 transfers between budgets (3 seeds each): 0 hold, 0 lost, 2 inconclusive."
    assert list(found.summary) == [f"seed 0: {text}", f"seed 7: {text}"]
