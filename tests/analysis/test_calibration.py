from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy.special import expit

from scalecore.api.errors import DataError, ExperimentError
from scalecore.api.files import write_json
from scalecore.api.trials import StudyView
from scalecore.data.calibrator import Calibrator, calibrator_from, read_calibrator
from scalecore.data.predictions import Predictions, write_predictions
from scalecore_analysis.calibrating.fitting import fit_calibrators
from scalecore_analysis.calibrating.measures import measures, reliability
from scalecore_analysis.calibration import CalibrationAnalysis
from scalecore_analysis.options import CalibrationOptions

from .conftest import figures_of, trial

Make = Callable[..., StudyView]


def overconfident(windows: int, *, seed: int = 0, sharper: float = 2.5, shift: float = 0.0) -> tuple[Any, Any]:
    """Overconfident logits, and labels drawn from calibrated ones."""
    generator = np.random.default_rng(seed)
    right = generator.normal(0, 1.2, windows)
    labels = (generator.random(windows) < expit(right)).astype(float)
    return sharper * right + shift, labels


def keep(folder: Path, logits: Any, labels: Any, *, task: str = "binary", part: str = "val") -> dict[str, Any]:
    """Store predictions and return their entry in a record."""
    folder.mkdir(parents=True, exist_ok=True)
    about = {"part": part, "epoch": 2, "task": task, "data": "d", "target": "t", "horizon": 2, "point": 0}
    times = np.datetime64("2020-01-01", "ns") + np.arange(len(labels)) * np.timedelta64(1, "D")
    predictions = Predictions(
        outputs=logits.astype(np.float32)[:, None],
        labels=labels.astype(np.float32),
        times=times,
        rows=np.arange(len(labels)),
        about=about,
    )
    return {"file": "kept.npz", "sha256": write_predictions(folder / "kept.npz", predictions)}


@pytest.fixture
def calibrated(study: Make, tmp_path: Path) -> Callable[..., Any]:
    """Run the analysis on a study with one trial that has these logits."""

    def run(logits: Any, labels: Any, *, task: str = "binary", **options: Any) -> Any:
        record = trial(4, 0.5, predictions=keep(tmp_path / "walk", logits, labels, task=task))
        return CalibrationAnalysis(CalibrationOptions(**options)).run([study([record])])

    return run


def test_fitted_parameters_match_the_truth() -> None:
    """Logits that are 2.5 times too large and shifted by 1 need a slope of 0.4 and an intercept of -0.4."""
    logits, labels = overconfident(40_000, shift=1.0)
    found = fit_calibrators(logits, labels)
    platt = found["platt"]
    assert isinstance(platt, Calibrator)
    assert (platt.slope, platt.intercept) == (pytest.approx(0.4, abs=0.01), pytest.approx(-0.4, abs=0.02))
    temperature = fit_calibrators(*overconfident(40_000))["temperature"]
    assert isinstance(temperature, Calibrator)
    assert temperature.slope == pytest.approx(0.4, abs=0.01)
    isotonic = found["isotonic"]
    assert isinstance(isotonic, Calibrator)
    at = np.array([-3.0, 0.0, 3.0, 6.0])
    assert isotonic.apply(at) == pytest.approx(expit(0.4 * at - 0.4), abs=0.06)


def test_isotonic_regression_is_refused_below_200_positives() -> None:
    """Of the rarer class; with 200 it is fitted."""
    logits, _ = overconfident(1000)
    rare = np.zeros(1000)
    rare[:199] = 1
    assert fit_calibrators(logits, rare)["isotonic"] == (
        "refused: 199 windows of the rarer class, at least 200 are required"
    )
    assert fit_calibrators(logits, 1 - rare)["isotonic"] == fit_calibrators(logits, rare)["isotonic"]
    rare[199] = 1
    assert isinstance(fit_calibrators(logits, rare)["isotonic"], Calibrator)


def test_a_calibrator_is_stored_and_read_as_it_was(tmp_path: Path) -> None:
    """Bit-identical, and only for its training; an unknown kind is refused."""
    logits, labels = overconfident(2000)
    for name, one in fit_calibrators(logits, labels, about={"hash": "this"}).items():
        assert isinstance(one, Calibrator)
        (tmp_path / "analyses" / "calibration").mkdir(parents=True, exist_ok=True)
        write_json(tmp_path / "analyses" / "calibration" / "trial_0004.calibrator.json", one.to_json())
        again = read_calibrator(tmp_path, trial=4, identity="this")
        assert again is not None, name
        assert (again.apply(logits) == one.apply(logits)).all()
        assert read_calibrator(tmp_path, trial=4, identity="another") is None
    assert read_calibrator(tmp_path, trial=5, identity="this") is None
    with pytest.raises(DataError, match=r"^unknown calibrator kind 'beta'; this version supports temperature, platt, "):
        calibrator_from({"kind": "beta"})


def test_calibrated_probabilities_are_within_their_band() -> None:
    """At 422 windows and 15 bins the error of a perfectly calibrated model is about 0.04, the debiased error less."""
    generator = np.random.default_rng(3)
    chances = expit(generator.normal(-1.5, 0.6, 422))
    found = [measures(chances, (generator.random(422) < chances).astype(float), bins=15, overlap=1) for _ in range(40)]
    assert found[0]["ECE if calibrated"] == pytest.approx(0.04, abs=0.015)
    assert np.mean([one["ECE"] for one in found]) == pytest.approx(found[0]["ECE if calibrated"], rel=0.15)
    assert np.mean([one["ECE"] <= one["95 % of it below"] for one in found]) >= 0.85
    assert np.mean([one["ECE debiased"] for one in found]) < 0.75 * np.mean([one["ECE"] for one in found])
    assert np.mean([one["slope"] for one in found]) == pytest.approx(1.0, abs=0.2)


def test_overconfident_probabilities_leave_the_band() -> None:
    """Overconfident probabilities: the error is significant, the slope below 1."""
    logits, labels = overconfident(1000)
    found = measures(expit(logits), labels, bins=15, overlap=1)
    assert found["ECE"] > found["95 % of it below"]
    assert found["p"] < 0.01
    assert found["slope"] == pytest.approx(0.4, abs=0.1)


def test_the_parts_of_the_brier_score_add_up() -> None:
    """Reliability minus resolution, plus uncertainty, plus variation within bins."""
    logits, labels = overconfident(800)
    found = measures(expit(logits), labels, bins=10, overlap=1)
    parts = found["reliability"] - found["resolution"] + found["uncertainty"] + found["within bins"]
    assert found["Brier"] == pytest.approx(parts)
    assert found["Brier"] == pytest.approx(((expit(logits) - labels) ** 2).mean())
    assert found["uncertainty"] == pytest.approx(labels.mean() * (1 - labels.mean()))
    assert abs(found["within bins"]) < 0.01


def test_a_constant_has_no_slope_and_one_bin() -> None:
    """Undefined measures of constant probabilities are None."""
    labels = (np.arange(100) % 4 == 0).astype(float)
    found = measures(np.full(100, 0.25), labels, bins=15, overlap=1)
    assert (found["slope"], found["intercept"], found["ECE"]) == (None, None, 0.0)
    (row,) = reliability(np.full(100, 0.25), labels, bins=15)
    assert (row["windows"], row["probability"], row["share"]) == (100, 0.25, 0.25)


def test_an_overconfident_trial_gets_a_calibrator(calibrated: Callable[..., Any]) -> None:
    """Fitted on the earlier half, evaluated on the later half after a gap, refitted on all windows, and stored."""
    result = calibrated(*overconfident(6000))
    assert result.data["chosen"] in ("temperature", "platt", "isotonic")
    assert result.data["fitted"] == 3000
    rows = {row["calibrator"]: row for row in result.data["judged"]}
    assert rows["platt"]["log loss"] < rows["none"]["log loss"]
    assert rows["platt"]["better low"] > 0
    assert rows["temperature"]["slope"] == pytest.approx(1.0, abs=0.25)
    assert "2,998 windows" in next(title for title in result.tables if title.startswith("Judged"))
    forms = {row["calibrator"]: row["form"] for row in result.tables["Calibrators, fitted on all validation windows"]}
    assert re.fullmatch(r"sigmoid\(0\.\d+ logit\)", forms["temperature"]), forms
    assert re.fullmatch(r"sigmoid\(0\.\d+ logit [+-] 0\.\d+\)", forms["platt"]), forms
    assert list(result.files) == ["figures.html", "trial_0004.calibrator.json"]
    assert result.data["calibrators"]["platt"]["about"]["hash"] == "hash-4"
    assert result.data["calibrators"]["platt"]["about"]["windows"] == 6000
    (figure,) = figures_of(result.files["figures.html"])
    rows = [row for row in figure["datasets"]["rows"] if row["series"] in ("none", "95 % band if calibrated (none)")]
    table = result.tables["Reliability without a calibrator"]
    assert [(row["x"], row["low"], row["high"]) for row in rows[: len(table)]] == [
        (row["probability"], row["low"], row["high"]) for row in table
    ]
    assert [(row["x"], row["y"], row["text"]) for row in rows[len(table) :]] == [
        (row["probability"], row["share"], f"{row['windows']} windows") for row in table
    ]


@pytest.mark.slow
def test_a_calibrated_trial_gets_no_calibrator(calibrated: Callable[..., Any]) -> None:
    """No calibrator is significantly better than none; an option can still request one."""
    logits, labels = overconfident(1200, sharper=1.0)
    result = calibrated(logits, labels)
    assert (result.data["chosen"], result.data["file"]) == ("none", None)
    assert list(result.files) == ["figures.html"]
    assert calibrated(logits, labels, choose="platt").data["file"] == "trial_0004.calibrator.json"


def test_what_cannot_be_calibrated_is_refused(calibrated: Callable[..., Any], study: Make) -> None:
    """Too few windows or positives, another task, no predictions, no such trial, two studies, a refused calibrator."""
    logits, labels = overconfident(400)
    with pytest.raises(DataError, match=r"^40 validation windows to fit on, \d+ of the rarer class: at least 50 and 5"):
        calibrated(logits[:80], labels[:80])
    with pytest.raises(DataError, match=r"^calibration needs a binary target; the task of this study is forecast$"):
        calibrated(logits, labels, task="forecast")
    with pytest.raises(ExperimentError, match=r"^trial=9: walk has no completed trial with this number; completed: 4$"):
        calibrated(logits, labels, trial=9)
    with pytest.raises(DataError, match=r"^choose=isotonic: refused: \d+ windows of the rarer class, at least 200 are"):
        calibrated(logits, labels, choose="isotonic")
    analysis, bare = CalibrationAnalysis(CalibrationOptions()), study([trial(0, 0.5)])
    with pytest.raises(DataError, match=r"^trial 0 has no stored predictions: an older version ran it$"):
        analysis.run([bare])
    with pytest.raises(DataError, match=r"^walk: no trial has completed$"):
        analysis.run([study([])])
    with pytest.raises(ExperimentError, match=r"^calibration needs exactly one study; studies given: 2$"):
        analysis.run([bare, bare])


def test_an_isotonic_calibrator_never_returns_0_or_1() -> None:
    """Not even for separable classes, since one more window might belong to the other class."""
    logits = np.linspace(-3, 3, 1000)
    isotonic = fit_calibrators(logits, (logits > 0).astype(float))["isotonic"]
    assert isinstance(isotonic, Calibrator)
    chances = isotonic.apply(np.array([-9.0, 9.0]))
    assert chances == pytest.approx([1 / 1002, 1001 / 1002])


@pytest.mark.slow
def test_test_windows_must_belong_to_the_same_training(study: Make, tmp_path: Path) -> None:
    """Results of `evaluate` are reported, but not those of another training with the same number."""
    folder = tmp_path / "walk" / "promoted" / "trial_0004"
    kept = keep(folder, *overconfident(300), part="test")
    record = trial(4, 0.5, predictions=keep(tmp_path / "walk", *overconfident(1000)))
    analysis = CalibrationAnalysis(CalibrationOptions())
    for identity, found in (("hash-4", True), ("another", False)):
        write_json(folder / "evaluation.json", {"hash": identity, "test": {"predictions": kept}})
        result = analysis.run([study([record])])
        assert (result.data["test"] is not None) is found
        assert any(title.startswith("Judged on test windows (300 windows") for title in result.tables) is found
