"""Each metric matches scikit-learn; each interval the derivatives of scikit-learn's metrics by the windows' weights."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import torch
from scipy.special import expit
from sklearn import metrics as sk

from scalecore.data.intervals import METHOD, NOT_NEGATIVE, half_width, interval_around, mean_errors, mean_interval
from scalecore_torch.training.intervals import metric_intervals
from scalecore_torch.training.tasks import task_named

Arrays = tuple[npt.NDArray[Any], npt.NDArray[Any]]
QUANTILES = [0.1, 0.5, 0.9]


def sample(task: str, windows: int = 300) -> Arrays:
    """Outputs with ties, and labels that correlate with them."""
    generator = np.random.default_rng(windows)
    if task == "forecast":
        labels = generator.normal(size=windows)
        return np.sort(labels[:, None] * 0.3 + generator.normal(size=(windows, 3)), axis=1), labels
    classes = 2 if task == "binary" else 3
    labels = generator.choice(classes, size=windows, p=[0.7, 0.3] if classes == 2 else [0.6, 0.3, 0.1])
    signal = labels[:, None] if classes == 2 else 1.5 * np.eye(3)[labels]
    return np.round(signal + generator.normal(size=signal.shape) - 0.4, 1), labels


def reference(task: str, outputs: npt.NDArray[Any], labels: npt.NDArray[Any]) -> dict[str, float]:
    """The metrics of scikit-learn."""
    if task == "forecast":
        forecast = outputs[:, 1]
        pinball = [sk.mean_pinball_loss(labels, outputs[:, i], alpha=q) for i, q in enumerate(QUANTILES)]
        return {
            "val_loss": sk.mean_squared_error(labels, forecast),
            "mae": sk.mean_absolute_error(labels, forecast),
            "rmse": sk.root_mean_squared_error(labels, forecast),
            "sign_accuracy": sk.accuracy_score(labels > 0, forecast > 0),
            "r2": sk.r2_score(labels, forecast),
            "pinball": float(np.mean(pinball)),
            "coverage": float(np.mean((outputs[:, 0] <= labels) & (labels <= outputs[:, 2]))),
        }
    if task == "binary":
        score = outputs[:, 0]
        predicted, chance = (score >= 0).astype(int), expit(score)
        settings: dict[str, Any] = {}
        areas = {"auc": sk.roc_auc_score(labels, score), "pr_auc": sk.average_precision_score(labels, score)}
        brier = sk.brier_score_loss(labels, chance)
    else:
        # torch's, since equal scores there may differ in the last bit elsewhere, which changes ties.
        chance = torch.softmax(torch.from_numpy(outputs), dim=1).numpy()
        predicted, settings = chance.argmax(axis=1), {"average": "macro"}
        areas = {
            "auc": sk.roc_auc_score(labels, chance, multi_class="ovr"),
            "pr_auc": sk.average_precision_score(np.eye(3)[labels], chance),
        }
        brier = float(((chance - np.eye(3)[labels]) ** 2).sum(axis=1).mean())
    return {
        "val_loss": sk.log_loss(labels, chance),
        "accuracy": sk.accuracy_score(labels, predicted),
        "precision": sk.precision_score(labels, predicted, **settings),
        "recall": sk.recall_score(labels, predicted, **settings),
        "f1": sk.f1_score(labels, predicted, **settings),
        "brier": brier,
        **areas,
    }


def of_core(task: str, outputs: npt.NDArray[Any], labels: npt.NDArray[Any]) -> tuple[Any, torch.Tensor, torch.Tensor]:
    loss = {"kind": "quantile", "quantiles": QUANTILES} if task == "forecast" else None
    return task_named(task, loss), torch.from_numpy(outputs), torch.from_numpy(labels).double()


@pytest.mark.parametrize("task", ["binary", "multiclass", "forecast"])
def test_every_metric_matches_scikit_learn(task: str) -> None:
    """All metrics of each task are compared, with ties among the scores."""
    outputs, labels = sample(task)
    core, outputs_NC, labels_N = of_core(task, outputs, labels)
    found = core.metrics(outputs_NC, labels_N)
    expected = reference(task, outputs, labels)
    assert float(core.losses(outputs_NC, labels_N).mean()) == pytest.approx(expected.pop("val_loss"), rel=1e-9)
    numbers = {name: value for name, value in found.items() if isinstance(value, float)}
    assert set(expected) == set(numbers) - {"val_training_loss"}
    assert {name: numbers[name] for name in expected} == pytest.approx(expected, rel=1e-9)
    assert set(found) >= set(core.required_metrics)


def weighted(
    task: str, outputs: npt.NDArray[Any], labels: npt.NDArray[Any], weights: npt.NDArray[Any]
) -> dict[str, Any]:
    """Metrics that are no means, with weights of the windows."""
    by: dict[str, Any] = {"sample_weight": weights}
    if task == "forecast":
        forecast = outputs[:, 1]
        return {"rmse": sk.root_mean_squared_error(labels, forecast, **by), "r2": sk.r2_score(labels, forecast, **by)}
    if task == "binary":
        predicted, settings = (outputs[:, 0] >= 0).astype(int), by
        areas = {
            "auc": sk.roc_auc_score(labels, outputs[:, 0], **by),
            "pr_auc": sk.average_precision_score(labels, outputs[:, 0], **by),
        }
    else:
        chance = torch.softmax(torch.from_numpy(outputs), dim=1).numpy()
        predicted, settings, hits = chance.argmax(axis=1), {"average": "macro", **by}, np.eye(3)[labels]
        areas = {
            "auc": sk.roc_auc_score(labels, chance, multi_class="ovr", **by),
            "pr_auc": np.mean([sk.average_precision_score(hits[:, c], chance[:, c], **by) for c in range(3)]),
        }
    return {
        "precision": sk.precision_score(labels, predicted, **settings),
        "recall": sk.recall_score(labels, predicted, **settings),
        "f1": sk.f1_score(labels, predicted, **settings),
        **areas,
    }


@pytest.mark.parametrize("task", ["binary", "multiclass", "forecast"])
def test_g18_every_interval_is_that_of_the_influences_of_the_windows(task: str) -> None:
    """The influence of a window is how much the metric changes with its weight, by differences of scikit-learn's."""
    windows, step = 150, 1e-4
    outputs, labels = sample(task, windows)
    core, outputs_NC, labels_N = of_core(task, outputs, labels)
    found, reasons = metric_intervals(core, outputs_NC, labels_N, overlap=1)
    names = ["val_loss", *(name for name in core.required_metrics if name not in ("confusion_matrix", "predictions"))]
    assert set(found) == set(names)
    assert reasons == {}
    values, influences = weighted(task, outputs, labels, np.ones(windows)), []
    for window in range(windows):
        weights = np.ones((2, windows))
        weights[:, window] += (step, -step)
        more, less = (weighted(task, outputs, labels, row) for row in weights)
        influences.append([windows * (more[name] - less[name]) / (2 * step) for name in values])
    halves = half_width(mean_errors(np.transpose(influences), overlap=1))
    for (name, value), half in zip(values.items(), halves.tolist(), strict=True):
        bounds = {"r2": (-np.inf, 1.0), "rmse": NOT_NEGATIVE}.get(name, (0.0, 1.0))
        expected = interval_around(value, half, bounds=bounds)
        assert expected is not None
        low, high = found[name]["low"], found[name]["high"]
        if "denominator" in found[name] and found[name]["method"] != METHOD:  # extended by Wilson's interval
            assert (low <= expected.low + 1e-6, high >= expected.high - 1e-6) == (True, True), name
        else:
            assert (low, high) == pytest.approx((expected.low, expected.high), rel=1e-5), name


def test_g18_a_loss_has_the_interval_of_the_baselines() -> None:
    """The same number of cosines, so that a trial and a baseline are comparable; a metric that is a mean too."""
    outputs, labels = sample("binary", 400)
    core, outputs_NC, labels_N = of_core("binary", outputs, labels)
    found, _ = metric_intervals(core, outputs_NC, labels_N, overlap=3)
    squares = (expit(outputs[:, 0]) - labels) ** 2
    for name, losses in (("val_loss", core.losses(outputs_NC, labels_N).numpy()), ("brier", squares)):
        expected = mean_interval(losses, overlap=3, bounds=NOT_NEGATIVE)
        assert expected is not None
        assert (found[name]["low"], found[name]["high"]) == pytest.approx((expected.low, expected.high), rel=1e-9)
    assert {one["cosines"] for one in found.values()} == {7}


def test_g18_a_metric_without_an_interval_has_a_reason() -> None:
    """An undefined metric is None and never a number; with one class or too few windows there is no interval."""
    core, logits_NC, labels_N = of_core("binary", np.full((40, 1), -1.0), np.zeros(40))
    found = core.metrics(logits_NC, labels_N)
    assert [found[name] for name in ("auc", "pr_auc", "precision", "recall", "f1")] == [None] * 5
    intervals, reasons = metric_intervals(core, logits_NC, labels_N, overlap=1)
    assert {name for name, one in intervals.items() if one is None} == set(reasons)
    assert reasons == {
        name: f"{name} is undefined on these windows" for name in ("auc", "pr_auc", "precision", "recall", "f1")
    }
    intervals, reasons = metric_intervals(core, logits_NC, labels_N, overlap=20)
    assert set(intervals.values()) == {None}
    assert set(reasons.values()) == {"40 windows are too few for an interval: labels that span 20 rows need 100"}
    labels_N[:2] = 1.0
    intervals, reasons = metric_intervals(core, logits_NC, labels_N, overlap=1)
    assert reasons["auc"] == "2 independent windows of the rarest class, fewer than 5"
    assert (intervals["recall"]["low"], intervals["recall"]["denominator"]) == (0.0, 2)
    assert intervals["recall"]["high"] > 0.6
    flat = of_core("forecast", np.zeros((40, 3)), np.ones(40))
    assert flat[0].metrics(*flat[1:])["r2"] is None
    assert metric_intervals(*flat, overlap=1)[1] == {"r2": "r2 is undefined on these windows"}


def test_g18_a_constant_or_perfect_prediction_has_no_area_with_an_interval() -> None:
    """No pair of windows varies; F1 without a hit has none for the same reason. The loss keeps its interval."""
    labels = np.zeros(200)
    labels[::3] = 1.0
    for outputs in (np.full((200, 1), -0.5), 4 * labels[:, None] - 2):
        core, logits_NC, labels_N = of_core("binary", outputs, labels)
        intervals, reasons = metric_intervals(core, logits_NC, labels_N, overlap=1)
        assert intervals["auc"] is None
        assert intervals["f1"] is None
        assert reasons["auc"] == reasons["f1"] == "the metric has no variation over these windows"
        assert intervals["val_loss"] is not None
        assert 0.0 <= intervals["accuracy"]["low"] < intervals["accuracy"]["high"] <= 1.0


def test_a_class_that_does_not_occur_is_excluded_from_the_means() -> None:
    """With three logits and two classes in the labels, the means are over the two classes that occur."""
    generator = np.random.default_rng(0)
    labels = generator.integers(0, 2, 50)
    outputs = np.column_stack([np.eye(2)[labels] + generator.normal(size=(50, 2)), np.full(50, -30.0)])
    core, logits_NC, labels_N = of_core("multiclass", outputs, labels)
    found, predicted = core.metrics(logits_NC, labels_N), outputs.argmax(axis=1)
    assert found["recall"] == pytest.approx(sk.recall_score(labels, predicted, average="macro"))
    assert found["f1"] == pytest.approx(sk.f1_score(labels, predicted, average="macro"))
    assert found["auc"] is not None
