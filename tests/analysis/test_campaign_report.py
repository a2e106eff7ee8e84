"""The page of several studies: every number is recomputed from the records, and gaps are named."""

from __future__ import annotations

import csv
import io
import json
import math
import re
import statistics
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
from attrs import evolve
from scipy.stats import t as student

from scalecore.api.analysis import AnalysisResult
from scalecore.api.files import plain, write_json
from scalecore.api.trials import Origin, StudyView, TrialRecord
from scalecore_analysis.options import ReportOptions, ScalingLawOptions
from scalecore_analysis.report.analysis import ReportAnalysis
from scalecore_analysis.scaling_law import ScalingLawAnalysis

from .conftest import COLLAPSED, addresses_of, figures_of, shape, trial, with_plan

pytestmark = pytest.mark.slow

Make = Callable[..., StudyView]
WHOLE = "whole campaign"
RATE = {"learning_rate": 3e-3, "epochs": 10}
HOSTILE = '</script><script>alert("x")</script><img src=x onerror=y> | [a](b) \\input{x} =1+1'


def report(*studies: StudyView, **options: Any) -> AnalysisResult:
    """The result of the analysis, which must be serialisable."""
    given = {"figures": [], "tables": [], **options}
    result = ReportAnalysis(ReportOptions(**given)).run(studies)
    json.dumps(plain({"data": result.data, "tables": result.tables}), allow_nan=False)
    return result


def fresh(number: int, value: float, **changes: Any) -> TrialRecord:
    """A training of the chosen configuration with a fresh seed."""
    content: dict[str, Any] = {"hash": f"fresh-{number}", "origin": Origin(kind="replicate"), "duration": 90.0}
    return trial(number, value, **{**content, "hyperparameters": RATE, **changes})


@pytest.fixture
def budget_study(study: Make) -> Make:
    """A study of one budget: `budget_study(1, 0.6)` has a search of five trials and four replicates of its best."""

    def make(
        index: int,
        mean: float,
        *,
        name: str = "walk",
        seeds: Sequence[float] = (-0.002, 0.0, 0.001, 0.002),
        **more: Any,
    ) -> StudyView:
        inner = shape(16, 2, scale=10**index)
        within = {"val_loss": {"low": mean - 0.05, "high": mean + 0.05}}
        best = {"epoch": 2, "val_loss": mean - 0.01, "intervals": within}
        searched = [
            trial(0, mean - 0.01, architecture=inner, hyperparameters=RATE, best=best),
            trial(1, mean + 0.02, architecture=shape(8, 1, scale=10**index), origin=Origin(kind="forced", label="w")),
            trial(2, mean + 0.03, architecture=shape(32, 4, scale=10**index)),
            trial(3, state="failed", architecture=inner),
            trial(4, state="diverged", architecture=inner),
        ]
        replicates = tuple(fresh(n, mean + shift, architecture=inner) for n, shift in enumerate(seeds))
        content = {"confirmations": replicates, "duplicates_avoided": 2, "trials": searched, **more}
        made = study(content.pop("trials"), name=f"{name}-{index}", budget=f"{10**index}k", **content)
        made.experiment["guards"] |= {"margin": 0.005}
        return with_plan(made, architectures={"range": [400 * 10**index, 600 * 10**index]})

    return make


def test_each_budget_has_its_size_effort_and_best(budget_study: Make) -> None:
    """N and FLOPs as counted, the best trial with its interval over windows, the mean over fresh seeds with its own."""
    studies = [budget_study(index, mean) for index, mean in enumerate((0.60, 0.55, 0.52))]
    result = report(*studies)
    found = result.data[WHOLE]["Budgets"]
    windows = studies[0].plan.data.parts["train"].windows
    size = found["sizes and effort"][1]
    assert size == {
        "budget": "10k",
        "N": 5120,
        "N tried": "640 to 40,960",
        "FLOPs per window": 7 * 16 * 2,
        "training FLOPs": 3 * 7 * 16 * 2 * windows * 2,
        "trials": 5,
        "planned": 9,
        "hours": 5 * 60 / 3600,
        "FLOPs of the search": 3 * 2 * windows * 7 * (16 * 2 + 8 * 1 + 32 * 4),
    }
    best = found["best"][1]
    values = [0.55 - 0.002, 0.55, 0.55 + 0.001, 0.55 + 0.002]
    half = student.ppf(0.975, 3) * statistics.stdev(values) / 2
    assert (best["trial"], best["fresh seeds"]) == (0, 4)
    assert (best["search"], best["search low"], best["search high"]) == pytest.approx((0.54, 0.50, 0.60))
    assert best["mean"] == pytest.approx(statistics.fmean(values))
    assert best["mean high"] - best["mean"] == pytest.approx(half)
    assert result.tables["Best of each budget"][1]["search"] == "0.5400 (0.5000 to 0.6000)"
    assert found["configurations"][1] == {
        "budget": "10k",
        "metric": "val_loss",
        "trial": 0,
        "architecture": "width 16, depth 2",
        "hyper-parameters": "learning_rate 0.003, epochs 10",
        "on an edge": "no",
    }


def test_baselines_are_compared_with_fresh_seeds(budget_study: Make) -> None:
    """The skill is one less the ratio of losses, of the fresh seeds where they exist; a worse budget is named."""
    studies = [budget_study(0, 0.60), budget_study(1, 0.55, seeds=()), budget_study(2, 9.0)]
    result = report(*studies)
    rows = result.data[WHOLE]["Baselines"]["against"]
    baseline = studies[0].plan.data.best_baseline
    assert baseline is not None
    assert baseline.loss is not None
    assert baseline.loss_interval is not None
    assert [row["baseline"] for row in rows] == [baseline.name] * 3
    assert rows[0]["its loss low"] == baseline.loss_interval.low
    assert rows[0]["skill"] == pytest.approx(1 - 0.60025 / baseline.loss)
    assert rows[1]["skill"] == pytest.approx(1 - 0.54 / baseline.loss)
    assert (rows[1]["skill low"], rows[1]["skill high"]) == pytest.approx(
        (1 - 0.60 / baseline.loss, 1 - 0.50 / baseline.loss)
    )
    assert [row["skill of"] for row in rows] == ["fresh seeds", "search", "fresh seeds"]
    assert "Baselines: NOT better than the best baseline: 100k." in result.summary


def test_the_verdict_is_that_of_the_analysis(budget_study: Make) -> None:
    """The same assessment as `scaling-law`, in a paragraph and a row; laws with intervals, figures with fits."""
    studies = [budget_study(index, 0.3 + 0.2 * 10 ** (-0.3 * index)) for index in range(5)]
    result = report(*studies)
    expected = ScalingLawAnalysis(ScalingLawOptions()).run(studies)
    found = result.data[WHOLE]
    assert found["Verdict"]["verdicts"][0]["verdict"] == expected.data["verdict"] == "holds with power law"
    assert result.summary[0] == (
        "5 studies in 1 group: 25 of 45 trials finished, 20 retrainings with fresh seeds. Does the loss fall with "
        "size? holds with power law."
    )
    assert result.summary[1].startswith(expected.summary[0])
    assert "Over 5 budgets from 512 to 5,120,000 parameters, the loss goes from 0.500" in result.summary[1]
    law = next(one for one in expected.data["laws"] if one["law"] == "power with floor")["parameters"]["alpha"]
    ours = next(
        one
        for one in found["Loss against size"]["parameters"]
        if (one["law"], one["parameter"]) == ("power with floor", "alpha")
    )
    assert (ours["value"], ours["value low"], ours["value high"]) == (law["value"], law["low"], law["high"])
    titles = ["Loss against parameters", "Residuals: log of the loss minus log of the law"]
    titles += ["val_loss against learning rate", "Optimum of the learning rate against N"]
    assert all(f"<h3>{title}</h3>" in result.files["report.html"] for title in titles)
    assert len(figures_of(result.files["report.html"])) == 4
    addresses = [one for one in addresses_of(str(result.files["report.html"])) if not one.startswith("#")]
    assert addresses == [f"walk-{index}.html" for index in range(5)]


def test_groups_have_a_verdict_each(budget_study: Make) -> None:
    """Studies of two targets are never mixed; the label of the group is in every row."""
    near = [budget_study(index, mean, name="near") for index, mean in enumerate((0.60, 0.55, 0.52))]
    far = [budget_study(index, mean, name="far") for index, mean in enumerate((0.60, 0.55, 0.57))]
    data = far[0].plan.data.plain()
    other = {"target": {**data["target"], "horizon": 9, "hash": "far"}, "fingerprint": "far"}
    result = report(*near, *(with_plan(one, data=other) for one in far))
    rows = result.data[WHOLE]["Verdict"]["verdicts"]
    assert [(row["group"], row["verdict"]) for row in rows] == [("horizon 2", "holds"), ("horizon 9", "violated")]
    assert result.summary[0].endswith("Does the loss fall with size? horizon 2: holds; horizon 9: violated.")
    assert [row["group"] for row in result.tables["Sizes and effort"]] == ["horizon 2"] * 3 + ["horizon 9"] * 3
    target = next(row["value"] for row in result.tables["Data"] if row["what"] == "fingerprint")
    assert target.endswith("far (horizon 9)")


def test_gaps_are_named_and_nothing_is_invented(budget_study: Make, study: Make) -> None:
    """Studies without replicates, without FLOPs, with failures only, and not begun; the checklist lists its gaps."""
    bare = [
        trial(n, 0.6 + n / 100, last=None, learning_curve=[], architecture=evolve(shape(8, 1), flops=0))
        for n in range(2)
    ]
    studies = [
        budget_study(0, 0.6, seeds=()),
        budget_study(1, 0.6, trials=[trial(n, state="failed") for n in range(3)], seeds=()),
        budget_study(2, 0.6, trials=[], seeds=()),
        budget_study(3, 0.6, trials=bare, seeds=()),
        budget_study(4, 0.6, trials=[trial(0, math.nan), trial(1, 0.5, flags=[COLLAPSED])], seeds=(0.0,)),
    ]
    result = report(*studies)
    best = {row["budget"]: row for row in result.data[WHOLE]["Budgets"]["best"]}
    assert (best["1k"]["fresh seeds"], best["1k"]["mean"]) == (0, None)
    assert [best[name]["trial"] for name in ("10k", "100k")] == [None, None]
    assert [best[name]["search"] for name in ("10k", "100k")] == [None, None]
    size = {row["budget"]: row for row in result.data[WHOLE]["Budgets"]["sizes and effort"]}
    assert size["1000k"]["training FLOPs"] is size["1000k"]["FLOPs per window"] is None
    assert size["100k"]["N tried"] is size["100k"]["hours"] is None
    ledger = result.data[WHOLE]["Trials and cost"]["cost"]
    assert ledger[-1]["budget"] == "all"
    assert ledger[-1]["FLOPs of the search"] is None
    assert "not assessable" in result.summary[0]
    assert any("10000k: every completed trial predicts a constant" in text for text in result.summary)
    gaps = result.data[WHOLE]["Checklist"]["gaps"]
    assert {"parameters without embeddings and head", "initial weights"} <= set(gaps)
    assert f"added by hand: {'; '.join(gaps)}." in next(text for text in result.summary if text.startswith("Checklist"))


def test_another_trainer_leaves_gaps(budget_study: Make) -> None:
    """What a user's training function does is not in the records; other studies of the page keep their answers."""
    ours, other = budget_study(0, 0.6), budget_study(1, 0.5)
    other.experiment["training"] = {"use": "function", "target": "./train.py:train"}
    both = {row["item"]: row["answer"] for row in report(ours, other).data[WHOLE]["Checklist"]["items"]}
    assert both["optimizer"] == (
        "AdamW, decoupled weight decay, none on biases, norms and other vectors (1k); not recorded (10k)"
    )
    ours.experiment["training"] = other.experiment["training"]
    alone = report(ours, other).data[WHOLE]["Checklist"]
    assert {"optimizer", "learning-rate schedule", "parameter count"} <= set(alone["gaps"])


def test_no_result_at_all(budget_study: Make) -> None:
    """A page without any completed trial has no verdict, no figure and no number."""
    result = report(*(budget_study(index, 0.6, trials=[], seeds=()) for index in range(2)))
    assert result.summary[1] == (
        "Verdict: not assessable. 1k, 10k: no completed trial has the metric 'val_loss'; a scaling law needs one per "
        "budget."
    )
    assert result.summary[0].endswith("Does the loss fall with size? no result.")
    assert figures_of(result.files["report.html"]) == []
    assert result.data[WHOLE]["Optima"] == []


def test_the_ledger_counts_every_trial(budget_study: Make) -> None:
    """By state and origin, with the sums and the hours."""
    final = trial(9, 0.6, origin=Origin(kind="final"), duration=90.0)
    result = report(budget_study(0, 0.6, finals=(final,)), budget_study(1, 0.6, seeds=(0.0,)))
    found = result.data[WHOLE]["Trials and cost"]
    total = {"planned": 18, "done": 10, "completed": 6, "failed": 2, "diverged": 2, "duplicates": 4}
    assert total.items() <= found["states"][-1].items()
    assert {"forced": 2, "sampled": 8, "replicate": 5, "transfer": 0, "final": 1}.items() <= found["origins"][
        -1
    ].items()
    assert found["cost"][0]["hours of the search"] == pytest.approx(5 / 60)
    assert found["cost"][0]["of them wasted"] == pytest.approx(2 / 60)
    assert found["cost"][-1]["hours of retrainings"] == pytest.approx(6 * 1.5 / 60)


def test_studies_that_are_not_on_the_page_are_named(budget_study: Make, tmp_path: Path) -> None:
    """Studies of the same campaign that failed before they began, were not begun, or were not named."""
    studies = [budget_study(index, 0.6) for index in range(2)]
    entries = [
        {"label": "walk-0", "values": {}, "problem": None},
        {"label": "walk-1", "values": {}, "problem": None},
        {"label": "refused", "values": {}, "problem": {"reason": "too few rows\nmore", "code": 4}},
        {"label": "later", "values": {}, "problem": None},
        {"label": "left", "values": {}, "problem": None},
    ]
    write_json(tmp_path / "campaign.json", {"name": "night", "studies": entries})
    (tmp_path / "left").mkdir()
    (tmp_path / "left" / "journal.jsonl").touch()
    result = report(*studies)
    assert result.title == "Campaign night"
    assert result.tables["Studies that are not on this page"] == [
        {"study": "refused", "state": "failed", "reason": "too few rows"},
        {"study": "later", "state": "not begun", "reason": None},
        {"study": "left", "state": "not named", "reason": None},
    ]
    assert "3 other studies of the campaign are not on this page." in result.summary[0]
    assert report(studies[0]).notes[1:] == [
        "Studies of the campaign without a result: walk-1 not begun; refused failed (too few rows); later not begun."
    ]


def test_optima_have_the_range_of_tied_trials_and_edges(budget_study: Make) -> None:
    """Without stored predictions, the best trial alone; the searched range is that of all trials."""
    result = report(budget_study(0, 0.6), budget_study(1, 0.5, seeds=()))
    rows = {(row["budget"], row["coordinate"]): row for row in result.data[WHOLE]["Optima"]}
    assert rows["1k", "learning_rate"] == {
        "budget": "1k",
        "coordinate": "learning_rate",
        "best": 3e-3,
        "tied trials": "0.003000",
        "searched": "0.002000 to 0.005000",
        "on an edge": None,
    }
    assert rows["10k", "epochs"]["best"] == 10
    assert "Budgets: 1k: tied trials are unknown: trial 0 cannot be compared by window: " in "\n".join(result.summary)


def test_files_for_papers(budget_study: Make) -> None:
    """Each figure as SVG, PNG and PDF, each table as CSV and LaTeX, in folders, by default for several studies."""
    studies = [budget_study(index, 0.6 - index / 20) for index in range(3)]
    files = ReportAnalysis(ReportOptions()).run(studies).files
    loss = {f"figures/loss-against-parameters.{kind}" for kind in ("svg", "png", "pdf")}
    tables = {f"tables/{name}.{kind}" for name in ("verdicts", "sizes-and-effort", "laws") for kind in ("csv", "tex")}
    assert loss | tables <= set(files)
    assert str(files["figures/loss-against-parameters.svg"]).startswith("<svg")
    assert bytes(files["figures/loss-against-parameters.png"])[:4] == b"\x89PNG"  # type: ignore[arg-type]
    assert bytes(files["figures/loss-against-parameters.pdf"])[:4] == b"%PDF"  # type: ignore[arg-type]
    rows = list(csv.DictReader(io.StringIO(str(files["tables/best-of-each-budget.csv"]))))
    assert [float(row["mean"]) for row in rows] == pytest.approx([0.60025, 0.55025, 0.50025])
    text = str(files["tables/best-of-each-budget.tex"])
    assert "\\label{tab:best-of-each-budget}" in text
    assert re.search(r" & 0\.600\d \{\[\}0\.597\d, 0\.60\d\d\{\]\} & ", text)


def test_texts_of_records_are_escaped(budget_study: Make) -> None:
    """A hostile name, reason or value is text on the page, in Markdown, CSV and LaTeX."""
    studies = [
        budget_study(index, 0.6, name=HOSTILE, trials=[trial(0, 0.5), trial(1, state="failed", reason=HOSTILE)])
        for index in range(2)
    ]
    result = report(*studies, tables=["csv", "tex"])
    page = str(result.files["report.html"])
    assert 'alert("x")' not in page
    assert "<img src=x" not in page
    assert page.count("<script") == page.count("</script>")
    assert not [name for name in result.files if "/" in name.removeprefix("tables/") or ".." in name]
    assert r"\input{x}" not in "".join(str(text) for name, text in result.files.items() if name.endswith(".tex"))
