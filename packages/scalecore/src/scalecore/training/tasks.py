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
    """`losses` [windows] are of single windows, so that means weigh every window alike whatever the batches were."""

    name: str
    losses: Callable[[Tensor, Tensor], Tensor]
    metrics: Callable[[Tensor, Tensor], dict[str, Any]]
    required_metrics: tuple[str, ...]


def _binary_losses(logits_BC: Tensor, labels_B: Tensor) -> Tensor:
    return F.binary_cross_entropy_with_logits(logits_BC[:, 0], labels_B, reduction="none")


def _multiclass_losses(logits_BC: Tensor, labels_B: Tensor) -> Tensor:
    return F.cross_entropy(logits_BC, labels_B.long(), reduction="none")


def _forecast_losses(outputs_BC: Tensor, labels_B: Tensor) -> Tensor:
    return F.mse_loss(outputs_BC[:, 0], labels_B, reduction="none")


_CLASSIFICATION = ("accuracy", "auc", "precision", "recall", "f1", "confusion_matrix", "predictions")

_TASKS: Mapping[str, Task] = {
    task.name: task
    for task in (
        Task(
            name="binary",
            losses=_binary_losses,
            metrics=lambda logits_NC, labels_N: binary_metrics(logits_NC[:, 0], labels_N),
            required_metrics=_CLASSIFICATION,
        ),
        Task(
            name="multiclass",
            losses=_multiclass_losses,
            metrics=multiclass_metrics,
            required_metrics=_CLASSIFICATION,
        ),
        Task(
            name="forecast",
            losses=_forecast_losses,
            metrics=forecast_metrics,
            required_metrics=("mae", "rmse", "sign_accuracy", "r2", "predictions"),
        ),
    )
}


def task_named(name: str) -> Task:
    """The task that a target's definition names: `binary`, `multiclass` or `forecast`."""
    return _TASKS[name]
