from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import attrs
import numpy as np
import pytest

from scalecore.api.analysis import AnalysisResult
from scalecore.api.errors import DataError, ExperimentError
from scalecore.api.trials import StudyView
from scalecore.testing.fakes import changed
from scalecore_analysis.options import PowerOptions, ScalingLawOptions
from scalecore_analysis.power import PowerAnalysis
from scalecore_analysis.scaling.budgets import RATES, from_studies, loss_of
from scalecore_analysis.scaling.preconditions import preconditions
from scalecore_analysis.scaling_law import ScalingLawAnalysis
from scalecore_torch.training.tasks import task_named

from .conftest import COLLAPSED, SPREAD, addresses_of, figures_of, trial, with_plan

Make = Callable[..., StudyView]


def analyse(studies: Sequence[StudyView], **options: Any) -> AnalysisResult:
    return ScalingLawAnalysis(ScalingLawOptions(**options)).run(studies)


def missing(result: AnalysisResult) -> list[str]:
    assert result.data["verdict"] == "not assessable"
    return list(result.data["missing"])


def test_a_loss_that_falls_holds(campaign: Callable[..., list[StudyView]]) -> None:
    """Over three budgets, with fresh seeds; the value of the search is shown but not used."""
    result = analyse(campaign([0.60, 0.55, 0.52]))
    assert result.data["verdict"] == "holds"
    assert result.summary[0] == (
        "Verdict: holds: the loss falls with model size, and no step to a larger budget is worse by the margin."
    )
    rows = result.tables["Budgets"]
    assert [row["parameters"] for row in rows] == [512, 5120, 51200]
    assert [row["seeds"] for row in rows] == [5, 5, 5]
    assert rows[0]["searched"] == pytest.approx(0.59)
    assert rows[0]["mean"] == pytest.approx(0.60, abs=0.003)
    assert rows[0]["chosen"] == "width=16,depth=2; replicates 0, 1, 2, 3, 4"
    assert "not testable with 3 budgets" in result.data["power law"]
    laws = {row["law"]: row for row in result.tables["Laws"]}
    assert laws["power with floor"]["not testable"] == "3 parameters of the mean require at least 4 sizes; there are 3"
    assert laws["power with floor"]["weight (AICc)"] is None
    assert laws["N and D"]["not testable"] == "D spans only a factor of 1"
    assert sum(row["weight (AICc)"] or 0 for row in laws.values()) == pytest.approx(1)
    # A constant says nothing of the largest budget; the power law comes near.
    assert laws["constant"]["inside"] is False
    assert laws["constant"]["error"] > laws["power"]["error"]


def test_a_power_law_needs_budgets_a_fit_and_a_prediction(campaign: Callable[..., list[StudyView]]) -> None:
    """Five sizes on a power law with floor: the law fits and predicts the largest; its exponent is recovered."""
    means = [0.3 + 0.2 * 10 ** (-0.3 * index) for index in range(5)]
    result = analyse(campaign(means))
    assert result.data["verdict"] == "holds with power law"
    law = next(one for one in result.data["laws"] if one["law"] == "power with floor")
    assert law["parameters"]["alpha"]["low"] < 0.3 < law["parameters"]["alpha"]["high"]
    assert law["lack of fit p"] > 0.05
    assert law["inside"]


def test_a_fall_without_a_power_law_only_holds(campaign: Callable[..., list[StudyView]]) -> None:
    """Four budgets with a drop between the second and the third."""
    result = analyse(campaign([0.60, 0.595, 0.50, 0.495]))
    assert result.data["verdict"] == "holds"
    assert "lack of fit p = 0.0" in result.data["power law"]


def test_a_law_with_a_lack_of_fit_has_no_intervals(campaign: Callable[..., list[StudyView]]) -> None:
    """All its resamples are equal, which is no evidence of precision; its line has no band either."""
    result = analyse(campaign([0.3 + 0.2 * 10 ** (-0.3 * index) for index in range(4)]))
    laws = {one["law"]: one for one in result.data["laws"]}
    assert laws["constant"]["lack of fit p"] <= 0.05 < laws["power with floor"]["lack of fit p"]
    assert laws["constant"]["parameters"]["E"] == {"value": pytest.approx(0.4, abs=0.05), "low": None, "high": None}
    alpha = laws["power with floor"]["parameters"]["alpha"]
    assert alpha["low"] < alpha["value"] < alpha["high"]
    found = next(note for note in result.notes if note.startswith("No intervals for the parameters of constant"))
    assert "power with floor" not in found
    bands = [one for one in laws.values() if one["objective"] is not None and one["lack of fit p"] > 0.05]
    drawn = figures_of(result.files["figures.html"])[0]["layer"]
    assert 0 < sum(layer["mark"]["type"] == "area" for layer in drawn) == len(bands) < len(laws)


def test_a_rise_is_a_violation(campaign: Callable[..., list[StudyView]]) -> None:
    """The largest model is worse than the middle one by ten spreads."""
    assert analyse(campaign([0.60, 0.55, 0.57])).data["verdict"] == "violated"


def test_budgets_within_the_margin_are_flat(campaign: Callable[..., list[StudyView]]) -> None:
    """Ten seeds per budget show that no difference is relevant."""
    assert analyse(campaign([0.55, 0.55, 0.55], seeds=10)).data["verdict"] == "flat"


def test_too_few_seeds_are_inconclusive_and_the_required_number_is_reported(
    campaign: Callable[..., list[StudyView]],
) -> None:
    """A fall within the noise of three seeds; the summary reports the required number of seeds."""
    result = analyse(campaign([0.5500, 0.5485, 0.5470], seeds=3, margin=0.001))
    assert result.data["verdict"] == "inconclusive"
    assert re.search(
        r"a fall of 0\.00\d+ per budget with a power of 80 %, \d+ seeds per budget are", result.summary[-1]
    )


def test_g14_three_numbers_are_not_assessable(tmp_path: Path) -> None:
    """One value per budget supports no verdict in any order: seeds, baseline and margin are missing."""
    table = tmp_path / "three.csv"
    table.write_text("budget,parameters,loss\n2M,2417473,0.7178\n20M,23882881,0.7246\n200M,170457985,0.7147\n")
    result = analyse([], points=table)
    assert {"seeds", "margin", "baseline", "data", "edges", "samples"} <= set(missing(result))
    assert "2M has 1; 20M has 1; 200M has 1" in result.summary[0]
    assert result.tables.get("Laws") is None
    assert result.data["tests"] is None
    # Waiving what a table cannot tell does not help: the seeds are missing.
    waived = ["tolerance", "edges", "data", "samples", "baseline", "dry runs", "collapse"]
    assert missing(analyse([], points=table, waive=waived, margin=0.005)) == ["seeds"]


def unmet(studies: Sequence[StudyView], *, margin: float | None = 0.005, **limits: Any) -> dict[str, str]:
    """The unmet preconditions with their findings."""
    asked = {"seeds": 3, "samples": 100, "positives": 20, "proper": True, **limits}
    budgets = from_studies(studies, metric="val_loss", seeds=3)
    return {one.name: one.text for one in preconditions(budgets, margin=margin, **asked) if not one.satisfied}


def test_g04_counted_parameters_are_fitted_and_not_labels(campaign: Callable[..., list[StudyView]]) -> None:
    """A study whose models are ten times smaller than its budget is outside its budget, and not larger."""
    studies = campaign([0.60, 0.55, 0.52])
    studies[2] = with_plan(studies[2], architectures={"range": [400_000, 600_000]})
    assert unmet(studies) == {"tolerance": "size-2 has 51,200 parameters, outside its budget"}
    again = attrs.evolve(studies[1], name="again")
    assert unmet([*studies[:2], again])["parameters"] == "size-1 has 5,120 and again 5,120"


def test_each_precondition_is_checked(campaign: Callable[..., list[StudyView]]) -> None:
    """Each precondition is violated alone, and reported alone."""
    means = [0.60, 0.55, 0.52]
    fine = campaign(means)
    assert unmet(fine) == {}
    assert unmet(campaign(means, seeds=2)) == {
        "seeds": "at least 3 per budget required; size-0 has 2; size-1 has 2; size-2 has 2"
    }
    assert unmet(fine, margin=None) == {
        "margin": "no study declares one: set guards.margin in the experiment file before the study, or pass margin=..."
    }
    assert unmet(fine[:2]) == {"budgets": "2, at least 3 required"}
    assert unmet(fine, proper=False) == {"loss": "not a proper loss; set experimental=true to use it anyway"}
    assert list(unmet(campaign([0.95, 0.90, 0.86]))) == ["baseline"]
    assert re.match(
        r"size-0 has \d+ effective validation windows, fewer than 9999; ", unmet(fine, samples=9999)["samples"]
    )
    assert re.match(r"size-0 has \d+ effective windows of the rarer class, ", unmet(fine, positives=9999)["samples"])

    fine[1] = with_plan(fine[1], space={"learning_rate": {"log_uniform": [2.9e-3, 0.1]}})
    assert unmet(fine) == {"edges": "size-1: learning_rate at its minimum"}

    other = campaign(means)
    other[0] = with_plan(other[0], data={"fingerprint": "another"})
    assert unmet(other) == {"data": "the studies differ in data"}

    constant = campaign(means)
    flagged = tuple(changed(record, flags=[COLLAPSED]) for record in constant[2].confirmations)
    constant[2] = attrs.evolve(constant[2], confirmations=flagged, trials=())
    assert unmet(constant) == {"collapse": "runs of size-2 predict a constant"}

    # One of five is left out of the mean, which then says too little of what this configuration does.
    partly = campaign(means)
    first, *rest = partly[2].confirmations
    flagged = (changed(first, flags=[COLLAPSED]), *rest)
    partly[2] = attrs.evolve(partly[2], confirmations=flagged)
    assert unmet(partly) == {"collapse": "runs of size-2 predict a constant"}


def test_g12_equal_losses_are_dry_runs(campaign: Callable[..., list[StudyView]]) -> None:
    """Two budgets with exactly the same losses did not run as labelled."""
    studies = campaign([0.60, 0.55, 0.52])
    copied = tuple(
        attrs.evolve(record, value=other.value, best=other.best)
        for record, other in zip(studies[1].confirmations, studies[0].confirmations, strict=True)
    )
    studies[1] = attrs.evolve(studies[1], confirmations=copied)
    assert list(unmet(studies)) == ["seeds", "dry runs"]


def test_waived_conditions_and_late_margins_make_the_verdict_exploratory(
    campaign: Callable[..., list[StudyView]],
) -> None:
    """The first sentence names the reason."""
    later = analyse(campaign([0.60, 0.55, 0.52], margin=None), margin=0.005)
    assert later.data["verdict"] == "holds"
    assert "EXPLORATORY: the margin was set after the studies." in later.summary[0]
    waived = analyse(campaign([0.95, 0.90, 0.86]), waive=["baseline"])
    assert waived.data["verdict"] == "holds"
    assert "EXPLORATORY: baseline waived." in waived.summary[0]


def test_a_metric_that_is_no_proper_loss_needs_an_option(campaign: Callable[..., list[StudyView]]) -> None:
    """With `experimental`; the loss is one minus the metric."""
    studies = campaign([0.60, 0.55, 0.52])
    assert "loss" in missing(analyse(studies, metric="auc"))
    asked = analyse(studies, metric="auc", experimental=True)
    assert "loss" not in missing(asked)
    assert "seeds" not in missing(asked)  # several runs may have the same AUC by chance
    assert asked.title == "Scaling law over 3 budgets, 1 - auc (experimental)"
    assert analyse(studies[:1]).title == "Scaling law over 1 budget, val_loss"
    assert asked.tables["Budgets"][0]["mean"] == pytest.approx(0.4)


def test_one_minus_a_rate_is_the_loss() -> None:
    """The direction of every metric of a task is known."""
    tasks = [task_named(name) for name in ("binary", "multiclass", "forecast")]
    numbers = {name for task in tasks for name in task.required_metrics} - {"confusion_matrix", "predictions"}
    assert {name for name in numbers if loss_of(0.2, name) == 0.2} == {"brier", "mae", "rmse"}
    assert {loss_of(0.2, name) for name in RATES} == {0.8}


def test_without_replicates_the_search_is_shown_but_not_assessed(
    campaign: Callable[..., list[StudyView]],
) -> None:
    """The best of n is optimistic: it is one value per budget, and the note names `scalecore confirm`."""
    result = analyse(campaign([0.60, 0.55, 0.52], confirmations=()))
    assert missing(result) == ["seeds"]
    assert [row["mean"] for row in result.tables["Budgets"]] == pytest.approx([0.59, 0.54, 0.51])
    assert "`scalecore confirm` retrains the best configurations" in result.notes[-1]


def test_figures_open_offline(campaign: Callable[..., list[StudyView]]) -> None:
    """One page with an embedded script, no external resources, and escaped names of studies."""
    studies = campaign([0.60, 0.55, 0.52])
    hostile = attrs.evolve(studies[0], name="<script>alert(1)</script>")
    page = analyse([hostile, *studies[1:]]).files["figures.html"]
    assert len(figures_of(page)) == 2
    assert "Content-Security-Policy" in page
    assert "All trials" not in page
    assert addresses_of(page) == ["#s1", "#s2"]
    assert "<script>alert(1)" not in page
    roles = {"width": "width", "depth": "depth"}
    studies = [with_plan(one, architectures={"roles": roles}) for one in studies]
    page = analyse(studies).files["figures.html"]
    assert "<h2>Loss against aspect, log2(width / depth)</h2>" in page
    assert ">Loss against aspect, log2(width / depth)</a>" in page


def test_figures_match_the_result(campaign: Callable[..., list[StudyView]]) -> None:
    """Each point and interval of the figures is in the result; laws with a small weight are hidden at first."""
    studies = campaign([0.60, 0.55, 0.52])
    roles = {"width": "width", "depth": "depth"}
    studies = [with_plan(one, architectures={"roles": roles}) for one in studies]
    result = analyse(studies)
    loss, residuals, aspect = figures_of(result.files["figures.html"])
    assert [one["layer"][0]["encoding"]["x"]["title"] for one in (loss, residuals, aspect)] == [
        "parameters N",
        "parameters N",
        "aspect, log2(width / depth)",
    ]
    assert [one["layer"][0]["encoding"]["x"]["scale"]["type"] for one in (loss, residuals, aspect)] == [
        "log",
        "log",
        "linear",
    ]
    chosen = [row for row in loss["datasets"]["rows"] if row["series"] == "selected, mean over seeds, 95 % interval"]
    assert [(row["x"], row["y"], row["low"], row["high"]) for row in chosen] == [
        (row["parameters"], row["mean"], row["low"], row["high"]) for row in result.tables["Budgets"]
    ]
    trials = {row["text"]: row["y"] for row in loss["datasets"]["rows"] if row["series"] == "all trials"}
    assert len(trials) == 9
    assert trials["size-1, trial 2"] == pytest.approx(0.58)
    weights = {row["law"]: row["weight (AICc)"] for row in result.tables["Laws"] if row["AICc"] is not None}
    drawn = {row["series"] for row in loss["datasets"]["rows"]} & set(weights)
    (shown,) = [one["value"] for one in loss["params"] if one["name"] == "shown"]
    assert drawn
    assert {one["series"] for one in shown} & set(weights) == {name for name in drawn if weights[name] >= 0.1}
    names = list(dict.fromkeys(row["series"] for row in loss["datasets"]["rows"]))
    colours = loss["layer"][0]["encoding"]["color"]["scale"]
    assert (colours["domain"], colours["range"][-1]) == (names, "#ff7f0e")
    assert {row["series"] for row in residuals["datasets"]["rows"]} == drawn
    assert [row["level"] for name, rows in residuals["datasets"].items() if name != "rows" for row in rows] == [0.0]
    assert {row["series"] for row in aspect["datasets"]["rows"]} == {"size-0", "size-1", "size-2"}


def test_studies_that_cannot_be_fitted_are_refused(study: Make) -> None:
    """No completed trial, and neither studies nor a table."""
    with pytest.raises(
        DataError, match=r"^walk: no completed trial has the metric 'val_loss'; a scaling law needs one"
    ):
        analyse([study([trial(0, state="failed")])])
    with pytest.raises(ExperimentError, match=r"^a scaling law needs either studies, one per budget, or points="):
        analyse([])


def test_a_table_with_windows_is_fitted_in_n_and_d(tmp_path: Path) -> None:
    """Nine sizes and amounts of data with two runs each: the law in N and D is testable and has the largest weight."""
    generator = np.random.default_rng(0)
    lines = ["parameters,loss,windows,budget"]
    for n in (1e5, 1e6, 1e7):
        for d in (1e5, 1e6, 1e7):
            for _ in range(2):
                loss = (0.3 + 4 * n**-0.3 + 6 * d**-0.35) * np.exp(1e-4 * generator.standard_normal())
                lines.append(f"{n},{loss},{d},{n:g} on {d:g}")
    (tmp_path / "grid.csv").write_text("\n".join(lines))
    result = analyse([], points=tmp_path / "grid.csv")
    laws = {one["law"]: one for one in result.data["laws"]}
    assert laws["N and D"]["weight (AICc)"] > 0.99
    assert laws["N and D"]["parameters"]["beta"]["value"] == pytest.approx(0.35, rel=0.05)
    assert missing(result)[0] == "parameters"


def test_power_takes_spread_and_margin_from_studies(campaign: Callable[..., list[StudyView]]) -> None:
    """The pooled spread over seeds, the margin of the files, and one budget per study."""
    result = PowerAnalysis(PowerOptions(seeds=[5], effects=[2.0])).run(campaign([0.60, 0.55, 0.52]))
    assert result.data["spread"] == pytest.approx(SPREAD, rel=0.5)
    assert result.data["margin"] == 0.005
    assert [row["truth"] for row in result.data["needed"]] == ["falling", "rising at the end", "flat"]
    assert "from 15 runs of these studies" in result.summary[0]
    studies = campaign([0.60, 0.55, 0.52])
    studies[0].experiment["guards"] |= {"margin": 0.01}
    differing = PowerAnalysis(PowerOptions(seeds=[5], effects=[2.0])).run(studies)
    assert differing.data["margin"] is None
    assert differing.summary[0].endswith(" (one spread: no margin is given or declared equally by all studies).")
    with pytest.raises(DataError, match=r"^no study has a configuration with two seeds, so the spread over seeds is"):
        PowerAnalysis(PowerOptions()).run(campaign([0.60, 0.55, 0.52], confirmations=()))


def test_power_without_studies_is_in_units_of_the_spread() -> None:
    """Five seeds detect a fall of two spreads; three do not detect a rise of that size."""
    result = PowerAnalysis(PowerOptions(seeds=[3, 5], effects=[2.0])).run([])
    power = {(row["truth"], row["seeds"]): row["power"] for row in result.data["rates"]}
    assert power["falling", 5] > 0.95
    assert power["rising at the end", 3] < 0.6
    assert result.summary[0].startswith(
        "3 budgets; spread over seeds unknown (all results are in units of it); margin 1"
    )
