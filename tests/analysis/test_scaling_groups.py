"""One verdict for each group of comparable studies, their comparison, and what they lack."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Sequence
from typing import Any

import attrs
import numpy as np
import pytest

from scalecore.api.analysis import AnalysisResult
from scalecore.api.errors import DataError, RefusedError
from scalecore.api.files import plain
from scalecore.api.trials import Origin, StudyEnd, StudyView
from scalecore.testing.fakes import changed
from scalecore_analysis.options import PowerOptions, ScalingLawOptions
from scalecore_analysis.power import PowerAnalysis
from scalecore_analysis.scaling.budgets import from_studies
from scalecore_analysis.scaling_law import ScalingLawAnalysis

from .conftest import COLLAPSED, shape, trial, with_plan

Campaign = Callable[..., list[StudyView]]
Make = Callable[..., StudyView]


def at_horizon(studies: Sequence[StudyView], horizon: int) -> list[StudyView]:
    """The studies with another target, and so another fingerprint."""
    target = {**studies[0].plan.data.target.plain(), "horizon": horizon, "hash": f"horizon-{horizon}"}
    changes = {"target": target, "fingerprint": f"data-{horizon}"}
    return [
        attrs.evolve(with_plan(one, data=changes), name=f"{one.name}-h{horizon}", folder=one.folder / str(horizon))
        for one in studies
    ]


def analyse(studies: Sequence[StudyView], **options: Any) -> AnalysisResult:
    return ScalingLawAnalysis(ScalingLawOptions(**options)).run(studies)


def needs(result: AnalysisResult, what: str, group: str | None = None) -> list[dict[str, Any]]:
    """The rows of the table of what is missing, of one kind."""
    rows = result.tables["What is missing"]
    return [dict(row) for row in rows if row["for"] == what and group in (None, row.get("group"))]


def test_each_horizon_has_its_own_verdict(campaign: Campaign) -> None:
    """The loss falls at horizon 1 and rises at horizon 3; pooled, both would be one wrong law over six budgets."""
    falls, rises = at_horizon(campaign([0.60, 0.55, 0.52]), 1), at_horizon(campaign([0.60, 0.55, 0.57]), 3)
    mixed = [one for pair in zip(falls, rises, strict=True) for one in pair]
    result = analyse(mixed)
    assert result.title == "Scaling laws of 2 groups, val_loss"
    assert result.data["verdicts"] == {"horizon 1": "holds", "horizon 3": "violated"}
    assert result.summary[:2] == [
        "horizon 1: Verdict: holds: the loss falls with model size, and no step to a larger budget is worse by the "
        "margin.",
        "horizon 3: Verdict: violated: the loss rises with model size between some budgets.",
    ]
    rows = result.tables["Comparison of the groups"]
    assert [(row["group"], row["verdict"], row["budgets"], row["seeds"]) for row in rows] == [
        ("horizon 1", "holds", 3, 5),
        ("horizon 3", "violated", 3, 5),
    ]
    # Each group's part equals the result for this group alone.
    for label, studies in (("horizon 1", falls), ("horizon 3", rises)):
        alone = analyse(studies)
        for name in ("Budgets", "Preconditions", "Laws"):
            assert result.tables[f"{label}: {name}"] == alone.tables[name]
        part = next(one for one in result.data["groups"] if one["group"] == label)
        assert {name: part[name] for name in ("tests", "laws", "margin")} == {
            name: alone.data[name] for name in ("tests", "laws", "margin")
        }
    json.dumps(plain(result.data), allow_nan=False)


def test_the_page_has_all_groups(campaign: Campaign) -> None:
    """The comparison with the verdicts first, then tables and figures of each group."""
    studies = [*at_horizon(campaign([0.60, 0.55, 0.52]), 1), *at_horizon(campaign([0.60, 0.55, 0.57]), 3)]
    result = analyse(studies, figures=["svg"])
    page = str(result.files["figures.html"])
    page = page[page.index('<section id="s1">') :]
    assert re.findall(r"<h2>([^$<]*)</h2>", page) == ["Comparison of the groups", "horizon 1", "horizon 3"]
    assert page.index("horizon 3: Verdict: violated") < page.index("<table>") < page.index("<h2>horizon 1")
    assert {name for name in result.files if name.endswith("svg") and "Loss" in name} == {
        "Loss-relative-to-the-smallest-budget.svg",
        "horizon-1-Loss-against-parameters.svg",
        "horizon-3-Loss-against-parameters.svg",
    }


def test_a_group_without_a_verdict_does_not_stop_the_others(campaign: Campaign, study: Make) -> None:
    """One group lacks seeds, one has a single budget, one no completed trial."""
    means = [0.60, 0.55, 0.52]
    single = at_horizon(campaign(means), 5)[:1]
    empty = at_horizon([study([trial(0, state="failed")], budget="1k", name="empty")], 10)
    unconfirmed = at_horizon(campaign(means, confirmations=()), 3)
    result = analyse([*at_horizon(campaign(means), 1), *unconfirmed, *single, *empty])
    assert result.data["verdicts"] == {
        "horizon 1": "holds",
        "horizon 3": "not assessable",
        "horizon 5": "not assessable",
        "horizon 10": "not assessable",
    }
    assert result.summary[3] == (
        "horizon 10: Verdict: not assessable. empty-h10: no completed trial has the metric 'val_loss'; a scaling law "
        "needs one per budget."
    )
    assert result.summary[-1] == "4 groups, 1 verdict."
    rows = {row["group"]: row["not met"] for row in result.tables["Comparison of the groups"]}
    assert (rows["horizon 1"], rows["horizon 3"], rows["horizon 5"]) == (None, "seeds", "budgets")
    (need,) = needs(result, "budgets", "horizon 5")
    assert need["missing"] == (
        "1 of 3 budgets that a verdict requires (a power law 4, better 5): run 100k, 10k here too, with searches like "
        "those of the other budgets"
    )
    # With this group alone there is nothing to report.
    with pytest.raises(DataError, match=r"^empty-h10: no completed trial has the metric 'val_loss'; a scaling law"):
        analyse(empty)


def test_a_budget_without_a_completed_trial_is_left_out_and_named(campaign: Campaign) -> None:
    """The verdict over the others is exploratory."""
    studies = campaign([0.60, 0.55, 0.52, 0.50])
    studies[3] = attrs.evolve(studies[3], trials=(), confirmations=())
    result = analyse(studies)
    assert result.data["verdict"] == "holds"
    assert result.summary[0].endswith("EXPLORATORY: size-3 is left out: no completed trial.")
    assert needs(result, "search")[-1] == {
        "for": "search",
        "missing": "budget 1000k has 0 of 9 trials",
        "trainings": 9,
        "hours": None,
        "command": f"scalecore run {studies[3].folder}/experiment.yaml",
    }


def test_what_a_law_lacks_comes_after_what_a_verdict_lacks(campaign: Campaign) -> None:
    """Three budgets are enough for a verdict: their missing seeds come first."""
    found = [one["for"] for one in analyse(campaign([0.60, 0.55, 0.52], confirmations=())).tables["What is missing"]]
    assert "seeds" in found
    assert found.index("power law") == len(found) - 1


def test_missing_seeds_have_a_cost_and_a_command(campaign: Campaign) -> None:
    """The hours come from the durations of finished trials of the budget; without any they are unknown."""
    studies = campaign([0.60, 0.55, 0.52], confirmations=(), end=StudyEnd.COMPLETED)
    times = (0.5, 1.0, 2.0)  # hours of each trial
    studies = [
        attrs.evolve(
            one, trials=[changed(record, duration=hours * 3600) if record.value else record for record in one.trials]
        )
        for one, hours in zip(studies, times, strict=True)
    ]
    result = analyse(studies)
    rows = needs(result, "seeds")
    assert [row["missing"] for row in rows] == [f"budget {one.budget} has 0 of 3 fresh seeds" for one in studies]
    assert [row["command"] for row in rows] == [f"scalecore confirm {one.folder} --top 1 --seeds 3" for one in studies]
    # All trials of a study take the same time here, by shapes of different FLOPs: the forecast is within their range.
    for row, hours in zip(rows, times, strict=True):
        assert row["trainings"] == 3
        assert 0.3 * hours < row["hours"] / 3 < 10 * hours
    found = result.data["groups"][0]["needs"]
    assert [one["hours"] for one in found if one["what"] == "seeds"] == [row["hours"] for row in rows]
    assert "budget 1k has 0 of 3 fresh seeds: 3 trainings, about " in result.summary[1]
    assert f"`scalecore confirm {studies[0].folder} --top 1 --seeds 3`" in result.summary[1]

    untimed = [attrs.evolve(one, trials=[changed(r, duration=None) for r in one.trials]) for one in studies]
    result = analyse(untimed)
    assert [row["hours"] for row in needs(result, "seeds")] == [None, None, None]
    assert "budget 1k has 0 of 3 fresh seeds: 3 trainings, hours unknown: `scalecore confirm" in result.summary[1]


def test_seeds_for_the_power_have_a_cost_too(campaign: Campaign) -> None:
    """An inconclusive verdict names the seeds that the observed fall requires, for each budget."""
    result = analyse(campaign([0.5500, 0.5485, 0.5470], seeds=3, margin=0.001))
    assert result.data["verdict"] == "inconclusive"
    rows = needs(result, "power")
    assert len(rows) == 3
    required = re.search(r"80 %, (\d+) seeds per budget are required; budget 1k has 3", rows[0]["missing"])
    assert required is not None
    assert [row["trainings"] for row in rows] == [int(required[1]) - 3] * 3
    assert rows[0]["command"].endswith(f"--top 1 --seeds {required[1]}")


def test_optima_at_edges_and_unfinished_searches_are_missing_too(campaign: Campaign) -> None:
    """The range to extend, and the remaining trials with the command that resumes the study."""
    studies = campaign([0.60, 0.55, 0.52])
    studies[1] = with_plan(studies[1], space={"learning_rate": {"log_uniform": [2.9e-3, 0.1]}})
    result = analyse(studies)
    (edge,) = needs(result, "edges")
    assert edge["missing"] == (
        "budget 10k: learning_rate = 0.003 is at its minimum: extend its values and add trials to the search (about 1 "
        "min 00 s each), or waive `edges` if nothing lies beyond"
    )
    searches = needs(result, "search")
    assert [row["missing"] for row in searches] == [f"budget {one.budget} has 4 of 9 trials" for one in studies]
    assert searches[0]["hours"] == pytest.approx(5 / 60)


def test_several_verdicts_are_counted_and_adjusted_together(campaign: Campaign) -> None:
    """A verdict close to its critical value changes if the errors of six verdicts together have the rate of one."""
    clear = [at_horizon(campaign([0.60, 0.55, 0.52]), horizon) for horizon in range(1, 6)]
    close = at_horizon(campaign([0.550, 0.548, 0.547], margin=0.002), 6)
    result = analyse([one for group in [*clear, close] for one in group])
    assert result.data["verdicts"] == dict.fromkeys([f"horizon {horizon}" for horizon in range(1, 7)], "holds")
    rows = {row["group"]: row["all groups together"] for row in result.tables["Comparison of the groups"]}
    assert (rows["horizon 1"], rows["horizon 6"]) == ("holds", "inconclusive")
    assert result.summary[-1] == (
        "6 groups, 6 verdicts: each has its own error rates (at most 5 % for a false `holds` and for a false "
        "`violated`). With those rates for all 6 together (Bonferroni), the verdict changes for horizon 6."
    )


def test_the_change_per_decade_is_a_least_squares_slope(campaign: Campaign) -> None:
    """Equal seeds: the slope of the means over log10 N, and its share of the loss of the smallest budget."""
    result = analyse(campaign([0.60, 0.55, 0.52]))
    means = [row["mean"] for row in result.tables["Budgets"]]
    sizes = [row["parameters"] for row in result.tables["Budgets"]]
    trend = result.data["tests"]["trend"]
    assert trend["per_decade"] == pytest.approx(np.polyfit(np.log10(sizes), means, 1)[0])
    assert trend["relative"] == pytest.approx(trend["per_decade"] / means[0])
    assert trend["low"] < trend["per_decade"] < trend["high"]


def test_two_studies_of_one_budget_are_never_one_law(campaign: Campaign) -> None:
    """Those with another seed are another group, and equal ones are refused."""
    studies = campaign([0.60, 0.55, 0.52])
    again = [attrs.evolve(one, name=f"{one.name}-again", experiment={**one.experiment, "seed": 1}) for one in studies]
    assert list(analyse([*studies, *again]).data["verdicts"]) == ["seed 0", "seed 1"]
    with pytest.raises(RefusedError, match=r"^two studies have the same budget and the same settings"):
        analyse([*studies, attrs.evolve(studies[0], folder=studies[0].folder / "copy")])


def test_budgets_with_other_data_are_one_law_only_if_data_is_waived(campaign: Campaign) -> None:
    """Without it they are groups; with it the verdict is exploratory."""
    studies = campaign([0.60, 0.55, 0.52])
    studies[0] = with_plan(studies[0], data={"fingerprint": "another"})
    assert set(analyse(studies).data["verdicts"].values()) == {"not assessable"}
    waived = analyse(studies, waive=["data"])
    assert waived.data["verdict"] == "holds"
    assert "EXPLORATORY: data waived." in waived.summary[0]


def test_settings_that_differ_between_budgets_are_named(campaign: Campaign) -> None:
    """The verdict is then about size and these settings together."""
    studies = campaign([0.60, 0.55, 0.52])
    training = {**studies[2].experiment["training"], "schedule": "constant"}
    studies[2] = attrs.evolve(studies[2], experiment={**studies[2].experiment, "training": training})
    assert any(
        note.startswith("The studies of the budgets differ in training.schedule; the verdict is about")
        for note in analyse(studies).notes
    )


def test_g09_replicates_that_collapse_or_diverge_do_not_change_the_configuration(study: Make) -> None:
    """The search's best stays the one that is judged, and what its seeds do is reported; otherwise the verdict would be
    about the configurations that happen to survive. A trial that collapsed in the search is not chosen."""
    rates = (1e-3, 2e-3, 3e-3)
    searched = [
        trial(number, value, architecture=shape(16, 2), hyperparameters={"learning_rate": rate})
        for number, (value, rate) in enumerate(zip((0.45, 0.50, 0.51), rates, strict=True))
    ]
    searched[0] = changed(searched[0], flags=[COLLAPSED])

    def fresh(number: int, rate: float, **changes: Any) -> Any:
        content = {"architecture": shape(16, 2), "hyperparameters": {"learning_rate": rate}}
        value = 0.55 + 0.001 * number
        state = changes.pop("state", "completed")
        value = value if state == "completed" else None
        origin = Origin(kind="replicate")
        return trial(number, value, hash=f"{rate}-{number}", origin=origin, state=state, **content, **changes)

    healthy = [fresh(number, 3e-3) for number in range(3)]
    for second in (
        [fresh(number, 2e-3, flags=[COLLAPSED]) for number in range(3)],
        [fresh(0, 2e-3), fresh(1, 2e-3, state="diverged"), fresh(2, 2e-3, state="diverged")],
    ):
        (found,) = from_studies([study(searched, confirmations=[*second, *healthy])], metric="val_loss", seeds=3)
        assert found.searched == 0.50
        assert (found.collapsed, found.diverged) in ((True, 0), (False, 2))
    result = analyse([study(searched, confirmations=[*second, *healthy])])
    rows = {row["precondition"]: row["found"] for row in result.tables["Preconditions"] if row["state"] == "NOT MET"}
    assert rows["collapse"] == "2 fresh seeds of walk diverged"
    assert rows["seeds"] == "at least 3 per budget required; walk has 1"


def test_a_configuration_of_another_budget_is_not_the_selected_one(study: Make) -> None:
    """Transfers have fresh seeds at this budget, but the search of this budget did not select them."""
    searched = [trial(0, 0.50), trial(1, 0.51)]
    moved = [
        trial(
            number,
            0.40 + 0.01 * number,
            hash=f"moved-{number}",
            architecture=shape(32, 4),
            origin=Origin(kind="transfer"),
        )
        for number in range(3)
    ]
    (found,) = from_studies([study(searched, confirmations=moved)], metric="val_loss", seeds=3)
    assert (found.searched, found.losses) == (0.50, (0.50,))


def test_power_is_that_of_each_group(campaign: Campaign) -> None:
    """Not of one design with all budgets of all horizons; a group without seeds is named."""
    means = [0.60, 0.55, 0.52]
    studies = [*at_horizon(campaign(means), 1), *at_horizon(campaign(means), 3)]
    result = PowerAnalysis(PowerOptions(seeds=[5], effects=[2.0])).run(studies)
    assert [(one["group"], one["budgets"], one["margin"]) for one in result.data["groups"]] == [
        ("horizon 1", 3, 0.005),
        ("horizon 3", 3, 0.005),
    ]
    assert {row["group"] for row in result.tables["Rates of the verdicts"]} == {"horizon 1", "horizon 3"}
    lacking = at_horizon(campaign(means, confirmations=()), 5)
    result = PowerAnalysis(PowerOptions(seeds=[5], effects=[2.0])).run([*studies[:3], *lacking])
    assert len(result.data["groups"]) == 1
    assert result.summary[-1].startswith("horizon 5: no study has a configuration with two seeds")
