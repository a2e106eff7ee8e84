"""A complete study and all its analyses."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from scalecore.api.files import write_json
from scalecore.data.predictions import read_predictions

from .conftest import Study
from .test_evaluation import small


@pytest.fixture(scope="module")
def study(bars: Path, tmp_path_factory: pytest.TempPathFactory) -> Study:
    """Three trials of a random search."""
    made = Study(tmp_path_factory.mktemp("analysed"), small(bars))
    made.run("search.trials=3")
    return made


def test_replicates_estimate_the_optimism_of_the_best(study: Study) -> None:
    """The replicates of `confirm` are reported with the search value, and every number matches the journal."""
    study.cli("confirm", str(study.folder), "--top", "1", "--seeds", "2")
    study.cli("analyze", "results", str(study.folder))
    result = study.json("analyses/results/result.json")
    best = result["data"]["tiny"]["best"]
    searched = {number: record["value"] for number, record in study.finished().items()}
    assert best["val_loss"] == min(searched.values()) == searched[best["trial"]]
    fresh = [record["value"] for record in study.retrained()]
    assert best["fresh seeds"] == len(fresh) == 2
    assert best["mean of them"] == pytest.approx(sum(fresh) / 2)
    assert best["optimism by seeds"] == pytest.approx(sum(fresh) / 2 - best["val_loss"])
    assert result["studies"][0]["journal"]["lines"] == len(study.events())


def test_a_calibrator_is_stored_with_the_retrained_model(study: Study) -> None:
    """The analysis selects it; the study, the model and its card contain it; predictions apply it.

    Once the test windows are opened, the analysis also reports results on them and selects the same calibrator.
    """
    folder = study.folder
    done = study.cli("analyze", "calibration", str(folder), "--trial", "1", "choose=platt")
    assert "Selected: platt; requested." in done.stdout
    assert "`scalecore evaluate` has not opened them for this training" in done.stdout
    calibrator = study.json("analyses/calibration/trial_0001.calibrator.json")
    assert calibrator["about"]["hash"] == study.finished()[1]["hash"]

    study.cli("evaluate", str(folder), "--trial", "1")
    model = folder / "promoted" / "trial_0001"
    assert study.json("promoted/trial_0001/model.json")["calibrator"] == calibrator
    assert "The model includes a calibrator (platt), fitted on the" in (model / "model_card.md").read_text()
    printed = study.cli("predict", str(model), study.experiment["dataset"]["path"])
    table = pd.read_csv(io.StringIO(printed.stdout))
    expected = 1 / (1 + np.exp(-(calibrator["slope"] * table["logit"] + calibrator["intercept"])))
    assert table["calibrated"].to_numpy() == pytest.approx(expected.to_numpy(), abs=1e-7)

    # The decision compares the uncalibrated probability, also with a calibrator that calls every window positive.
    assert "The calibrated probability is not compared with it." in (model / "model_card.md").read_text()
    content = study.json("promoted/trial_0001/model.json")
    decision = (table["probability"] >= content["threshold"]["value"]).astype(int)
    content["calibrator"]["intercept"] += 50
    write_json(model / "model.json", content)
    printed = study.cli("predict", str(model), study.experiment["dataset"]["path"])
    other = pd.read_csv(io.StringIO(printed.stdout))
    assert (other["calibrated"] > 0.99).all()
    assert (table["decision"] == decision).all()
    assert (other["decision"] == decision).all()
    assert set(decision) == {0, 1}

    again = study.cli("analyze", "calibration", str(folder), "--trial", "1", "choose=platt")
    assert "`scalecore evaluate` opened the test windows for this training" in again.stdout
    path = model / study.json("promoted/trial_0001/evaluation.json")["test"]["predictions"]["file"]
    rows = study.json("analyses/calibration/result.json")["data"]["test"]
    assert rows[0]["log loss"] == pytest.approx(read_predictions(path).losses().mean(), abs=1e-6)


@pytest.mark.parametrize("name", ["coverage", "scaling-law", "power"])
def test_every_analysis_reads_a_real_study(study: Study, name: str) -> None:
    """Each analysis stores what it prints, or reports that one study is too few."""
    arguments = ["spread=0.01"] if name == "power" else []
    done = study.cli("analyze", name, str(study.folder), *arguments, code=4 if name == "power" else 0)
    if name == "power":
        assert done.stderr == "a scaling claim needs at least 3 budgets, one study each; studies given: 1\n"
        return
    assert done.stderr == ""
    assert (study.folder / "analyses" / name / "result.md").read_text() in done.stdout
    if name == "scaling-law":
        assert "Verdict: not assessable. Missing: budgets: 1, at least 3 required" in done.stdout
