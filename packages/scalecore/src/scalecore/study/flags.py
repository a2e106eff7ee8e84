"""Flags of suspicious trial results, stored with the record and shown in reports."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from scalecore.api import formatting
from scalecore.api.data_report import DataReport
from scalecore.api.trials import TrialRecord, TrialState
from scalecore.data.rates import denominator

COLLAPSED_SPREAD = 0.01
"""Predictions whose standard deviation is below this share of the labels' count as constant."""
LEAK_SHARE = 0.5
"""A validation loss below this share of the constant prior's (forecasts: of the best simple rule's) suggests a leak."""
COMPARED = ("val_loss", "accuracy", "auc", "brier", "mae", "rmse")


def suspicions(best: Mapping[str, Any], *, data: DataReport, earlier: Sequence[TrialRecord]) -> list[dict[str, str]]:
    """Return the flags of a best epoch: constant predictions, one class for every window, metrics identical to another
    trial's (guard G09), or an implausibly low loss (G01). `earlier` are the study's finished trials.
    """
    found = [_collapsed(best, data), _one_class(best), _identical(best, earlier), _too_good(best, data)]
    return [flag for flag in found if flag is not None]


def small_denominator(line: Mapping[str, Any], *, metric: str, least: int) -> dict[str, str] | None:
    """Return the flag of an objective that is a rate over too few windows in `line`, the chosen epoch (guard G19)."""
    count = denominator(metric, line.get("confusion_matrix"))
    if count is None or count >= least:
        return None
    if line.get(metric) is None:
        text = f"{metric} is undefined because no window is predicted positive: it counts as the worst value"
    else:
        over = f"{count} window" + ("" if count == 1 else "s")
        text = f"{metric} {formatting.number(line[metric])} is a rate over {over}; a comparison requires {least}"
    return {"guard": "G19", "kind": "small_denominator", "text": text}


def _collapsed(best: Mapping[str, Any], data: DataReport) -> dict[str, str] | None:
    spread, predictions = _label_spread(data), best.get("predictions") or {}
    if not spread or predictions.get("std") is None or predictions["std"] >= COLLAPSED_SPREAD * spread:
        return None
    low, high = (formatting.number(predictions[end], like=spread) for end in ("min", "max"))
    text = (
        f"predicts a constant: its outputs at the best epoch are between {low} and {high}, "
        f"the labels' standard deviation is {formatting.number(spread)}"
    )
    return {"guard": "G09", "kind": "collapsed", "text": text}


def _one_class(best: Mapping[str, Any]) -> dict[str, str] | None:
    """Not a collapse: if one class is rare, well-calibrated probabilities may all be on one side of 0.5."""
    matrix = best.get("confusion_matrix")
    if matrix is None:
        return None
    if isinstance(matrix, Mapping):
        matrix = [[matrix["tn"], matrix["fp"]], [matrix["fn"], matrix["tp"]]]
    predicted = [number for number, column in enumerate(zip(*matrix, strict=True)) if sum(column)]
    if len(predicted) != 1:
        return None
    text = (
        f"predicts class {predicted[0]} for every window at the best epoch: its accuracy of {best['accuracy']:.4f} is "
        "the share of that class"
    )
    return {"guard": "G09", "kind": "one_class", "text": text}


def _identical(best: Mapping[str, Any], earlier: Sequence[TrialRecord]) -> dict[str, str] | None:
    numbers = [best.get(name) for name in COMPARED]
    for record in earlier:
        if record.state is not TrialState.COMPLETED or record.best is None:
            continue
        if [record.best.metrics.get(name) for name in COMPARED] == numbers:
            text = (
                f"all metrics are identical to those of trial {record.number}: the settings that differ have no "
                "effect, or both predict a constant"
            )
            return {"guard": "G09", "kind": "identical", "text": text}
    return None


def _too_good(best: Mapping[str, Any], data: DataReport) -> dict[str, str] | None:
    floor, source = data.parts["val"].prior_loss, "the constant prior's"
    if data.task == "forecast":
        # Repeating the last level forecasts far better than the mean, so the prior is too easy to beat.
        known = [one.loss for one in data.baselines if one.loss is not None]
        floor, source = min(known, default=floor), "the best baseline's"
    if not floor or best.get("val_loss") is None or best["val_loss"] >= LEAK_SHARE * floor:
        return None
    text = (
        f"validation loss {formatting.number(best['val_loss'])} is far below {source} {formatting.number(floor)}: "
        "check the features for a leak"
    )
    return {"guard": "G01", "kind": "too_good", "text": text}


def _label_spread(data: DataReport) -> float:
    """Standard deviation of the validation labels; for classes that of the indicator of the most frequent class."""
    part = data.parts["val"]
    if data.task == "forecast":
        return math.sqrt(part.entropy)  # for a forecast the variance
    share = max(part.classes or (0,)) / part.windows
    return math.sqrt(share * (1 - share))
