"""A task combines head size, loss and metrics, so that none of them can be replaced separately (guard G11).

`val_loss` is the task's own loss of single windows, unweighted and unsmoothed, whatever the training loss:
cross-entropy in nats, or the squared error of the forecast. Trials with different training losses and the baselines are
therefore ranked by the same measure. The learning curve contains the training loss as `train_loss` and, unless it is
the task's own, over the validation windows as `val_training_loss`; a loss of pairs has no such sum.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import torch.nn.functional as F  # noqa: N812 - torch's own convention
from attrs import field, frozen
from torch import Tensor

from scalecore.api.data_report import TargetScale
from scalecore_torch.loss_options import settled
from scalecore_torch.training.losses import TrainingLoss, training_loss
from scalecore_torch.training.metrics import (
    Measure,
    binary_details,
    binary_measure,
    forecast_details,
    forecast_measure,
    multiclass_details,
    multiclass_measure,
    values_of,
)
from scalecore_torch.training.user_parts import Metric, UserParts


@frozen(kw_only=True)
class Task:
    """`losses` [windows] are losses of single windows, so that means weight all windows equally whatever the
    batches."""

    name: str
    losses: Callable[[Tensor, Tensor], Tensor]
    """The task's own loss: its mean is `val_loss`."""
    training: TrainingLoss
    """The training loss."""
    measure: Callable[[Tensor, Tensor], Measure]
    details: Callable[[Tensor, Tensor], dict[str, Any]]
    required_metrics: tuple[str, ...]
    own_loss: bool = True
    """Whether the training loss is the task's own loss."""
    point: int = 0
    """The index of the output that is the forecast."""
    own_metrics: Mapping[str, Metric] = field(factory=dict)
    """The user's metrics by name."""
    scale: TargetScale | None = None
    """The scale of a forecast's labels."""

    def metrics(self, outputs_NC: Tensor, labels_N: Tensor) -> dict[str, Any]:
        """All metrics of a split by name: numbers or plain JSON types."""
        found: dict[str, Any] = values_of(self.measure(outputs_NC, labels_N), windows=len(labels_N))
        if self.training.over_windows and not self.own_loss:
            found["val_training_loss"] = float(self._training_loss(outputs_NC, labels_N)) / len(labels_N)
        own = {name: metric(outputs_NC, labels_N) for name, metric in self.own_metrics.items()}
        return found | self.details(outputs_NC, labels_N) | own

    def _training_loss(self, outputs_NC: Tensor, labels_N: Tensor) -> Tensor:
        if not self.training.standardised or self.scale is None:
            return self.training.total(outputs_NC, labels_N)
        mean, std = self.scale.mean, self.scale.std
        return self.training.total(((outputs_NC - mean) / std).float(), ((labels_N - mean) / std).float())


def task_named(
    name: str,
    loss: Mapping[str, Any] | None = None,
    *,
    parts: UserParts | None = None,
    scale: TargetScale | None = None,
) -> Task:
    """The task that a target's definition names: `binary`, `multiclass` or `forecast`.

    `loss` is the result of `scalecore_torch.loss_options.settled`, by default the task's own loss. `parts` are the
    user's loss and metrics, `scale` is the scale of a forecast.
    """
    own, parts = settled(None, task=name, counts=()), parts or UserParts()
    task = partial(
        Task,
        name=name,
        training=parts.loss or training_loss(own if loss is None else loss),
        own_loss=parts.loss is None and (loss is None or dict(loss) == own),
        own_metrics=parts.metrics,
        scale=scale,
    )
    if name == "binary":
        return task(
            losses=_binary_losses,
            measure=lambda logits_NC, labels_N: binary_measure(logits_NC[:, 0], labels_N),
            details=lambda logits_NC, labels_N: binary_details(logits_NC[:, 0], labels_N),
            required_metrics=_CLASSIFICATION,
        )
    if name == "multiclass":
        return task(
            losses=_multiclass_losses,
            measure=multiclass_measure,
            details=multiclass_details,
            required_metrics=_CLASSIFICATION,
        )
    quantiles = None if loss is None or parts.loss is not None else loss.get("quantiles")
    point = 0 if quantiles is None else list(quantiles).index(0.5)
    return task(
        losses=partial(_forecast_losses, point=point),
        measure=partial(forecast_measure, point=point, quantiles=quantiles),
        details=partial(forecast_details, point=point),
        required_metrics=_FORECAST if quantiles is None else (*_FORECAST, "pinball", "coverage"),
        point=point,
    )


_CLASSIFICATION = (
    *("accuracy", "auc", "pr_auc", "precision", "recall", "f1", "brier"),
    *("confusion_matrix", "predictions"),
)
_FORECAST = ("mae", "rmse", "sign_accuracy", "r2", "predictions")


def _binary_losses(logits_BC: Tensor, labels_B: Tensor) -> Tensor:
    return F.binary_cross_entropy_with_logits(logits_BC[:, 0], labels_B, reduction="none")


def _multiclass_losses(logits_BC: Tensor, labels_B: Tensor) -> Tensor:
    return F.cross_entropy(logits_BC, labels_B.long(), reduction="none")


def _forecast_losses(outputs_BC: Tensor, labels_B: Tensor, *, point: int) -> Tensor:
    return F.mse_loss(outputs_BC[:, point], labels_B, reduction="none")
