"""A decision threshold for a binary target, chosen on validation windows and never on test windows (guard G15).

A window is decided as positive if its `probability`, the model's own without a calibrator, is at least the threshold.
The threshold therefore stays valid if a calibrator is added or removed.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal, get_args

import numpy as np
import numpy.typing as npt
from attrs import evolve, frozen

from scalecore.api.data import probabilities
from scalecore.api.engine import structured
from scalecore.api.errors import DataError, RefusedError
from scalecore.api.files import plain
from scalecore.api.predictions import Predictions
from scalecore.api.record_parts import MetricInterval
from scalecore.api.statistics import half_width, interval_around, mean_errors

Criterion = Literal["mcc", "f1", "balanced_accuracy"]
CRITERIA: tuple[Criterion, ...] = get_args(Criterion)
DEFAULT = 0.5
POINTS = 101
"""Maximum number of points of a stored curve."""
OF_THE_TASK = ("accuracy", "precision", "recall", "f1")
"""Metrics of the task that depend on the threshold."""
FURTHER = {"mcc": (-1.0, 1.0), "balanced_accuracy": (0.0, 1.0), "predicted_share": (0.0, 1.0)}
"""Metrics of decisions that the task does not have, with their bounds."""
STEP = 1e-6
"""Of the derivatives by the shares of the four kinds of windows."""

Floats = npt.NDArray[np.float64]


@frozen(kw_only=True)
class ResultsAtThreshold:
    """Results of one part of the data; a metric without a value, such as a precision without positives, is None."""

    threshold: float
    windows: int
    metrics: Mapping[str, float | None]
    intervals: Mapping[str, MetricInterval | None]
    confusion_matrix: Mapping[str, int]


@frozen(kw_only=True)
class ThresholdResults:
    """The results at the threshold in `evaluation.json`, and those of the test windows at 0.5 beside them."""

    criterion: Criterion
    value: float
    chosen: bool
    criteria: Sequence[str]
    """All criteria by which this model was evaluated: choosing one by its test results makes them optimistic."""
    validation: ResultsAtThreshold
    """Optimistic, since the threshold was chosen on the same windows."""
    test: ResultsAtThreshold
    test_at_half: ResultsAtThreshold

    def to_json(self) -> dict[str, Any]:
        """Return all fields as strict JSON types."""
        content: dict[str, Any] = plain(self)
        return content


@frozen(kw_only=True)
class DecisionThreshold:
    """The threshold in `model.json`, with its curve over the validation windows."""

    value: float
    criterion: Criterion
    chosen: bool
    """False if no threshold could be chosen: `value` is then 0.5."""
    reason: str
    least: int
    """Effective windows that must be decided as positive, and as negative."""
    curve: Mapping[str, Sequence[float | None]]
    """Columns of equal length, by rising `threshold`."""

    def decide(self, probability: Floats) -> npt.NDArray[np.int64]:
        """1 for windows [windows] whose uncalibrated probability reaches the threshold, else 0."""
        return (probability >= self.value).astype(np.int64)

    def to_json(self) -> dict[str, Any]:
        """Return all fields as strict JSON types."""
        content: dict[str, Any] = plain(self)
        return content


@frozen(kw_only=True, eq=False)
class _Counts:
    """Windows by decision and label at each of several thresholds, rising."""

    thresholds: Floats
    tp: Floats
    fp: Floats
    fn: Floats
    tn: Floats

    @classmethod
    def of(cls, chances: Floats, labels: npt.NDArray[np.bool_]) -> _Counts:
        """At every threshold that changes a decision: between two distinct probabilities, and below the lowest one.

        Equal probabilities are decided alike. Halfway between two of them, a rounding error changes no decision.
        """
        distinct, group, sizes = np.unique(chances, return_inverse=True, return_counts=True)
        positives = np.bincount(group, weights=labels, minlength=len(distinct)).astype(np.float64)
        below = np.concatenate([[0.0], distinct[:-1]])
        middle = (below + distinct) / 2
        # Windows at least as probable as each distinct probability.
        predicted = np.cumsum(sizes[::-1])[::-1].astype(np.float64)
        tp: Floats = np.cumsum(positives[::-1])[::-1]
        fp, fn = predicted - tp, labels.sum() - tp
        return cls(
            thresholds=np.where(middle > below, middle, distinct), tp=tp, fp=fp, fn=fn, tn=len(labels) - tp - fp - fn
        )

    def columns(self) -> dict[str, Floats]:
        """The rates at each threshold; NaN if undefined."""
        tp, fp, fn, tn = self.tp, self.fp, self.fn, self.tn
        with np.errstate(divide="ignore", invalid="ignore"):
            sides = np.sqrt(tp + fp) * np.sqrt(tp + fn) * np.sqrt(tn + fp) * np.sqrt(tn + fn)
            return {
                "threshold": self.thresholds,
                "precision": tp / (tp + fp),
                "recall": tp / (tp + fn),
                "f1": 2 * tp / (2 * tp + fp + fn),
                "mcc": (tp * tn - fp * fn) / sides,
                "balanced_accuracy": (tp / (tp + fn) + tn / (tn + fp)) / 2,
                "predicted_share": (tp + fp) / (tp + fp + fn + tn),
            }


def choose_threshold(
    validation: Predictions, *, criterion: Criterion = "mcc", overlap: int, least: int
) -> DecisionThreshold:
    """The threshold with the best criterion on validation windows; among equal ones the one nearest to 0.5.

    At least `least` effective windows (windows // overlap) must be decided as positive and as many as negative, so that
    no threshold wins by a few windows (guard G19), and none decides all windows alike. Without such a threshold, or one
    better than chance by the criterion, the value is 0.5. Raises `RefusedError` for predictions of another part.
    """
    if validation.about["part"] != "val":
        raise RefusedError(
            f"a decision threshold is chosen on validation windows, never on the part {validation.about['part']!r}",
            guard="G15",
        )
    chances, labels = _chances(validation), validation.labels > 0.5
    counts, least = _Counts.of(chances, labels), max(1, least)
    columns = counts.columns()
    positive, negative = counts.tp + counts.fp, counts.fn + counts.tn
    allowed = (np.minimum(positive, negative) // overlap >= least) & np.isfinite(columns[criterion])
    decided = DecisionThreshold(
        value=DEFAULT, criterion=criterion, chosen=False, reason="", least=least, curve=_curve(columns, None)
    )
    windows = f"{len(labels):,} validation windows, {int(labels.sum()):,} positive"
    if not allowed.any():
        sides = f"at least {least} effective windows as positive and {least} as negative"
        return evolve(decided, reason=f"0.5, because no threshold decides {sides} ({windows})")
    values = np.where(allowed, columns[criterion], -np.inf)
    best = float(values.max())
    if best <= _chance(criterion, labels):
        return evolve(decided, reason=f"0.5, because by {criterion} no threshold is better than chance ({windows})")
    ties = np.flatnonzero(values == best)
    at = int(ties[np.argmin(np.abs(counts.thresholds[ties] - DEFAULT))])
    return evolve(
        decided,
        value=float(counts.thresholds[at]),
        chosen=True,
        reason=f"largest {criterion} on {windows}",
        curve=_curve(columns, at),
    )


def results_at(threshold: float, predictions: Predictions, *, overlap: int) -> ResultsAtThreshold:
    """Metrics of the decisions at a threshold, with the intervals that metrics of a trial have."""
    import torch

    from scalecore_torch.api import metric_intervals, task_named

    # Decisions at this threshold are those at 0.5 of shifted logits.
    shift = np.log(threshold) - np.log(max(1 - threshold, np.finfo(float).tiny))
    logits_NC = torch.from_numpy(predictions.outputs.astype(np.float64) - shift)
    labels_N = torch.from_numpy(predictions.labels.astype(np.float64))
    task = task_named("binary")
    found, (intervals, _) = (
        task.metrics(logits_NC, labels_N),
        metric_intervals(task, logits_NC, labels_N, overlap=overlap),
    )
    matrix: dict[str, int] = found["confusion_matrix"]
    decisions = logits_NC[:, 0].numpy() >= 0
    cells = {name: np.array([float(count)]) for name, count in matrix.items()}
    rates = _Counts(thresholds=np.array([threshold]), **cells).columns()
    metrics = {name: found[name] for name in OF_THE_TASK}
    metrics |= {name: _number(rates[name][0]) for name in FURTHER}
    return ResultsAtThreshold(
        threshold=threshold,
        windows=len(predictions),
        metrics=metrics,
        intervals={name: None if (one := intervals[name]) is None else MetricInterval(**one) for name in OF_THE_TASK}
        | _further_intervals(decisions, labels_N.numpy() > 0.5, overlap=overlap),
        confusion_matrix=matrix,
    )


def _further_intervals(
    decisions: npt.NDArray[np.bool_], labels: npt.NDArray[np.bool_], *, overlap: int
) -> dict[str, MetricInterval | None]:
    """Intervals of `FURTHER`, like those of a trial's metrics from the influences of the windows (guard G18)."""
    kinds = np.stack([decisions & labels, decisions & ~labels, ~decisions & labels, ~decisions & ~labels]).astype(float)
    steps = STEP * np.concatenate([np.zeros((1, 4)), np.eye(4), -np.eye(4)])
    tp, fp, fn, tn = (kinds.mean(axis=1) + steps).T
    columns = _Counts(thresholds=tp, tp=tp, fp=fp, fn=fn, tn=tn).columns()
    found: dict[str, MetricInterval | None] = {}
    for name, bounds in FURTHER.items():
        value, up, down = columns[name][0], columns[name][1:5], columns[name][5:]
        errors = mean_errors((up - down) / (2 * STEP) @ kinds, overlap=overlap)
        known = len(errors) > 0 and np.isfinite([value, *errors]).all()
        half = float(half_width(errors)) if known else 0.0
        found[name] = interval_around(float(value), half, bounds=bounds, cosines=len(errors)) if half > 0 else None
    return found


def threshold_results(
    threshold: DecisionThreshold, *, validation: Predictions, test: Predictions, overlap: int, criteria: Sequence[str]
) -> ThresholdResults:
    """The results of a chosen threshold on both parts."""
    return ThresholdResults(
        criterion=threshold.criterion,
        value=threshold.value,
        chosen=threshold.chosen,
        criteria=criteria,
        validation=results_at(threshold.value, validation, overlap=overlap),
        test=results_at(threshold.value, test, overlap=overlap),
        test_at_half=results_at(DEFAULT, test, overlap=overlap),
    )


def threshold_from(content: object) -> DecisionThreshold:
    """Read the result of `to_json`; raise `DataError` if it is damaged."""
    return structured(DecisionThreshold, content, place="model.json: threshold", error=DataError)


def results_from(content: object) -> ThresholdResults:
    """Read the result of `to_json`; raise `DataError` if it is damaged."""
    return structured(ThresholdResults, content, place="evaluation.json: threshold", error=DataError)


def criteria_shown(earlier: object, criterion: Criterion) -> list[str]:
    """The criteria of earlier evaluations, from the content of their `evaluation.json`, and this one."""
    known = earlier.get("threshold") if isinstance(earlier, dict) else None
    return list(dict.fromkeys([*(known["criteria"] if known else ()), criterion]))


def _chances(predictions: Predictions) -> Floats:
    return probabilities(predictions.outputs.astype(np.float64))[:, 0]


def _chance(criterion: Criterion, labels: npt.NDArray[np.bool_]) -> float:
    """The criterion of decisions that ignore the model; F1 is then largest if all windows are positive."""
    share = float(labels.mean())
    return {"mcc": 0.0, "balanced_accuracy": 0.5, "f1": 2 * share / (1 + share)}[criterion]


def _curve(columns: Mapping[str, Floats], chosen: int | None) -> dict[str, list[float | None]]:
    """At most `POINTS` of the thresholds, evenly spaced in the order of windows, with the chosen one."""
    count = len(columns["threshold"])
    kept = np.unique(np.linspace(0, count - 1, min(POINTS, count)).round().astype(int))
    if chosen is not None and chosen not in kept:
        kept[np.argmin(np.abs(kept - chosen))] = chosen
    return {name: [_number(value) for value in column[kept]] for name, column in columns.items()}


def _number(value: float) -> float | None:
    return float(value) if np.isfinite(value) else None
