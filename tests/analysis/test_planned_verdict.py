"""What `scalecore plan` says about a scaling verdict: the design, what it lacks, and its power."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
from attrs import evolve

from scalecore.api.analysis import AnalysisPlan, PlannedTraining
from scalecore.api.errors import RefusedError
from scalecore.api.trials import Origin, StudyView
from scalecore_analysis.options import ScalingLawOptions
from scalecore_analysis.scaling.power import Design
from scalecore_analysis.scaling_law import ScalingLawAnalysis

from .conftest import COLLAPSED, trial

Make = Callable[..., StudyView]


@pytest.fixture
def studies(study: Make) -> Callable[..., list[StudyView]]:
    """Studies that have not begun, one per budget, with a declared margin."""

    def make(budgets: int, *, margin: float | None = 0.01, **changes: Any) -> list[StudyView]:
        found = []
        for index in range(budgets):
            one = study([], name=f"size-{index}", budget=f"{10**index}k", **changes)
            one.experiment["guards"] |= {"margin": margin}
            found.append(one)
        return found

    return make


def plan(studies: Sequence[StudyView], *, seeds: int = 0, **options: Any) -> AnalysisPlan:
    """The plan after an analysis that trains each best configuration on `seeds` fresh seeds."""
    wanted = [PlannedTraining(study=one.name, configuration="best", seeds=seeds) for one in studies if seeds]
    return ScalingLawAnalysis(ScalingLawOptions(**options)).plan(studies, wanted=wanted)


def test_the_power_is_that_of_the_published_table(studies: Callable[..., list[StudyView]]) -> None:
    """Five budgets, five seeds, margin, spread and fall equal: 0.709 in docs/methods.md."""
    found = plan(studies(5), seeds=5)
    (verdict,) = found.data["verdicts"]
    assert verdict["power"] == pytest.approx(0.709, abs=0.03)
    assert (verdict["budgets"], verdict["seeds"], verdict["missing"], verdict["measured"]) == (5, 5, (), 0)
    assert found.lines == [
        "5 budgets, 5 fresh seeds each",
        "spread over seeds 0.01000, assumed until replicates measure it; margin 0.01000",
        f"power to find a fall of 0.01000 a budget: {100 * verdict['power']:.0f} %; for 80 %: 6 seeds each",
        f"smallest fall found with a power of 80 %: {verdict['detectable']:.5f} a budget",
    ]
    assert not found.trainings


def test_the_smallest_fall_is_where_the_power_reaches_its_target(studies: Callable[..., list[StudyView]]) -> None:
    """Slightly smaller falls have less power, and the option `effect` shows the same power for it."""
    (verdict,) = plan(studies(4), seeds=5, spread=0.02).data["verdicts"]
    smallest = verdict["detectable"]
    design = Design(budgets=4, margin=0.01 / 0.02)
    assert design.rates("falling", smallest / 0.02, seeds=5)[0] >= 0.8
    assert design.rates("falling", 0.95 * smallest / 0.02, seeds=5)[0] < 0.8
    (again,) = plan(studies(4), seeds=5, spread=0.02, effect=smallest).data["verdicts"]
    assert again["power"] >= 0.8
    assert Design(budgets=3, margin=1e-9).effect_for("flat", seeds=3) is None


def test_the_plan_names_what_the_verdict_will_lack(studies: Callable[..., list[StudyView]]) -> None:
    """Before a month of training: too few budgets, no margin, no fresh seeds, too few windows."""
    found = plan(studies(2, margin=None), min_samples=10_000)
    assert found.lines[:5] == [
        "2 budgets, no fresh seeds each",
        "the verdict will be not assessable:",
        "  at least 3 budgets required",
        "  no margin declared: set guards.margin, the same for all studies, before the first trial",
        "  at least 3 fresh seeds required, for example `confirm: {top: 3, seeds: 5}`",
    ]
    assert plan(studies(5)).lines[-1] == "seeds for a power of 80 % to find a fall of 0.01000 a budget: 6 each"
    assert plan(studies(3), effect=0.5).data["verdicts"][0]["needed"] == "3"
    assert [line.partition(" has ")[0] for line in found.lines[5:]] == ["  1k", "  10k"]
    assert plan(studies(3), seeds=3, metric="auc").lines[2] == "  auc is not a proper loss"
    assert len(plan(studies(3), seeds=3, metric="auc", experimental=True).data["verdicts"][0]["missing"]) == 0


def test_replicates_replace_the_assumed_spread(studies: Callable[..., list[StudyView]]) -> None:
    """Once a budget has fresh seeds, their spread is used and the text says so; more seeds may still be wanted."""
    one, *others = studies(3)
    best = trial(0, 0.5)
    values = (0.50, 0.52, 0.54)
    same = {"architecture": best.architecture, "hyperparameters": best.hyperparameters}
    origin = Origin(kind="replicate")
    fresh = [trial(seed, value, hash=f"fresh-{seed}", origin=origin, **same) for seed, value in enumerate(values)]
    begun = evolve(one, trials=(best,), confirmations=tuple(fresh))
    found = plan([begun, *others], seeds=5, spread=0.005)
    (verdict,) = found.data["verdicts"]
    assert (verdict["spread"], verdict["measured"], verdict["seeds"]) == (pytest.approx(0.02), 3, 5)
    assert found.lines[1] == "spread over seeds 0.02000, measured on 3 replicates; margin 0.01000"
    (alone,) = plan([begun, *others], spread=0.005).data["verdicts"]
    assert alone["seeds"] == 0


def test_a_run_that_predicts_a_constant_is_no_seed(studies: Callable[..., list[StudyView]]) -> None:
    """If all wanted seeds have run and one of three is constant, the verdict will lack one."""
    best = trial(0, 0.5)
    same = {"architecture": best.architecture, "hyperparameters": best.hyperparameters}
    origin = Origin(kind="replicate")
    fresh = [trial(seed, 0.5 + seed / 100, hash=f"fresh-{seed}", origin=origin, **same) for seed in (1, 2)]
    fresh.append(trial(3, 0.7, hash="fresh-3", origin=origin, flags=[COLLAPSED], **same))
    begun = [evolve(one, trials=(best,), confirmations=tuple(fresh)) for one in studies(3)]
    wanted = [PlannedTraining(study=one.name, configuration="best", seeds=3, done=3) for one in begun]
    found = ScalingLawAnalysis(ScalingLawOptions()).plan(begun, wanted=wanted)
    assert found.lines[:3] == [
        "3 budgets, 2 fresh seeds each",
        "the verdict will be not assessable:",
        "  at least 3 fresh seeds required, for example `confirm: {top: 3, seeds: 5}`",
    ]


def test_each_group_of_studies_has_a_verdict(studies: Callable[..., list[StudyView]]) -> None:
    """Groups with the same design share their lines."""
    first, second = studies(3), studies(3, data={"fingerprint": "other"})
    named = [evolve(one, name=f"{one.name}-b") for one in second]
    found = plan([*first, *named], seeds=4)
    assert [one["budgets"] for one in found.data["verdicts"]] == [3, 3]
    assert found.lines[1] == "  3 budgets, 4 fresh seeds each"
    assert found.lines[0].count(";") == 1
    assert len(found.lines) == 5


def test_equal_studies_of_one_budget_are_refused(studies: Callable[..., list[StudyView]]) -> None:
    """As by the analysis itself."""
    with pytest.raises(RefusedError):
        plan([*studies(1), *studies(1)])


def test_a_table_needs_no_plan(studies: Callable[..., list[StudyView]], tmp_path: Path) -> None:
    """Its runs are given."""
    file = tmp_path / "points.csv"
    file.write_text("parameters,loss\n")
    assert plan(studies(1), points=file).lines == ["fits the runs of a table, and needs no study"]
