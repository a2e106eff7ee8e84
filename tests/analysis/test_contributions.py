from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from sklearn import metrics as peer

from scalecore.data.measures import measures
from scalecore.data.predictions import Predictions
from scalecore_analysis.comparing.contributions import contributions

WINDOWS = 300
Array = np.ndarray[Any, np.dtype[np.float64]]
BINARY = ("val_loss", "accuracy", "brier", "auc", "precision", "recall", "f1")
FORECAST = ("val_loss", "mae", "rmse", "sign_accuracy", "r2")


def predictions(task: str, *, windows: int = WINDOWS, seed: int = 0) -> Predictions:
    """Of a model with some skill; scores have ties."""
    generator = np.random.default_rng(seed)
    signal = generator.normal(size=windows)
    if task == "binary":
        labels = (signal + generator.normal(size=windows) > 0).astype(float)
        outputs = np.round(signal, 1)[:, None]
    elif task == "multiclass":
        labels = generator.integers(0, 3, size=windows).astype(float)
        outputs = generator.normal(size=(windows, 3)) + np.eye(3)[labels.astype(int)]
    else:
        labels, outputs = signal + generator.normal(size=windows), signal[:, None]
    times = np.datetime64("2020-01-01", "ns") + np.arange(windows) * np.timedelta64(1, "D")
    return Predictions(
        outputs=outputs, labels=labels, times=times, rows=np.arange(windows), about={"task": task, "point": 0}
    )


def value(found: Predictions, metric: str, places: Array) -> float:
    """The metric of the windows at `places`, by other programs."""
    outputs, labels = found.outputs[places], found.labels[places]
    known = measures(outputs, labels, task=found.about["task"])
    if metric in known:
        return float(known[metric])
    score = {"precision": peer.precision_score, "recall": peer.recall_score, "f1": peer.f1_score}[metric]
    return float(score(labels, outputs[:, 0] >= 0))


CASES = [
    *(("binary", metric) for metric in BINARY),
    *(("multiclass", metric) for metric in ("val_loss", "accuracy", "brier")),
    *(("forecast", metric) for metric in FORECAST),
]


@pytest.mark.parametrize(("task", "metric"), CASES)
def test_the_mean_of_the_contributions_is_the_metric(task: str, metric: str) -> None:
    """Of all windows, and of a part of them."""
    found = predictions(task)
    for places in (np.arange(WINDOWS), np.arange(40, 230)):
        by_window = contributions(found, metric, places)
        assert by_window is not None
        assert by_window.shape == places.shape
        assert by_window.mean() == pytest.approx(value(found, metric, places), abs=1e-9)


@pytest.mark.parametrize(("task", "metric"), CASES)
def test_a_contribution_is_the_influence_of_its_window(task: str, metric: str) -> None:
    """Without a window, the metric changes by its contribution's distance from the mean, over the number of others."""
    found = predictions(task, windows=3000)
    everything = np.arange(3000)
    by_window = contributions(found, metric, everything)
    assert by_window is not None
    whole = value(found, metric, everything)
    for one in (0, 17, 2999):
        without = value(found, metric, np.delete(everything, one))
        assert 2999 * (whole - without) == pytest.approx(by_window[one] - whole, abs=0.02)


def test_other_metrics_have_no_contributions() -> None:
    """Nor has one that is undefined on the windows."""
    everything = np.arange(WINDOWS)
    assert contributions(predictions("binary"), "pr_auc", everything) is None
    assert contributions(predictions("multiclass"), "f1", everything) is None
    positive = np.flatnonzero(predictions("binary").labels > 0)
    assert contributions(predictions("binary"), "auc", positive) is None
