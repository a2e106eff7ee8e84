"""Metrics of a whole split from its logits, as functions of the windows' weights.

Weights of one return a metric's value, its derivatives by the weights its interval. These hundred lines of torch
replace scikit-learn or torchmetrics: neither has the derivatives, and importing either would take tens of times as long
as all metrics of an epoch. Tests compare each metric with scikit-learn.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from scalecore_torch.training.losses import pinball

Measure = Callable[[Tensor], dict[str, Tensor]]
"""Maps weights [windows], float64, to each metric, a scalar; NaN if undefined."""


def values_of(measure: Measure, *, windows: int) -> dict[str, float | None]:
    """The metrics of the windows themselves; None for an undefined one."""
    found = measure(torch.ones(windows, dtype=torch.float64))
    return {name: None if math.isnan(value := float(one)) else value for name, one in found.items()}


# --- binary ---------------------------------------------------------------------------------------------------------


def binary_measure(logits_N: Tensor, labels_N: Tensor) -> Measure:
    """Accuracy, precision, recall and F1 at probability 0.5; areas under the ROC and the precision-recall curve; Brier.

    `auc` counts ties as half (Mann-Whitney); `pr_auc` is the average precision, with one step for each distinct score;
    `brier` is the mean squared difference between probability and label.
    """
    probability_N = torch.sigmoid(logits_N.double())
    positive_N = labels_N > 0.5
    predicted_N = probability_N >= 0.5
    squares_N = (probability_N - positive_N.double()) ** 2
    columns_NK = torch.stack(
        [one.double() for one in (predicted_N & positive_N, predicted_N, positive_N, predicted_N == positive_N)]
        + [squares_N],
        dim=1,
    )
    areas = _areas(logits_N, positive_N)

    def measure(weights_N: Tensor) -> dict[str, Tensor]:
        windows = weights_N.sum()
        hits, predicted, positive, right, squares = weights_N @ columns_NK
        auc, pr_auc = areas(weights_N)
        return {
            "accuracy": right / windows,
            "auc": auc,
            "pr_auc": pr_auc,
            "precision": hits / predicted,
            "recall": hits / positive,
            # Without a true positive this form is 0, not undefined.
            "f1": 2 * hits / (predicted + positive),
            "brier": squares / windows,
        }

    return measure


def binary_details(logits_N: Tensor, labels_N: Tensor) -> dict[str, Any]:
    """The confusion matrix at probability 0.5, and the range of the probabilities."""
    probability_N = torch.sigmoid(logits_N.double())
    positive_N, predicted_N = labels_N > 0.5, probability_N >= 0.5
    cells = {
        "tn": ~predicted_N & ~positive_N,
        "fp": predicted_N & ~positive_N,
        "fn": ~predicted_N & positive_N,
        "tp": predicted_N & positive_N,
    }
    return {
        "confusion_matrix": {name: int(cell_N.sum()) for name, cell_N in cells.items()},
        "predictions": _range(probability_N),
    }


# --- several classes ------------------------------------------------------------------------------------------------


def multiclass_measure(logits_NC: Tensor, labels_N: Tensor) -> Measure:
    """Accuracy; precision, recall, F1 and one-against-rest areas as plain means over the classes that occur; Brier.

    `brier` is summed over the classes, as in Brier (1950): from 0 to 2.
    """
    classes = logits_NC.shape[1]
    probability_NC = torch.softmax(logits_NC.double(), dim=1)
    label_NC = torch.nn.functional.one_hot(labels_N.long(), classes).double()
    predicted_NC = torch.nn.functional.one_hot(probability_NC.argmax(1), classes).double()
    squares_N = ((probability_NC - label_NC) ** 2).sum(1)
    occurs_C = label_NC.sum(0) > 0
    right_NC = label_NC * predicted_NC
    by_class = [one_NC[:, occurs_C] for one_NC in (right_NC, label_NC, predicted_NC)]
    columns_NK = torch.cat([*by_class, right_NC.sum(1, keepdim=True), squares_N[:, None]], dim=1)
    areas = [_areas(probability_NC[:, c], labels_N.long() == c) for c in occurs_C.nonzero()[:, 0].tolist()]

    def measure(weights_N: Tensor) -> dict[str, Tensor]:
        windows = weights_N.sum()
        *counts, (right, squares) = torch.split(weights_N @ columns_NK, [len(areas)] * 3 + [2])
        true_C, label_C, predicted_C = counts
        auc_C, pr_auc_C = (torch.stack(area) for area in zip(*(one(weights_N) for one in areas), strict=True))
        return {
            "accuracy": right / windows,
            "auc": auc_C.mean(),
            "pr_auc": pr_auc_C.mean(),
            # A class that occurs but is never predicted has precision 0.
            "precision": (true_C / predicted_C.clamp(min=1)).mean(),
            "recall": (true_C / label_C).mean(),
            "f1": (2 * true_C / (label_C + predicted_C)).mean(),
            "brier": squares / windows,
        }

    return measure


def multiclass_details(logits_NC: Tensor, labels_N: Tensor) -> dict[str, Any]:
    """The confusion matrix by rows of true classes, and the range of the largest probabilities."""
    classes = logits_NC.shape[1]
    probability_NC = torch.softmax(logits_NC.double(), dim=1)
    flat_N = labels_N.long() * classes + probability_NC.argmax(1)
    matrix = torch.bincount(flat_N, minlength=classes * classes).reshape(classes, classes)
    return {
        "confusion_matrix": matrix.tolist(),
        "predictions": _range(probability_NC.max(1).values)
        | {"most_common_share": float(matrix.sum(0).max() / matrix.sum())},
    }


# --- forecasts ------------------------------------------------------------------------------------------------------


def forecast_measure(
    outputs_NC: Tensor, labels_N: Tensor, *, point: int = 0, quantiles: Sequence[float] | None = None
) -> Measure:
    """Mean absolute and root mean squared error, share of correct signs and R² of the forecast, column `point`.

    With `quantiles`, one for each column: `pinball`, the mean loss over them, and `coverage`, the share of labels from
    the lowest to the highest one.
    """
    outputs_NC, labels_N = outputs_NC.double(), labels_N.double()
    forecast_N, centred_N = outputs_NC[:, point], labels_N - labels_N.mean()
    error_N = forecast_N - labels_N
    right_N = (torch.sign(forecast_N) == torch.sign(labels_N)).double()
    columns = [error_N.abs(), error_N**2, right_N, centred_N, centred_N**2]
    if quantiles is not None:
        covered_N = (outputs_NC[:, 0] <= labels_N) & (labels_N <= outputs_NC[:, -1])
        columns += [pinball(outputs_NC, labels_N, torch.tensor(quantiles, dtype=torch.float64)), covered_N.double()]
    columns_NK = torch.stack(columns, dim=1)

    def measure(weights_N: Tensor) -> dict[str, Tensor]:
        mae, mse, right, mean, square, *rest = weights_N @ columns_NK / weights_N.sum()
        spread = square - mean**2
        found = {
            "mae": mae,
            "rmse": mse.sqrt(),
            "sign_accuracy": right,
            "r2": torch.where(spread > 0, 1 - mse / spread, torch.nan),
        }
        return found | dict(zip(("pinball", "coverage"), rest, strict=False))

    return measure


def forecast_details(outputs_NC: Tensor, labels_N: Tensor, *, point: int = 0) -> dict[str, Any]:
    """The range of the forecasts."""
    return {"predictions": _range(outputs_NC[:, point].double())}


# --- shared ---------------------------------------------------------------------------------------------------------


def _areas(scores_N: Tensor, positive_N: Tensor) -> Callable[[Tensor], tuple[Tensor, Tensor]]:
    """Maps weights to the areas under the ROC and the precision-recall curve; the windows are sorted only once."""
    _, group_N, size_G = torch.unique(scores_N.double(), return_inverse=True, return_counts=True)
    order_N = torch.argsort(group_N, stable=True)
    last_G = size_G.cumsum(0) - 1
    sorted_N = positive_N[order_N].double()

    def areas(weights_N: Tensor) -> tuple[Tensor, Tensor]:
        weights_N = weights_N[order_N]
        # Up to and including each distinct score, and below it.
        all_G, positive_G = weights_N.cumsum(0)[last_G], (weights_N * sorted_N).cumsum(0)[last_G]
        all_below_G, positive_below_G = (torch.nn.functional.pad(one, (1, 0))[:-1] for one in (all_G, positive_G))
        here_G = positive_G - positive_below_G
        positives, windows = positive_G[-1], all_G[-1]
        # A positive beats the negatives below it, and half of those with its own score.
        beaten_G = (all_G - positive_G + all_below_G - positive_below_G) / 2
        auc = (here_G * beaten_G).sum() / (positives * (windows - positives))
        precision_G = (positives - positive_below_G) / (windows - all_below_G).clamp(min=1)
        return auc, (here_G * precision_G).sum() / positives

    return areas


def _range(values_N: Tensor) -> dict[str, float]:
    return {
        "min": float(values_N.min()),
        "max": float(values_N.max()),
        "mean": float(values_N.mean()),
        "std": float(values_N.std(unbiased=False)),
    }
