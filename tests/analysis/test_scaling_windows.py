"""The interval of the change per decade includes the variation over windows, paired over budgets."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import attrs
import numpy as np
import pytest

from scalecore.api.statistics import mean_errors
from scalecore.api.trials import Origin, StudyView, TrialRecord
from scalecore_analysis.options import ScalingLawOptions
from scalecore_analysis.scaling.seeds_and_windows import SeedsAndWindows
from scalecore_analysis.scaling.verdict import Seeds
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
    first = campaign[0]
    lacking = [attrs.evolve(one, predictions=None) for one in first.confirmations]
    seeds = ScalingLawAnalysis(options).run([attrs.evolve(first, confirmations=lacking), *campaign[1:]])
    narrower = seeds.data["tests"]["trend"]
    assert narrower["per_decade"] == trend["per_decade"]
    assert narrower["high"] - narrower["low"] < trend["high"] - trend["low"]
    assert narrower["windows"] == "size-0 has no stored predictions of some runs"
    assert (
        "The tests include the variation over seeds only, not over windows: size-0 has no stored predictions of some "
        "runs."
    ) in seeds.notes


def test_a_metric_that_is_no_mean_has_no_errors_over_windows(campaign: list[StudyView]) -> None:
    """Such as AUC; the reason is reported."""
    assert window_errors(campaign, metric="auc", seeds=3) == "auc is no mean over windows"


def test_a_fall_that_other_windows_may_not_show_does_not_hold(campaign: list[StudyView], tmp_path: Path) -> None:
    """The largest budget is better in one stretch of the windows only, by far more than the spread of the seeds.

    Without stored predictions, the tests are about these windows, and the fall holds.
    """
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
    analysis = ScalingLawAnalysis(ScalingLawOptions(waive=["tolerance", "edges", "baseline", "samples"]))
    result = analysis.run(made)
    assert result.data["verdict"] == "inconclusive"
    (need,) = [row for row in result.tables["What is missing"] if row["for"] == "power"]
    assert re.fullmatch(
        r"a difference below [\d.]+ cannot be detected on these \d+ windows with any number of seeds; a fall of [\d.]+ "
        r"in total requires about [\d,]+ windows",
        need["missing"],
    )
    alone = [
        attrs.evolve(one, confirmations=[attrs.evolve(r, predictions=None) for r in one.confirmations]) for one in made
    ]
    assert analysis.run(alone).data["verdict"] == "holds"


def test_without_variation_over_windows_the_tests_are_those_over_seeds() -> None:
    """Widths and effects are equal, and the critical values up to the precision of the simulation."""
    seeds = Seeds(seeds=[3, 5, 10], variance=4.0)
    both = SeedsAndWindows(seeds=[3, 5, 10], variance=4.0, projections=np.zeros((3, 11)))
    assert both.width(0, 2, level=0.95) == pytest.approx(seeds.width(0, 2, level=0.95))
    assert both.smallest_effect() == pytest.approx(seeds.smallest_effect())
    means = np.array([1.0, 2.0, 0.5])
    assert both.statistics(means) == pytest.approx(seeds.statistics(means))
    assert both.null().critical(0.04) == pytest.approx(seeds.null().critical(0.04), rel=0.05)


def test_a_shared_movement_of_all_windows_changes_nothing() -> None:
    """It cancels in differences of budgets."""
    generator = np.random.default_rng(0)
    own, shared = generator.standard_normal((3, 11)), 100 * generator.standard_normal(11)
    still, moved = (SeedsAndWindows(seeds=[5] * 3, variance=1.0, projections=one) for one in (own, own + shared))
    means = np.array([3.0, 2.0, 1.0])
    assert moved.statistics(means) == pytest.approx(still.statistics(means))
    assert moved.width(0, 1, level=0.95) == pytest.approx(still.width(0, 1, level=0.95))
    assert moved.null(draws=2000).critical(0.05) == pytest.approx(still.null(draws=2000).critical(0.05), rel=0.2)


@pytest.mark.parametrize("shape", ["each its own", "growing with size"])
def test_equal_means_are_rarely_called_falling_or_rising(shape: str) -> None:
    """Both tests at 4 % with errors of windows only, which two estimates of few cosines describe; see the benchmark."""
    generator = np.random.default_rng(1)
    found = []
    for _ in range(300):
        noise = generator.standard_normal((3, 12))
        if shape == "growing with size":
            noise = np.linspace(-1, 1, 3)[:, None] * noise[:1]
        varied = SeedsAndWindows(seeds=[5] * 3, variance=1e-6, projections=noise[:, 1:])
        null = varied.null(draws=1000)
        found.append(np.array(varied.statistics(noise[:, 0])) > null.critical(0.04))
    assert np.mean(found, axis=0).max() < 0.08
