"""Metrics of validation outputs, compared with scikit-learn."""

from __future__ import annotations

import numpy as np
import pytest

from scalecore.data.measures import MEASURES, measures

sklearn_metrics = pytest.importorskip("sklearn.metrics", reason="scikit-learn is only the judge here")


def test_of_two_classes() -> None:
    """Loss, accuracy, area, Brier score and the cells of the confusion matrix."""
    generator = np.random.default_rng(1)
    labels = (generator.random(500) < 0.3).astype(np.float32)
    logits = (generator.normal(size=(500, 1)) + labels[:, None]).astype(np.float32)
    logits[:20] = 0.0  # probability a half, which counts as class 1
    found, chance = measures(logits, labels, task="binary"), 1 / (1 + np.exp(-logits[:, 0].astype(float)))
    assert found["val_loss"] == pytest.approx(sklearn_metrics.log_loss(labels, chance))
    assert found["accuracy"] == pytest.approx(sklearn_metrics.accuracy_score(labels, chance >= 0.5))
    assert found["auc"] == pytest.approx(sklearn_metrics.roc_auc_score(labels, chance))
    assert found["brier"] == pytest.approx(sklearn_metrics.brier_score_loss(labels, chance))
    tn, fp, fn, tp = sklearn_metrics.confusion_matrix(labels, chance >= 0.5).ravel().tolist()
    assert found["confusion_matrix"] == {"tn": tn, "fp": fp, "fn": fn, "tp": tp}
    assert found["predictions"]["std"] == pytest.approx(chance.std())
    assert sorted(found) == sorted(MEASURES["binary"])


def test_of_several_classes() -> None:
    """Areas are means over the classes; the confusion matrix has a row for each true class."""
    generator = np.random.default_rng(2)
    labels = generator.integers(0, 3, 400).astype(np.float32)
    logits = generator.normal(size=(400, 3)).astype(np.float32)
    found = measures(logits, labels, task="multiclass")
    wide = np.exp(logits.astype(float))
    chances = wide / wide.sum(axis=1, keepdims=True)
    assert found["val_loss"] == pytest.approx(sklearn_metrics.log_loss(labels, chances))
    assert found["accuracy"] == pytest.approx(sklearn_metrics.accuracy_score(labels, chances.argmax(1)))
    assert found["auc"] == pytest.approx(sklearn_metrics.roc_auc_score(labels, chances, multi_class="ovr"))
    assert found["confusion_matrix"] == sklearn_metrics.confusion_matrix(labels, chances.argmax(1)).tolist()
    assert found["brier"] == pytest.approx(((chances - np.eye(3)[labels.astype(int)]) ** 2).sum(1).mean())
    assert sorted(found) == sorted(MEASURES["multiclass"])


def test_of_a_forecast() -> None:
    """In the target's unit."""
    generator = np.random.default_rng(3)
    labels = 1e4 + generator.normal(size=300)
    outputs = (labels + generator.normal(size=300))[:, None]
    found = measures(outputs, labels, task="forecast")
    assert found["val_loss"] == pytest.approx(sklearn_metrics.mean_squared_error(labels, outputs[:, 0]))
    assert found["mae"] == pytest.approx(sklearn_metrics.mean_absolute_error(labels, outputs[:, 0]))
    assert found["r2"] == pytest.approx(sklearn_metrics.r2_score(labels, outputs[:, 0]))
    assert found["rmse"] == pytest.approx(found["val_loss"] ** 0.5)
    assert found["sign_accuracy"] == 1.0
    assert sorted(found) == sorted(MEASURES["forecast"])


def test_outputs_that_are_not_finite_have_only_a_loss() -> None:
    """The loss is not finite either: the training has diverged."""
    found = measures(np.array([[np.nan], [0.0]]), np.array([0.0, 1.0]), task="binary")
    assert list(found) == ["val_loss"]
    assert np.isnan(found["val_loss"])
