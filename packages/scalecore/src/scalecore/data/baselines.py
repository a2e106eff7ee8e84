"""Baselines: simple rules evaluated on the validation windows, shown next to every result (guard G09).

They are fit on training windows, once per study and split, and use no test window. At row t they use the rows up to t
and the labels that are known by then, like a model.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from attrs import asdict, evolve, field, frozen

from scalecore.api.data_report import BaselineReport
from scalecore.api.record_parts import MetricInterval
from scalecore.api.targets import Target
from scalecore.data.intervals import NOT_NEGATIVE, mean_interval
from scalecore.data.measures import area_under_roc
from scalecore.data.normalise import input_rows
from scalecore.data.regression import (
    applied,
    cross_entropies,
    linear_regression,
    logistic_regression,
    probabilities,
    standardised,
)

VOLATILITY_ROWS = (5, 20, 60)
"""Numbers of trailing rows for the volatilities: about a week, a month and a quarter of trading days."""

Floats = npt.NDArray[np.float64]
Rows = npt.NDArray[np.int64]


@frozen(kw_only=True, eq=False)
class Baseline:
    """The result of a simple rule on the validation windows. If it cannot be computed, it has a `reason` and no loss.

    `loss` is the mean over windows: binary cross-entropy or cross-entropy in nats, for a forecast the squared error.
    `over_prior` is the mean difference to the loss of the constant prior, window by window: below 0 the rule is better
    than the base rate. `accuracy` (at probability 0.5, or of the most probable class) and `auc` (for several classes
    the mean of one-against-rest) are None for a forecast. Intervals are 95 % intervals over windows; they are None if
    there are too few.
    """

    name: str
    text: str
    """A one-line description."""
    reason: str | None = None
    loss: float | None = None
    loss_interval: MetricInterval | None = None
    over_prior: float | None = None
    over_prior_interval: MetricInterval | None = None
    accuracy: float | None = None
    auc: float | None = None
    outputs: Floats | None = field(default=None, repr=False)
    """[windows, outputs] logits or forecasts, for paired comparisons with a trial; not part of the JSON form."""

    def report(self) -> BaselineReport:
        """Return all fields except `outputs`."""
        return BaselineReport(**asdict(self, recurse=False, filter=lambda one, _: one.name != "outputs"))


def baselines(
    values: npt.NDArray[np.floating[Any]],
    labels: npt.NDArray[np.floating[Any]],
    *,
    train: Rows,
    val: Rows,
    features: Sequence[str],
    target: Target,
    context: int,
) -> list[Baseline]:
    """Compute all baselines of a split, the constant prior first.

    `values` [rows, features] are raw, because prices are read from them; `labels` are [rows]; `train` and `val` are the
    last rows of the windows, all with known labels.

    - `prior`: the class frequencies in training; for a forecast the training mean.
    - `zero`: for forecasts only.
    - `previous_label`: the class frequencies in training after the last known label, that of row t - horizon. Each
      count includes one more window, distributed like the prior, so that no frequency is 0. A forecast repeats the
      last known label.
    - `last_values`: regression on the features of row t.
    - `volatility`: regression on the logarithms of the standard deviation of the close's log returns over the last 5,
      20 and 60 rows. Only lengths within the context are used, so that it sees the same rows as a model, and the proof
      that parts share no row covers it (G54).

    Regressions are logistic, or linear for a forecast, on features standardised over training. The ridge penalty is
    features * overlap / windows in training. This is a normal prior under which all features together change a logit by
    about 1 (a forecast by the noise of the labels), with overlapping windows counted once. It uses no validation
    window.
    """
    end = int(max(train[-1], val[-1])) + 1
    data = _Data(
        values=values[:end].astype(np.float64),
        labels=labels[:end].astype(np.float64),
        train=train,
        val=val,
        features=features,
        target=target,
        context=context,
    )
    result: list[Baseline] = []
    losses_of_prior: Floats | None = None
    for name, text, rule in _rules(data):
        try:
            outputs = rule(data)
            losses = _losses(outputs, data)
        except _ImpossibleError as impossible:
            result.append(Baseline(name=name, text=text, reason=str(impossible)))
            continue
        accuracy, auc = _accuracy_and_auc(outputs, data)
        baseline = Baseline(
            name=name,
            text=text,
            loss=float(losses.mean()),
            loss_interval=mean_interval(losses, overlap=data.overlap, bounds=NOT_NEGATIVE),
            accuracy=accuracy,
            auc=auc,
            outputs=outputs,
        )
        if name == "prior":
            losses_of_prior = losses
        elif losses_of_prior is not None:
            difference = losses - losses_of_prior
            baseline = evolve(
                baseline,
                over_prior=float(difference.mean()),
                over_prior_interval=mean_interval(difference, overlap=data.overlap),
            )
        result.append(baseline)
    return result


@frozen(kw_only=True, eq=False)
class _Data:
    """The input of the rules, cut after the last window of training and validation."""

    values: Floats
    labels: Floats
    train: Rows
    val: Rows
    features: Sequence[str]
    target: Target
    context: int

    @property
    def is_forecast(self) -> bool:
        return self.target.task == "forecast"

    @property
    def overlap(self) -> int:
        return max(1, self.target.label_span)

    @property
    def classes(self) -> int:
        return 2 if self.target.task == "binary" else self.target.outputs

    @property
    def counts(self) -> Rows:
        """[classes] training windows of each class."""
        return np.bincount(self.labels[self.train].astype(np.int64), minlength=self.classes)


class _ImpossibleError(Exception):
    """The reason why a baseline cannot be computed."""


def _rules(data: _Data) -> list[tuple[str, str, Callable[[_Data], Floats]]]:
    """Return name, text and rule of each baseline of the task; a rule returns outputs [validation windows, outputs]."""
    kind = "linear regression" if data.is_forecast else "logistic regression"
    mean = "training mean" if data.is_forecast else "class frequencies in training"
    before = "one row" if data.overlap == 1 else f"{data.overlap} rows"
    after = "" if data.is_forecast else ", with its transition frequencies in training"
    rules: list[tuple[str, str, Callable[[_Data], Floats]]] = [("prior", f"constant: {mean}", _prior)]
    if data.is_forecast:
        rules.append(("zero", "constant: 0", lambda data: np.zeros((len(data.val), 1))))
    return [
        *rules,
        ("previous_label", f"persistence: the label {before} earlier{after}", _previous_label),
        ("last_values", f"{kind} on the features of the last row", _last_values),
        ("volatility", f"{kind} on trailing volatility of the close", _volatility),
    ]


def _prior(data: _Data) -> Floats:
    if data.is_forecast:
        return np.full((len(data.val), 1), data.labels[data.train].mean())
    return _logits(np.tile(data.counts / len(data.train), (len(data.val), 1)), data)


def _previous_label(data: _Data) -> Floats:
    # The label of row s is known at row s + overlap; using it earlier would leak the answer.
    known = np.concatenate([np.full(data.overlap, np.nan), data.labels[: -data.overlap]])
    before = known[data.val]
    if data.is_forecast:
        return np.where(np.isnan(before), data.labels[data.train].mean(), before)[:, None]
    train = data.train[~np.isnan(known[data.train])]
    counts = np.zeros((data.classes + 1, data.classes))
    np.add.at(counts, (known[train].astype(np.int64), data.labels[train].astype(np.int64)), 1.0)
    # The last row stays empty: without a known label, only the prior applies.
    counts += data.counts / len(data.train)
    state = np.where(np.isnan(before), data.classes, before).astype(np.int64)
    return _logits((counts / counts.sum(axis=1, keepdims=True))[state], data)


def _last_values(data: _Data) -> Floats:
    ends = np.concatenate([data.train, data.val])
    return _regression(data.values[ends], data)


def _volatility(data: _Data) -> Floats:
    column = _close_column(data)
    ends = np.concatenate([data.train, data.val])
    used = input_rows(ends, context=data.context, rows=len(data.values))
    close = data.values[:, column]
    if (close[used] <= 0).any():
        raise _ImpossibleError(f"{data.features[column]!r} is not always positive, so it is not a price")
    spans = [rows for rows in VOLATILITY_ROWS if rows <= data.context]
    if not spans:
        raise _ImpossibleError(f"the context of {data.context} rows is shorter than {VOLATILITY_ROWS[0]}")
    returns = np.diff(np.log(np.where(used, close, 1.0)))
    columns = []
    for rows in spans:
        spread = np.lib.stride_tricks.sliding_window_view(returns, rows - 1)[ends - rows + 1].std(axis=1)
        # The spread of a constant price has no logarithm: the minimum is the smallest positive spread in training.
        moved = spread[: len(data.train)]
        least = moved[moved > 0].min(initial=np.inf)
        columns.append(np.log(np.maximum(spread, least)) if np.isfinite(least) else np.zeros(len(ends)))
    return _regression(np.column_stack(columns), data)


def _close_column(data: _Data) -> int:
    """Return the column of the close that the target reads, ignoring case if necessary."""
    wanted = data.target.columns.get("close", "close")
    for spelling in (str, str.lower):
        found = [number for number, name in enumerate(data.features) if spelling(name) == spelling(wanted)]
        if len(found) == 1:
            return found[0]
    raise _ImpossibleError(f"no feature is the closing price {wanted!r}")


def _regression(x: Floats, data: _Data) -> Floats:
    """Return outputs from `x`, the features of the training windows followed by those of the validation windows."""
    count = len(data.train)
    x = standardised(x, fit_rows=count)
    if not x.shape[1]:
        raise _ImpossibleError("no feature varies in training")
    penalty = x.shape[1] * data.overlap / count
    labels = data.labels[data.train]
    if data.is_forecast:
        coefficients = linear_regression(x[:count], labels, penalty=penalty)
        return applied(coefficients, x[count:])
    if not data.counts.all():
        raise _ImpossibleError(f"class {int(data.counts.argmin())} has no training window")
    fitted = logistic_regression(x[:count], labels.astype(np.int64), outputs=data.target.outputs, penalty=penalty)
    if fitted is None:
        raise _ImpossibleError("the fit did not converge")
    return applied(fitted, x[count:])


def _logits(chances: Floats, data: _Data) -> Floats:
    """Convert probabilities [n, classes] to log odds [n, 1] for a binary target, otherwise to logarithms."""
    with np.errstate(divide="ignore"):
        logs: Floats = np.log(chances)
    return logs[:, 1:] - logs[:, :1] if data.target.task == "binary" else logs


def _losses(outputs: Floats, data: _Data) -> Floats:
    """[validation windows]"""
    labels = data.labels[data.val]
    if data.is_forecast:
        squares: Floats = (outputs[:, 0] - labels) ** 2
        return squares
    losses = cross_entropies(outputs, labels.astype(np.int64))
    if not np.isfinite(losses).all():
        label = labels[~np.isfinite(losses)][0]
        raise _ImpossibleError(f"class {label:g} occurs in validation but not in training: the loss is infinite")
    return losses


def _accuracy_and_auc(outputs: Floats, data: _Data) -> tuple[float | None, float | None]:
    """Compute accuracy and AUC as the trainer defines them."""
    if data.is_forecast:
        return None, None
    labels, chances = data.labels[data.val], probabilities(outputs)
    if data.target.task == "binary":
        return float(((chances[:, 0] >= 0.5) == (labels == 1)).mean()), area_under_roc(outputs[:, 0], labels == 1)
    found = [area_under_roc(chances[:, number], labels == number) for number in range(data.classes)]
    known = [auc for auc in found if auc is not None]
    return float((chances.argmax(axis=1) == labels).mean()), sum(known) / len(known) if known else None
