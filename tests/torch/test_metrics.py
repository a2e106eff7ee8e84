"""Each metric matches scikit-learn, each interval a simple loop: resample, compute, take percentiles."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import torch
from scipy.special import expit
from sklearn import metrics as sk

from scalecore.data.bootstrap import BOOTSTRAP_SEED, block_length, mean_interval, resampled_indices
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


@pytest.mark.parametrize("task", ["binary", "multiclass", "forecast"])
def test_g02_every_interval_matches_a_simple_bootstrap(task: str) -> None:
    """All resamples at once return the same as a loop over resampled windows with the same blocks."""
    outputs, labels = sample(task, 120)
    core, outputs_NC, labels_N = of_core(task, outputs, labels)
    found = metric_intervals(core, outputs_NC, labels_N, overlap=3)
    names = ["val_loss", *(name for name in core.required_metrics if name not in ("confusion_matrix", "predictions"))]
    assert set(found) == set(names)

    def measured(name: str, rows: npt.NDArray[np.int64]) -> float | None:
        outputs_NC, labels_N = torch.from_numpy(outputs[rows]), torch.from_numpy(labels[rows]).double()
        if name == "val_loss":
            return float(core.losses(outputs_NC, labels_N).mean())
        value: float | None = core.metrics(outputs_NC, labels_N)[name]
        return value

    drawn = resampled_indices(120, block=block_length(120, overlap=3), resamples=1000, seed=BOOTSTRAP_SEED)
    for name in ("val_loss", "auc", "pr_auc", "f1") if task != "forecast" else ("val_loss", "r2", "pinball"):
        values = [value for rows in drawn if (value := measured(name, rows)) is not None]
        ends = np.quantile(values, (0.025, 0.975))
        assert (found[name]["low"], found[name]["high"]) == pytest.approx(tuple(ends), rel=1e-9), name
    losses = core.losses(outputs_NC, labels_N).numpy()
    baseline = mean_interval(losses, overlap=3, seed=BOOTSTRAP_SEED)
    assert baseline is not None
    assert found["val_loss"] == pytest.approx(baseline.plain(), rel=1e-9)


def test_an_undefined_metric_is_none_and_never_a_number() -> None:
    """With one class there is no area and no recall; without positive predictions no precision; with too few windows no
    interval."""
    core, logits_NC, labels_N = of_core("binary", np.full((40, 1), -1.0), np.zeros(40))
    found = core.metrics(logits_NC, labels_N)
    assert [found[name] for name in ("auc", "pr_auc", "precision", "recall", "f1")] == [None] * 5
    intervals = metric_intervals(core, logits_NC, labels_N, overlap=1)
    assert intervals["auc"] is None
    assert intervals["accuracy"] is not None
    assert set(metric_intervals(core, logits_NC, labels_N, overlap=20).values()) == {None}
    labels_N[:2] = 1.0
    # A resample without positives has no recall; with two positives of 40, more than one in twenty has none.
    assert metric_intervals(core, logits_NC, labels_N, overlap=1)["recall"] is None
    flat = of_core("forecast", np.zeros((40, 3)), np.ones(40))
    assert flat[0].metrics(*flat[1:])["r2"] is None


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
