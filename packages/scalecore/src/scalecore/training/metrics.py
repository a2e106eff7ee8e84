"""Metrics of a whole split, computed once per epoch from its logits.

Torch, not scikit-learn, whose import costs as much as torch's.
"""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor

__all__ = ["binary_metrics", "forecast_metrics", "multiclass_metrics", "roc_auc"]


def roc_auc(scores_N: Tensor, positive_N: Tensor) -> float | None:
    """Area under the ROC curve; None where only one class occurs. Ties count half (Mann-Whitney U with mean ranks)."""
    positives = int(positive_N.sum())
    negatives = positive_N.numel() - positives
    if positives == 0 or negatives == 0:
        return None
    _, inverse, counts = torch.unique(scores_N.double(), return_inverse=True, return_counts=True)
    last_rank = counts.cumsum(0).double()
    mean_rank = last_rank - (counts.double() - 1) / 2
    rank_sum = float(mean_rank[inverse][positive_N].sum())
    return (rank_sum - positives * (positives + 1) / 2) / (positives * negatives)


def binary_metrics(logits_N: Tensor, labels_N: Tensor) -> dict[str, Any]:
    """Accuracy, AUC, precision, recall, F1 at probability 0.5, confusion matrix, and the range of the probabilities."""
    probability_N = torch.sigmoid(logits_N.double())
    positive_N = labels_N > 0.5
    predicted_N = probability_N >= 0.5
    tp = int((predicted_N & positive_N).sum())
    fp = int((predicted_N & ~positive_N).sum())
    fn = int((~predicted_N & positive_N).sum())
    tn = int((~predicted_N & ~positive_N).sum())
    precision = tp / (tp + fp) if tp + fp else None
    recall = tp / (tp + fn) if tp + fn else None
    return {
        "accuracy": (tp + tn) / max(tp + fp + fn + tn, 1),
        "auc": roc_auc(logits_N, positive_N),
        "precision": precision,
        "recall": recall,
        # With no true positive F1 is 0 by its other form, 2tp / (2tp + fp + fn).
        "f1": 2 * tp / (2 * tp + fp + fn) if tp + fp + fn else None,
        "confusion_matrix": {"tn": tn, "fp": fp, "fn": fn, "tp": tp},
        "predictions": _range(probability_N),
    }


def multiclass_metrics(logits_NC: Tensor, labels_N: Tensor) -> dict[str, Any]:
    """Accuracy, confusion matrix by rows; one-against-rest AUC, precision, recall, F1 as means over present classes."""
    classes = logits_NC.shape[1]
    probability_NC = torch.softmax(logits_NC.double(), dim=1)
    label_N = labels_N.long()
    predicted_N = probability_NC.argmax(1)
    matrix = torch.bincount(label_N * classes + predicted_N, minlength=classes * classes).reshape(classes, classes)
    true, of_label, of_prediction = matrix.diag().double(), matrix.sum(1).double(), matrix.sum(0).double()
    occurs = of_label > 0
    aucs = [roc_auc(probability_NC[:, c], label_N == c) for c in range(classes)]
    known = [auc for auc in aucs if auc is not None]
    return {
        "accuracy": float(true.sum() / matrix.sum()),
        "auc": sum(known) / len(known) if known else None,
        "precision": float((true / of_prediction.clamp(min=1))[occurs].mean()),
        "recall": float((true / of_label.clamp(min=1))[occurs].mean()),
        "f1": float((2 * true / (of_label + of_prediction).clamp(min=1))[occurs].mean()),
        "confusion_matrix": matrix.tolist(),
        "predictions": _range(probability_NC.max(1).values)
        | {"most_common_share": float(of_prediction.max() / matrix.sum())},
    }


def forecast_metrics(outputs_NC: Tensor, labels_N: Tensor) -> dict[str, Any]:
    """Mean absolute error, root mean squared error, share of right signs, R², and the range of the forecasts."""
    error_N = outputs_NC[:, 0].double() - labels_N.double()
    spread = float(((labels_N.double() - labels_N.double().mean()) ** 2).mean())
    mse = float((error_N**2).mean())
    return {
        "mae": float(error_N.abs().mean()),
        "rmse": math.sqrt(mse),
        "sign_accuracy": float((torch.sign(outputs_NC[:, 0]) == torch.sign(labels_N)).double().mean()),
        "r2": 1 - mse / spread if spread > 0 else None,
        "predictions": _range(outputs_NC[:, 0].double()),
    }


def _range(values_N: Tensor) -> dict[str, float]:
    return {
        "min": float(values_N.min()),
        "max": float(values_N.max()),
        "mean": float(values_N.mean()),
        "std": float(values_N.std(unbiased=False)),
    }
