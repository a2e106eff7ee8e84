"""Complete studies of a target around 40,000 and of precision, from the experiment file to stored results."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from click.testing import CliRunner

from scalecore.api.files import read_json
from scalecore.cli.main import main
from scalecore.data.predictions import read_predictions

from .conftest import Study, tiny_experiment


def linear(bars: Path, **dataset: Any) -> dict[str, Any]:
    """A random search over the learning rate of the built-in linear model."""
    experiment = tiny_experiment(bars)
    experiment["dataset"] |= dataset
    experiment["model"] = "linear"
    space = {"learning_rate": {"log_uniform": [1e-3, 1e-2]}}
    experiment["search"] = {"use": "random", "trials": 1, "space": space}
    experiment["loggers"] = ["console"]
    return experiment


def invoke(*arguments: object) -> str:
    done = CliRunner().invoke(main, list(map(str, arguments)))
    assert done.exit_code == 0, done.output
    return done.stdout


def test_g57_a_forecast_is_in_the_targets_unit_from_plan_to_prediction(bars: Path, tmp_path: Path) -> None:
    """Values around 40,000 are learned within a few epochs, and evaluated, stored and predicted in their unit."""
    table = pd.read_parquet(bars)
    table["y"] = 1000 * np.tanh(np.log(table["Close"].rolling(5, min_periods=1).mean() / 100)) + 40_000
    table.to_parquet(tmp_path / "level.parquet")
    target = {"kind": "label", "column": "y", "horizon": 1, "task": "forecast"}
    study = Study(tmp_path, linear(tmp_path / "level.parquet", target=target))
    study.experiment["search"]["space"] = {}
    study.experiment["training"]["hyperparameters"] = {"epochs": 8, "warmup_steps": 0, "learning_rate": 0.02}
    study.run()
    record = study.finished()[0]
    prior = record["data"]["split"]["parts"]["val"]["prior_loss"]
    assert record["value"] < 0.5 * prior
    assert record["best"]["rmse"] ** 2 == pytest.approx(record["value"])
    assert record["learning_curve"][0]["train_loss"] > 1000
    scale = record["data"]["target_scale"]
    assert scale == next(event["plan"]["data"]["target_scale"] for event in study.events() if event["event"] == "study")
    kept = read_predictions(study.folder / record["predictions"]["file"])
    known = table["y"].to_numpy()[kept.rows]
    np.testing.assert_allclose(kept.labels, known, rtol=1e-7)
    assert np.abs(kept.outputs[:, 0] - known).mean() == pytest.approx(record["best"]["mae"])

    invoke("evaluate", study.folder)
    model = study.folder / "promoted" / "trial_0000"
    content, evaluation = read_json(model / "model.json"), read_json(model / "evaluation.json")
    assert content is not None
    assert evaluation is not None
    assert (content["format"], content["data"]["target_scale"]) == (2, scale)
    assert content["value"] == record["value"]
    measured = read_predictions(model / evaluation["test"]["predictions"]["file"])
    predicted = pd.read_csv(io.StringIO(invoke("predict", model, tmp_path / "level.parquet", "--device", "cpu")))
    found = predicted["forecast"].to_numpy()[-len(measured) - 1 :]
    assert np.abs(found - measured.outputs[-1, 0]).min() < 1e-3
    assert 38_000 < found.mean() < 42_000
    assert "standardised for training (mean " in (model / "model_card.md").read_text()


def test_g19_a_study_of_precision_completes_without_predicted_positives(bars: Path, tmp_path: Path) -> None:
    """A linear model predicts none of the rare rises: trials get the worst value and a flag, and do not fail."""
    target = {"kind": "threshold", "threshold": 0.012, "price": "close"}
    study = Study(tmp_path, linear(bars, target=target, features=["Volume"]))
    study.experiment["objective"] = {"metric": "precision", "direction": "maximize", "reduction": "last"}
    study.experiment["guards"] = {"min_validation_positives": 5}
    study.experiment["training"]["hyperparameters"] = {"epochs": 6, "warmup_steps": 0, "learning_rate": 0.05}
    study.experiment["search"]["space"] = {"weight_decay": {"uniform": [0.0, 0.1]}}
    done = study.run()
    record = study.finished()[0]
    assert (record["state"], record["reason"]) == ("completed", None)
    curve = [line["precision"] for line in record["learning_curve"]]
    assert curve[-1] is None
    assert record["value"] == 0.0
    (flag,) = (flag for flag in record["flags"] if flag["guard"] == "G19")
    assert f"  flag: {flag['text']}" in done.stdout
    assert "no completed trial has a value over enough windows: not a valid result" in done.stdout
    assert "  no completed trial has a value over enough windows: not a valid result\n" in invoke(
        "status", study.folder
    )
