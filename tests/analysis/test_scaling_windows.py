"""The interval of the change per decade includes the variation over windows, paired over budgets."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import attrs
import numpy as np
import pytest

from scalecore.api.statistics import mean_errors
from scalecore.api.trials import Origin, StudyView, TrialRecord
from scalecore_analysis.options import ScalingLawOptions
from scalecore_analysis.scaling.windows import WindowErrors, window_errors
from scalecore_analysis.scaling_law import ScalingLawAnalysis

from .conftest import shape, trial
from .test_results import WINDOWS, predicting

Make = Callable[..., StudyView]
QUALITY = (0.5, 1.0, 1.5)


@pytest.fixture
def campaign(study: Make, tmp_path: Path) -> list[StudyView]:
    """Three budgets, each with three stored runs of one configuration on the same windows."""
    generator = np.random.default_rng(1)
    signal = generator.normal(size=WINDOWS)
    labels = (signal + generator.normal(size=WINDOWS) > 0).astype(float)

    def made(index: int, quality: float) -> StudyView:
        name = f"size-{index}"
        inner = {"architecture": shape(16, 2, scale=10**index), "hyperparameters": {"learning_rate": 3e-3}}

        def run(number: int) -> TrialRecord:
            logits = quality * signal + 0.2 * generator.normal(size=WINDOWS)
            record = trial(number, hash=f"fresh-{number}", origin=Origin(kind="replicate"), **inner)
            return predicting(tmp_path / name, record, logits, labels)

        return study([trial(0, 0.5, **inner)], name=name, budget=f"{index}k", confirmations=[run(n) for n in range(3)])

    return [made(index, quality) for index, quality in enumerate(QUALITY)]


def losses(study: StudyView) -> np.ndarray:
    found = window_errors([study], metric="val_loss", seeds=3)
    assert isinstance(found, WindowErrors)
    return found.projections[0]


def test_the_variance_of_a_contrast_is_that_of_the_paired_losses(campaign: list[StudyView]) -> None:
    """The projections of each budget are linear, so the common part of all budgets cancels in a contrast."""
    found = window_errors(campaign, metric="val_loss", seeds=3)
    assert isinstance(found, WindowErrors)
    contrast = np.array([-1.0, 0.0, 1.0])
    variance, freedom = found.variance(contrast)
    series = losses(campaign[2]) - losses(campaign[0])
    assert (variance, freedom) == (pytest.approx(float((series**2).mean())), len(series))
    apart = found.variance(np.array([1.0, 0.0, 0.0]))[0] + found.variance(np.array([0.0, 0.0, 1.0]))[0]
    assert variance < apart
    assert mean_errors(np.zeros(WINDOWS), overlap=2).shape == series.shape


def test_the_interval_of_the_change_includes_windows(campaign: list[StudyView]) -> None:
    """It is wider than over seeds only, which is what remains without stored predictions, with a note."""
    options = ScalingLawOptions()
    both = ScalingLawAnalysis(options).run(campaign)
    trend = both.data["tests"]["trend"]
    assert trend["windows"] is None
    assert any("over seeds and windows)" in line for line in both.summary)
    assert not any("specific to these windows" in note for note in both.notes)
    first = campaign[0]
    lacking = [attrs.evolve(one, predictions=None) for one in first.confirmations]
    seeds = ScalingLawAnalysis(options).run([attrs.evolve(first, confirmations=lacking), *campaign[1:]])
    narrower = seeds.data["tests"]["trend"]
    assert narrower["per_decade"] == trend["per_decade"]
    assert narrower["high"] - narrower["low"] < trend["high"] - trend["low"]
    assert narrower["windows"] == "size-0 has no stored predictions of some runs"
    assert (
        "The interval of the change per decade includes no variation over windows: size-0 has no stored predictions of "
        "some runs."
    ) in seeds.notes


def test_a_metric_that_is_no_mean_has_no_errors_over_windows(campaign: list[StudyView]) -> None:
    """Such as AUC; the reason is reported."""
    assert window_errors(campaign, metric="auc", seeds=3) == "auc is no mean over windows"


def test_a_fall_that_other_windows_may_not_show_has_a_caution(campaign: list[StudyView], tmp_path: Path) -> None:
    """The largest budget is better in one stretch of the windows only, by far more than the spread of the seeds."""
    lucky = np.zeros(WINDOWS)
    lucky[:40] = 1.0
    labels = (np.arange(WINDOWS) % 2).astype(float)
    made = []
    for index, study in enumerate(campaign):
        right = (2 * labels - 1) * lucky * index * 3
        noise = np.random.default_rng(index).normal(scale=0.01, size=(3, WINDOWS))
        runs = [
            predicting(tmp_path / study.name, one, right + noise[number], labels)
            for number, one in enumerate(study.confirmations)
        ]
        study.experiment["guards"] |= {"margin": 0.005}
        made.append(attrs.evolve(study, confirmations=runs))
    result = ScalingLawAnalysis(ScalingLawOptions(waive=["tolerance", "edges", "baseline", "samples"])).run(made)
    assert result.data["verdict"] == "holds"
    assert any(note.startswith("The fall may be specific to these windows") for note in result.notes)
