"""Metrics of a whole split from its logits, for the windows themselves and for many resamples at once.

Every metric is one function of the windows' counts: counts of one return its value, the counts of the block bootstrap
its interval. These hundred lines of torch replace scikit-learn or torchmetrics: neither computes a metric over a
thousand resamples at once, and importing either would take tens of times as long as all metrics of an epoch. Tests
compare each metric with scikit-learn.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from scalecore_torch.training.losses import pinball

Measure = Callable[[Tensor], dict[str, Tensor]]
"""Maps counts [resamples, windows], float64, to each metric [resamples]; NaN if undefined."""


def values_of(measure: Measure, *, windows: int) -> dict[str, float | None]:
    """The metrics of the windows themselves; None for an undefined one."""
    found = measure(torch.ones(1, windows, dtype=torch.float64))
    return {name: None if math.isnan(value := float(one[0])) else value for name, one in found.items()}


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

    def measure(counts_RN: Tensor) -> dict[str, Tensor]:
        windows_R = counts_RN.sum(1)
        hits_R, predicted_R, positive_R, right_R, squares_R = (counts_RN @ columns_NK).unbind(1)
        auc_R, pr_auc_R = areas(counts_RN)
        return {
            "accuracy": right_R / windows_R,
            "auc": auc_R,
            "pr_auc": pr_auc_R,
            "precision": hits_R / predicted_R,
            "recall": hits_R / positive_R,
            # Without a true positive this form is 0, not undefined.
            "f1": 2 * hits_R / (predicted_R + positive_R),
            "brier": squares_R / windows_R,
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
    columns_NK = torch.cat([label_NC * predicted_NC, label_NC, predicted_NC, squares_N[:, None]], dim=1)
    areas = [_areas(probability_NC[:, c], labels_N.long() == c) for c in range(classes)]

    def measure(counts_RN: Tensor) -> dict[str, Tensor]:
        windows_R = counts_RN.sum(1)
        true_RC, label_RC, predicted_RC, squares_R1 = torch.split(counts_RN @ columns_NK, [classes] * 3 + [1], dim=1)
        occurs_RC = label_RC > 0

        def mean(value_RC: Tensor) -> Tensor:
            """Over the classes that occur."""
            return (value_RC * occurs_RC).sum(1) / occurs_RC.sum(1)

        auc_RC, pr_auc_RC = (torch.stack(area, dim=1) for area in zip(*(one(counts_RN) for one in areas), strict=True))
        return {
            "accuracy": true_RC.sum(1) / windows_R,
            "auc": auc_RC.nanmean(1),
            "pr_auc": pr_auc_RC.nanmean(1),
            # A class that occurs but is never predicted has precision 0.
            "precision": mean(true_RC / predicted_RC.clamp(min=1)),
            "recall": mean(true_RC / label_RC.clamp(min=1)),
            "f1": mean(2 * true_RC / (label_RC + predicted_RC).clamp(min=1)),
            "brier": squares_R1[:, 0] / windows_R,
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

    def measure(counts_RN: Tensor) -> dict[str, Tensor]:
        mae_R, mse_R, right_R, mean_R, square_R, *rest = (counts_RN @ columns_NK / counts_RN.sum(1)[:, None]).unbind(1)
        spread_R = square_R - mean_R**2
        found = {
            "mae": mae_R,
            "rmse": mse_R.sqrt(),
            "sign_accuracy": right_R,
            "r2": torch.where(spread_R > 0, 1 - mse_R / spread_R, torch.nan),
        }
        return found | dict(zip(("pinball", "coverage"), rest, strict=False))

    return measure


def forecast_details(outputs_NC: Tensor, labels_N: Tensor, *, point: int = 0) -> dict[str, Any]:
    """The range of the forecasts."""
    return {"predictions": _range(outputs_NC[:, point].double())}


# --- shared ---------------------------------------------------------------------------------------------------------


def _areas(scores_N: Tensor, positive_N: Tensor) -> Callable[[Tensor], tuple[Tensor, Tensor]]:
    """Maps counts to the areas under the ROC and the precision-recall curve; the windows are sorted only once."""
    _, group_N, size_G = torch.unique(scores_N.double(), return_inverse=True, return_counts=True)
    order_N = torch.argsort(group_N, stable=True)
    last_G = size_G.cumsum(0) - 1
    sorted_N = positive_N[order_N].double()

    def areas(counts_RN: Tensor) -> tuple[Tensor, Tensor]:
        counts_RN = counts_RN[:, order_N]
        # Up to and including each distinct score, and below it.
        all_RG = counts_RN.cumsum(1)[:, last_G]
        positive_RG = (counts_RN * sorted_N).cumsum(1)[:, last_G]
        all_below_RG, positive_below_RG = (
            torch.nn.functional.pad(one, (1, 0))[:, :-1] for one in (all_RG, positive_RG)
        )
        here_RG = positive_RG - positive_below_RG
        positives_R, windows_R = positive_RG[:, -1], all_RG[:, -1]
        # A positive beats the negatives below it, and half of those with its own score.
        beaten_RG = (all_RG - positive_RG + all_below_RG - positive_below_RG) / 2
        auc_R = (here_RG * beaten_RG).sum(1) / (positives_R * (windows_R - positives_R))
        called_RG = windows_R[:, None] - all_below_RG
        precision_RG = (positives_R[:, None] - positive_below_RG) / called_RG.clamp(min=1)
        return auc_R, (here_RG * precision_RG).sum(1) / positives_R

    return areas


def _range(values_N: Tensor) -> dict[str, float]:
    return {
        "min": float(values_N.min()),
        "max": float(values_N.max()),
        "mean": float(values_N.mean()),
        "std": float(values_N.std(unbiased=False)),
    }
