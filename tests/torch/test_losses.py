from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import pytest
import torch
from scipy.special import expit, log_softmax, softmax

from scalecore_torch.loss_options import (
    BinaryCrossEntropy,
    CrossEntropy,
    Focal,
    MeanAbsolute,
    Quantile,
    SoftAuc,
    loss_problem,
    measured_metrics,
    metric_problem,
    outputs_of,
    settled,
)
from scalecore_torch.training.losses import training_loss
from scalecore_torch.training.tasks import task_named
from scalecore_torch.training.training_loop import TrainingLoop

GENERATOR = np.random.default_rng(1)
LOGITS_N, LABELS_N = GENERATOR.normal(size=40) * 2, GENERATOR.integers(0, 2, 40)
LOGITS_NC, CLASSES_N = GENERATOR.normal(size=(40, 3)) * 2, GENERATOR.integers(0, 3, 40)
FORECASTS_NQ, RETURNS_N = np.sort(GENERATOR.normal(size=(40, 3))), GENERATOR.normal(size=40)


def total(settings: Mapping[str, Any], outputs: np.ndarray[Any, Any], labels: np.ndarray[Any, Any]) -> float:
    outputs_NC = torch.tensor(outputs, dtype=torch.float32).reshape(len(outputs), -1)
    return float(training_loss(settings).total(outputs_NC, torch.tensor(labels, dtype=torch.float32)))


def bce(labels_N: Any) -> Any:
    return -(labels_N * np.log(expit(LOGITS_N)) + (1 - labels_N) * np.log(expit(-LOGITS_N)))


def test_binary_losses_match_their_formulas() -> None:
    """Cross-entropy with a positive weight and smoothed labels, and the focal loss, as in the papers."""
    weight_N = np.where(LABELS_N == 1, 3.0, 1.0)
    smooth_N = np.where(LABELS_N == 1, 0.95, 0.05)
    found = total({"kind": "bce", "positive_weight": 3.0, "label_smoothing": 0.1}, LOGITS_N, LABELS_N)
    assert found == pytest.approx((weight_N * bce(smooth_N)).sum(), rel=1e-5)
    true_N = np.where(LABELS_N == 1, expit(LOGITS_N), expit(-LOGITS_N))
    focal = (weight_N * (1 - true_N) ** 1.5 * -np.log(true_N)).sum()
    assert total({"kind": "focal", "gamma": 1.5, "positive_weight": 3.0}, LOGITS_N, LABELS_N) == pytest.approx(focal)
    assert total({"kind": "focal", "gamma": 0.0}, LOGITS_N, LABELS_N) == pytest.approx(bce(LABELS_N).sum())


def test_losses_of_several_classes_match_their_formulas() -> None:
    """A window has its class's weight; smoothing spreads a share of the label over all classes."""
    logs_NC, weights = log_softmax(LOGITS_NC, axis=1), [0.5, 1.0, 2.0]
    weight_N, own_N = np.array(weights)[CLASSES_N], -logs_NC[np.arange(40), CLASSES_N]
    smoothed_N = 0.8 * own_N - 0.2 * logs_NC.mean(axis=1)
    found = total({"kind": "cross_entropy", "class_weights": weights, "label_smoothing": 0.2}, LOGITS_NC, CLASSES_N)
    assert found == pytest.approx((weight_N * smoothed_N).sum(), rel=1e-5)
    true_N = softmax(LOGITS_NC, axis=1)[np.arange(40), CLASSES_N]
    found = total({"kind": "focal", "gamma": 2.0, "class_weights": weights}, LOGITS_NC, CLASSES_N)
    assert found == pytest.approx((weight_N * (1 - true_N) ** 2 * own_N).sum(), rel=1e-5)


def test_losses_of_forecasts_match_their_formulas() -> None:
    """Squared, absolute, and the mean pinball loss of the quantiles, which is minimal over constants at the
    quantile."""
    error_N = RETURNS_N - FORECASTS_NQ[:, 0]
    assert total({"kind": "mse"}, FORECASTS_NQ[:, 0], RETURNS_N) == pytest.approx((error_N**2).sum())
    assert total({"kind": "mae"}, FORECASTS_NQ[:, 0], RETURNS_N) == pytest.approx(np.abs(error_N).sum())
    quantiles = [0.1, 0.5, 0.9]
    error_NQ = RETURNS_N[:, None] - FORECASTS_NQ
    expected = np.where(error_NQ > 0, quantiles * error_NQ, (np.array(quantiles) - 1) * error_NQ).mean(axis=1).sum()
    assert total({"kind": "quantile", "quantiles": quantiles}, FORECASTS_NQ, RETURNS_N) == pytest.approx(expected)
    constants = np.linspace(-3, 3, 601)
    losses = [total({"kind": "quantile", "quantiles": [0.9]}, np.full(40, one), RETURNS_N) for one in constants]
    assert abs(np.mean(constants[int(np.argmin(losses))] >= RETURNS_N) - 0.9) <= 1 / 40


def test_soft_auc_is_the_mean_over_pairs_of_its_micro_batch() -> None:
    """All positive-negative pairs within the micro-batch have equal weight, mixed with cross-entropy.

    Halves of the batch do not add up to the whole, since pairs across them are missing.
    """
    settings = {"kind": "soft_auc", "bce_share": 0.25}
    differences = LOGITS_N[LABELS_N == 0][None, :] - LOGITS_N[LABELS_N == 1][:, None]
    expected = 0.75 * 40 * np.log1p(np.exp(differences)).mean() + 0.25 * bce(LABELS_N).sum()
    whole = total(settings, LOGITS_N, LABELS_N)
    assert whole == pytest.approx(expected, rel=1e-5)
    halves = total(settings, LOGITS_N[:20], LABELS_N[:20]) + total(settings, LOGITS_N[20:], LABELS_N[20:])
    assert halves != pytest.approx(whole, rel=1e-3)
    assert not training_loss(settings).over_windows


def test_soft_auc_without_a_pair_is_the_cross_entropy() -> None:
    """A micro-batch of one class has no pairs: its gradient is finite and comes from the share of cross-entropy."""
    logits_NC = torch.tensor(LOGITS_N, dtype=torch.float32)[:, None].requires_grad_()
    training_loss({"kind": "soft_auc", "bce_share": 0.25}).total(logits_NC, torch.ones(40)).backward()
    assert logits_NC.grad is not None
    np.testing.assert_allclose(logits_NC.grad[:, 0].numpy(), 0.25 * (expit(LOGITS_N) - 1), atol=1e-6)


@pytest.mark.parametrize("gamma", [0.5, 1.0, 2.0])
@pytest.mark.parametrize("outputs", [1, 2])
def test_the_focal_gradient_is_finite_for_a_certain_window(gamma: float, outputs: int) -> None:
    """Probabilities that round to 0 or 1 cause no NaN, also for powers below 1."""
    logits_NC = torch.tensor([[-200.0], [-30.0], [0.0], [30.0], [200.0]])
    if outputs == 2:
        logits_NC = torch.cat([torch.zeros_like(logits_NC), logits_NC], dim=1)
    for label in (0.0, 1.0):
        leaf = logits_NC.clone().requires_grad_()
        training_loss({"kind": "focal", "gamma": gamma}).total(leaf, torch.full((5,), label)).backward()
        assert leaf.grad is not None
        assert bool(torch.isfinite(leaf.grad).all())


def test_auto_weights_come_from_the_training_split() -> None:
    """They are negative / positive windows, and windows / (classes * windows of the class); defaults are filled in."""
    loss = settled(BinaryCrossEntropy(positive_weight="auto"), task="binary", counts=(80, 20))
    assert loss == {"kind": "bce", "positive_weight": 4.0, "label_smoothing": 0.0}
    loss = settled(CrossEntropy(class_weights="auto"), task="multiclass", counts=(60, 30, 10))
    assert loss["class_weights"] == pytest.approx([100 / 180, 100 / 90, 100 / 30])
    assert settled(None, task="forecast", counts=()) == {"kind": "mse"}


@pytest.mark.parametrize(
    ("task", "loss"),
    [
        ("binary", {"kind": "focal", "gamma": 2.0}),
        ("binary", {"kind": "bce", "positive_weight": 5.0, "label_smoothing": 0.1}),
        ("multiclass", {"kind": "cross_entropy", "label_smoothing": 0.3}),
        ("forecast", {"kind": "mae"}),
    ],
)
def test_val_loss_does_not_depend_on_the_training_loss(task: str, loss: dict[str, Any]) -> None:
    """`val_loss` uses the task's own losses; the mean of the training loss is `val_training_loss`."""
    outputs, labels = {
        "binary": (LOGITS_N[:, None], LABELS_N),
        "multiclass": (LOGITS_NC, CLASSES_N),
        "forecast": (FORECASTS_NQ[:, :1], RETURNS_N),
    }[task]
    outputs_NC, labels_N = torch.from_numpy(outputs).float(), torch.from_numpy(labels).float()
    plain, other = task_named(task), task_named(task, loss)
    assert torch.equal(plain.losses(outputs_NC, labels_N), other.losses(outputs_NC, labels_N))
    assert "val_training_loss" not in plain.metrics(outputs_NC, labels_N)
    found = other.metrics(outputs_NC, labels_N)["val_training_loss"]
    assert found == pytest.approx(total(loss, outputs, labels) / 40, rel=1e-5)


def test_the_median_of_quantiles_is_the_forecast() -> None:
    """Each quantile has an output; `val_loss` and the errors use the column 0.5."""
    loss = Quantile(quantiles=[0.05, 0.5, 0.95])
    assert outputs_of(loss, 1) == 3
    task = task_named("forecast", settled(loss, task="forecast", counts=()))
    outputs_NC, labels_N = torch.from_numpy(FORECASTS_NQ), torch.from_numpy(RETURNS_N)
    assert float(task.losses(outputs_NC, labels_N).mean()) == pytest.approx(
        np.mean((FORECASTS_NQ[:, 1] - RETURNS_N) ** 2)
    )
    found = task.metrics(outputs_NC, labels_N)
    assert found["mae"] == pytest.approx(np.abs(FORECASTS_NQ[:, 1] - RETURNS_N).mean())
    inside = (FORECASTS_NQ[:, 0] <= RETURNS_N) & (FORECASTS_NQ[:, 2] >= RETURNS_N)
    assert found["coverage"] == pytest.approx(inside.mean())


@pytest.mark.parametrize(
    ("loss", "task", "expected"),
    [
        (BinaryCrossEntropy(), "binary", None),
        (None, "forecast", None),
        (
            BinaryCrossEntropy(),
            "forecast",
            ("kind", "bce is not a loss for a forecast, the task of the target; use one of mse, mae, quantile [G11]"),
        ),
        (
            Quantile(),
            "binary",
            (
                "kind",
                "quantile is not a loss for a binary task, the task of the target; use one of bce, focal, "
                "soft_auc [G11]",
            ),
        ),
        (CrossEntropy(class_weights=[1.0, 2.0]), "multiclass", ("class_weights", "has 2 weights for 3 classes [G11]")),
    ],
)
def test_g11_a_loss_belongs_to_its_task(loss: Any, task: str, expected: tuple[str, str] | None) -> None:
    """A loss of another task is a problem at its key, which lists the task's losses."""
    assert loss_problem(loss, task=task, classes=3) == expected


@pytest.mark.parametrize("kind", ["bce", "focal", "soft_auc"])
def test_every_loss_trains_also_from_half_precision(trainer_of: Callable[..., TrainingLoop], kind: str) -> None:
    """A model that returns bfloat16 is trained on float32 losses, and the training loss decreases."""

    class Half(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.linear = torch.nn.Linear(18, 1)

        def forward(self, x_BTF: torch.Tensor) -> torch.Tensor:
            return self.linear(x_BTF.flatten(1)).bfloat16()

    loss = {"bce": {"label_smoothing": 0.1}, "focal": {"gamma": 2.0}, "soft_auc": {"bce_share": 0.1}}[kind]
    trainer = trainer_of(Half(), loss={"kind": kind, **loss})
    seen: list[torch.dtype] = []
    inner = trainer.task.training.total
    object.__setattr__(trainer.task.training, "total", lambda x, y: seen.append(x.dtype) or inner(x, y))
    losses = []
    for _ in range(3):
        while trainer.progress.step < trainer.steps_per_epoch:
            trainer.optimizer_step()
        losses.append(trainer._end_epoch()["train_loss"])
    assert losses[2] < losses[0]
    assert set(seen) == {torch.float32}


@pytest.mark.parametrize(
    ("task", "loss"),
    [
        ("binary", None),
        ("binary", BinaryCrossEntropy()),
        ("binary", BinaryCrossEntropy(label_smoothing=0.1)),
        ("binary", Focal()),
        ("binary", SoftAuc()),
        ("multiclass", None),
        ("multiclass", Focal()),
        ("forecast", None),
        ("forecast", MeanAbsolute()),
        ("forecast", Quantile()),
    ],
)
def test_g23_the_known_metrics_are_those_of_an_epoch(task: str, loss: Any) -> None:
    """`check` refuses exactly the names that no epoch of this task and loss has."""
    torch.manual_seed(0)
    classes = 3 if task == "multiclass" else 1
    labels_N = torch.arange(30).remainder(max(2, classes)).float() if task != "forecast" else torch.randn(30)
    trained = task_named(task, settled(loss, task=task, counts=[15, 15]))
    found = trained.metrics(torch.randn(30, outputs_of(loss, classes)), labels_N)
    numbers = {name for name, value in found.items() if not isinstance(value, dict | list)}
    assert measured_metrics(loss, task=task) == tuple(sorted(numbers | {"val_loss", "train_loss"}))
    assert metric_problem(loss, metric="val_loss", task=task) is None
    assert metric_problem(loss, metric="sharpe", task=None) is not None
