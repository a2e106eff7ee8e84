from __future__ import annotations

from pathlib import Path

import pytest
from attrs import evolve

from scalecore.api.trials import Proposal, StudyView, TrialRecord
from scalecore.store.events import AskedFor, StudyBegun, TrialFinished
from scalecore.store.journal import Journal
from scalecore.store.layout import StudyFolder
from scalecore.testing.fakes import make_study, make_trial
from scalecore_analysis.cross_budget import CrossBudget
from scalecore_analysis.options import CrossBudgetOptions

SEEDS = 3


def journal(study: StudyView, records: list[TrialRecord]) -> None:
    """The trainings of the cross-budget validation in a study's folder, as the driver journals them."""
    folder = StudyFolder(StudyFolder(study.folder).cross_budget)
    folder.path.mkdir(parents=True)
    stored = Journal(folder.journal)
    stored.append(StudyBegun(experiment=study.experiment, plan=study.plan))
    for record in records:
        proposal = Proposal(
            architecture=record.architecture, hyperparameters=record.hyperparameters, origin=record.origin
        )
        asked = {"hash": record.hash, "seed": record.seed, "hyperparameters": record.hyperparameters}
        stored.append(AskedFor(number=record.number, **asked, proposal=proposal))
        stored.append(TrialFinished(number=record.number, record=record))
    stored.close()


def studies(root: Path) -> list[StudyView]:
    """Two studies that differ only in their budget, with one trial each."""
    found = []
    for budget, value in (("1k", 0.6), ("2k", 0.5)):
        study = make_study(root / budget, [make_trial(0, value)], name=budget)
        search = {**study.experiment["search"], "budget": budget}
        found.append(evolve(study, experiment={**study.experiment, "search": search}))
    return found


def test_a_retried_training_counts_as_its_retry_ended(tmp_path: Path) -> None:
    """Before the retry the plan lists it as missing, because the next call trains it again."""
    analysis = CrossBudget(CrossBudgetOptions(seeds=SEEDS))
    once, again = (studies(tmp_path / name) for name in ("once", "again"))
    shape = once[0].trials[0].architecture
    ends = [("first", 0.5), ("second", None), ("third", 0.6), ("second", 0.7)]
    ended = [make_trial(n, value, hash=name, architecture=shape) for n, (name, value) in enumerate(ends)]
    journal(once[0], ended[:3])
    journal(again[0], ended)
    assert analysis.planned(once).tables["trainings"][0]["done"] == 2
    assert analysis.planned(again).tables["trainings"][0]["done"] == 3
    own = analysis.run(once).tables["matrix"][0]
    assert (own["seeds"], own["failed"], own["mean"]) == (2, 1, pytest.approx(0.55))
    own = analysis.run(again).tables["matrix"][0]
    assert (own["seeds"], own["failed"], own["mean"]) == (3, 0, pytest.approx(0.6))
