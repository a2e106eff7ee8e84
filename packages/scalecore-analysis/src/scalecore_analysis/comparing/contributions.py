"""A metric by window: contributions whose mean is the metric, so that two models can be compared window by window.

A metric that is a mean over windows is the mean of its contributions. Another one, such as the area under the ROC, is
written as its value plus the influence of each window, which is its derivative by the window's weight (infinitesimal
jackknife, Efron 1982; for the area the method of DeLong, DeLong and Clarke-Pearson 1988).
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from scalecore.api.predictions import Predictions

__all__ = ["contributions"]

Floats = npt.NDArray[np.float64]


def contributions(predictions: Predictions, metric: str, places: npt.NDArray[np.intp]) -> Floats | None:
    """The contributions of the windows at `places`; None if the metric has none here, or is undefined on them."""
    if metric == "val_loss":
        return predictions.losses()[places]
    outputs, labels = predictions.outputs[places].astype(np.float64), predictions.labels[places].astype(np.float64)
    with np.errstate(divide="ignore", invalid="ignore"):
        match predictions.about["task"]:
            case "binary":
                found = _binary(outputs[:, 0], labels > 0.5, metric)
            case "multiclass":
                found = _multiclass(outputs, labels.astype(np.int64), metric)
            case _:
                found = _forecast(outputs[:, predictions.about["point"]], labels, metric)
    return found if found is not None and np.isfinite(found).all() else None


def _binary(logits: Floats, positive: npt.NDArray[np.bool_], metric: str) -> Floats | None:
    label, predicted = positive.astype(np.float64), (logits >= 0).astype(np.float64)
    hits = label * predicted
    match metric:
        case "accuracy":
            return np.equal(label, predicted).astype(np.float64)
        case "brier":
            squares: Floats = (1 / (1 + np.exp(-logits)) - label) ** 2
            return squares
        case "auc":
            return _area(logits, positive)
        case "precision":
            return _ratio(hits, predicted)
        case "recall":
            return _ratio(hits, label)
        case "f1":
            return _ratio(2 * hits, predicted + label)
    return None


def _multiclass(logits: Floats, labels: npt.NDArray[np.int64], metric: str) -> Floats | None:
    match metric:
        case "accuracy":
            right: Floats = np.equal(logits.argmax(axis=1), labels).astype(np.float64)
            return right
        case "brier":
            exponentials = np.exp(logits - logits.max(axis=1, keepdims=True))
            shares = exponentials / exponentials.sum(axis=1, keepdims=True)
            squares: Floats = ((shares - np.eye(logits.shape[1])[labels]) ** 2).sum(axis=1)
            return squares
    return None


def _forecast(forecast: Floats, labels: Floats, metric: str) -> Floats | None:
    error, spread = forecast - labels, (labels - labels.mean()) ** 2
    match metric:
        case "mae":
            absolute: Floats = np.abs(error)
            return absolute
        case "sign_accuracy":
            return np.equal(np.sign(forecast), np.sign(labels)).astype(np.float64)
        case "rmse":
            root = float(np.sqrt((error**2).mean()))
            roots: Floats = root + (error**2 - root**2) / (2 * root)
            return roots
        case "r2":
            explained: Floats = 1 - _ratio(error**2, spread)
            return explained
    return None


def _ratio(above: Floats, below: Floats) -> Floats:
    """The contributions of a ratio of two means."""
    value = above.mean() / below.mean()
    found: Floats = value + (above - value * below) / below.mean()
    return found


def _area(scores: Floats, positive: npt.NDArray[np.bool_]) -> Floats:
    """Of the area under the ROC, with ties as half: how much of the other class a window is right about."""
    low, high = np.sort(scores[~positive]), np.sort(scores[positive])
    # The share of negatives below a positive, and of positives above a negative.
    below = (np.searchsorted(low, scores, side="left") + np.searchsorted(low, scores, side="right")) / (2 * len(low))
    above = 1 - (np.searchsorted(high, scores, side="left") + np.searchsorted(high, scores, side="right")) / (
        2 * len(high)
    )
    share = positive.mean()
    value = below[positive].mean()
    found: Floats = value + np.where(positive, (below - value) / share, (above - value) / (1 - share))
    return found
