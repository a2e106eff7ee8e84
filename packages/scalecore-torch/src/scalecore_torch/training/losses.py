"""Training losses: sums over the windows of a micro-batch, from float32 logits whatever the model's precision.

Weights are not in the divisor: the loss of a step is the sum of weighted losses divided by the number of windows, so
that micro-batches add up to the step whatever their classes.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

import torch
import torch.nn.functional as F  # noqa: N812 - torch's own convention
from attrs import frozen
from torch import Tensor


@frozen(kw_only=True)
class TrainingLoss:
    """`total(logits[windows, outputs] in float32, labels[windows])` is the sum over windows that is minimised.

    `over_windows` is False for a loss of pairs: its sum over micro-batches is not the loss of the whole step. `power`
    is the exponent of the target's unit in the unit of a forecast's loss. With `standardised`, the loss of validation
    windows is computed on the scale of training too.
    """

    kind: str
    total: Callable[[Tensor, Tensor], Tensor]
    over_windows: bool = True
    power: int = 0
    standardised: bool = False


def training_loss(settings: Mapping[str, Any]) -> TrainingLoss:
    """The loss of `scalecore_torch.loss_options.settled`."""
    options = dict(settings)
    kind = options.pop("kind")
    if kind == "soft_auc":
        return TrainingLoss(kind=kind, total=partial(_soft_auc, **options), over_windows=False)
    for name in ("class_weights", "quantiles"):
        if name in options:
            options[name] = _Constant(options[name])
    losses = partial(_LOSSES[kind], **options)
    return TrainingLoss(
        kind=kind,
        total=lambda logits_BC, labels_B: losses(logits_BC, labels_B).sum(),
        power=_POWERS.get(kind, 0),
    )


class _Constant:
    """Constants copied once to each device: a copy at each step would wait for the GPU."""

    def __init__(self, values: Sequence[float]) -> None:
        self._values = torch.tensor(values, dtype=torch.float32)
        self._elsewhere: dict[torch.device, Tensor] = {}

    def on(self, device: torch.device) -> Tensor:
        if device not in self._elsewhere:
            self._elsewhere[device] = self._values.to(device)
        return self._elsewhere[device]


def pinball(outputs_BQ: Tensor, labels_B: Tensor, quantiles_Q: Tensor) -> Tensor:
    """[windows] mean over the quantiles of max(q * e, (q - 1) * e), e being label - output (Koenker, Bassett 1978)."""
    error_BQ = labels_B.to(outputs_BQ.dtype)[:, None] - outputs_BQ
    return torch.maximum(quantiles_Q * error_BQ, (quantiles_Q - 1) * error_BQ).mean(1)


def _quantile(outputs_BQ: Tensor, labels_B: Tensor, *, quantiles: _Constant) -> Tensor:
    return pinball(outputs_BQ, labels_B, quantiles.on(outputs_BQ.device))


def _bce(logits_BC: Tensor, labels_B: Tensor, *, positive_weight: float = 1.0, label_smoothing: float = 0.0) -> Tensor:
    smooth_B = labels_B * (1 - label_smoothing) + label_smoothing / 2
    losses_B = F.binary_cross_entropy_with_logits(logits_BC[:, 0], smooth_B, reduction="none")
    return losses_B if positive_weight == 1.0 else losses_B * _of_positive(labels_B, positive_weight)


def _cross_entropy(
    logits_BC: Tensor, labels_B: Tensor, *, class_weights: _Constant | None = None, label_smoothing: float = 0.0
) -> Tensor:
    losses_B = F.cross_entropy(logits_BC, labels_B.long(), reduction="none", label_smoothing=label_smoothing)
    return losses_B if class_weights is None else losses_B * _of_class(labels_B, class_weights)


def _focal(
    logits_BC: Tensor,
    labels_B: Tensor,
    *,
    gamma: float,
    positive_weight: float = 1.0,
    class_weights: _Constant | None = None,
) -> Tensor:
    if logits_BC.shape[1] == 1:
        losses_B = _bce(logits_BC, labels_B)
        weights_B = _of_positive(labels_B, positive_weight)
    else:
        losses_B = _cross_entropy(logits_BC, labels_B)
        weights_B = torch.ones_like(labels_B) if class_weights is None else _of_class(labels_B, class_weights)
    # The cross-entropy is -log p, so 1 - p is -expm1(-loss), exact where p is close to 1. A power below 1 has no finite
    # slope at 0, where p has rounded to 1.
    missed_B = (-torch.expm1(-losses_B)).clamp(min=torch.finfo(losses_B.dtype).tiny)
    return weights_B * missed_B**gamma * losses_B


def _mse(outputs_BC: Tensor, labels_B: Tensor) -> Tensor:
    return F.mse_loss(outputs_BC[:, 0], labels_B, reduction="none")


def _mae(outputs_BC: Tensor, labels_B: Tensor) -> Tensor:
    return F.l1_loss(outputs_BC[:, 0], labels_B, reduction="none")


def _soft_auc(logits_BC: Tensor, labels_B: Tensor, *, bce_share: float) -> Tensor:
    """The mean over pairs within this micro-batch, times its windows, mixed with its cross-entropies.

    Softplus of the difference is consistent with the AUC (Gao and Zhou 2015, On the consistency of AUC pairwise
    optimization). Without pairs, only the cross-entropy remains.
    """
    scores_B, positive_B = logits_BC[:, 0], labels_B > 0.5
    # Weights instead of selection: the number of selected windows would have to be read from the GPU.
    pairs_BB = (positive_B[:, None] & ~positive_B[None, :]).to(scores_B.dtype)
    losses_BB = F.softplus(scores_B[None, :] - scores_B[:, None])
    mean = (pairs_BB * losses_BB).sum() / pairs_BB.sum().clamp(min=1.0)
    return (1 - bce_share) * len(labels_B) * mean + bce_share * _bce(logits_BC, labels_B).sum()


def _of_positive(labels_B: Tensor, weight: float) -> Tensor:
    return 1 + (weight - 1) * labels_B


def _of_class(labels_B: Tensor, weights: _Constant) -> Tensor:
    return weights.on(labels_B.device)[labels_B.long()]


_LOSSES: Mapping[str, Callable[..., Tensor]] = {
    "bce": _bce,
    "cross_entropy": _cross_entropy,
    "focal": _focal,
    "mse": _mse,
    "mae": _mae,
    "quantile": _quantile,
}

_POWERS: Mapping[str, int] = {"mse": 2, "mae": 1, "quantile": 1}
