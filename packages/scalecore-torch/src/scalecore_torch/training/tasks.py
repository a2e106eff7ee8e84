"""A task binds head size, loss and metrics, so that none of them can be exchanged alone (guard G11).

`val_loss` is the task's own loss of single windows, unweighted and unsmoothed, whatever a model is trained with:
cross-entropy in nats, or the squared error of the forecast. So trials of different training losses are ranked by one
yardstick, that of the baselines. Another training loss is in each line of the learning curve as `train_loss`, and over
the validation windows as `val_training_loss`; a loss of pairs has no such sum.
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
    """`losses` [windows] are of single windows, so that means weigh every window alike whatever the batches were."""

    name: str
    losses: Callable[[Tensor, Tensor], Tensor]
    """The yardstick: its mean is `val_loss`."""
    training: TrainingLoss
    """What is minimised."""
    measure: Callable[[Tensor, Tensor], Measure]
    details: Callable[[Tensor, Tensor], dict[str, Any]]
    required_metrics: tuple[str, ...]
    own_loss: bool = True
    """Whether the model is trained with the yardstick itself."""
    point: int = 0
    """The output that is the forecast."""
    own_metrics: Mapping[str, Metric] = field(factory=dict)
    """Those of the user's by name."""
    scale: TargetScale | None = None
    """Of a forecast's labels."""

    def metrics(self, outputs_NC: Tensor, labels_N: Tensor) -> dict[str, Any]:
        """All metrics of a split by name; what is not a number for each is in plain JSON types."""
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

    `loss` is what `scalecore_torch.loss_options.settled` gives; without it the task's own. `parts` are the loss and
    metrics of the user's, `scale` is that of a forecast.
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
