"""A task binds head size, loss and metrics, so that none of them can be exchanged alone (guard G11)."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch.nn.functional as F  # noqa: N812 - torch's own convention
from attrs import frozen
from torch import Tensor

from scalecore.training.metrics import binary_metrics, forecast_metrics, multiclass_metrics

__all__ = ["Task", "task_named"]


@frozen(kw_only=True)
class Task:
    """`loss_sum` is the sum over windows, so that means weigh every window alike whatever the batches were."""

    name: str
    loss_sum: Callable[[Tensor, Tensor], Tensor]
    metrics: Callable[[Tensor, Tensor], dict[str, Any]]
    required_metrics: tuple[str, ...]


def _binary_loss(logits_BC: Tensor, labels_B: Tensor) -> Tensor:
    return F.binary_cross_entropy_with_logits(logits_BC[:, 0], labels_B, reduction="sum")


def _multiclass_loss(logits_BC: Tensor, labels_B: Tensor) -> Tensor:
    return F.cross_entropy(logits_BC, labels_B.long(), reduction="sum")


def _forecast_loss(outputs_BC: Tensor, labels_B: Tensor) -> Tensor:
    return F.mse_loss(outputs_BC[:, 0], labels_B, reduction="sum")


_CLASSIFICATION = ("accuracy", "auc", "precision", "recall", "f1", "confusion_matrix", "predictions")

_TASKS: Mapping[str, Task] = {
    task.name: task
    for task in (
        Task(
            name="binary",
            loss_sum=_binary_loss,
            metrics=lambda logits_NC, labels_N: binary_metrics(logits_NC[:, 0], labels_N),
            required_metrics=_CLASSIFICATION,
        ),
        Task(
            name="multiclass",
            loss_sum=_multiclass_loss,
            metrics=multiclass_metrics,
            required_metrics=_CLASSIFICATION,
        ),
        Task(
            name="forecast",
            loss_sum=_forecast_loss,
            metrics=forecast_metrics,
            required_metrics=("mae", "rmse", "sign_accuracy", "r2", "predictions"),
        ),
    )
}


def task_named(name: str) -> Task:
    """The task that a target's definition names: `binary`, `multiclass` or `forecast`."""
    return _TASKS[name]
