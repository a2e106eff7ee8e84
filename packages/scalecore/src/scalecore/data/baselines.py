"""What simple rules reach on the validation windows: every result is shown beside them (guard G09).

They are fit on training windows, once for a study and split, and see no test window. At row t they know the rows up to
t and the labels whose future lies in these rows, as a model would at that time.
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
from scalecore.data.bootstrap import mean_interval
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
"""Trailing rows of the volatilities: about a week, a month and a quarter of trading days."""

Floats = npt.NDArray[np.float64]
Rows = npt.NDArray[np.int64]


@frozen(kw_only=True, eq=False)
class Baseline:
    """A simple rule on the validation windows. One that cannot be computed has a `reason` and no number.

    `loss` is the mean over windows in the units of training: binary cross-entropy or cross-entropy in nats, for a
    forecast the squared error. `over_prior` is the mean of this rule's loss less that of the constant prior, window by
    window: below 0 it knows more than the base rate. `accuracy` (at probability 0.5, or of the most probable class) and
    `auc` (of several classes the mean of each against the rest) are None for a forecast. Intervals are of 95 %, by
    block bootstrap with the same resamples for all baselines; they are None where there are too few windows.
    """

    name: str
    text: str
    """One line for people."""
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
        """All but `outputs`."""
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
    seed: int,
) -> list[Baseline]:
    """All baselines of a split, the constant prior first.

    `values` [rows, features] raw and not normalised, since prices are read from them; `labels` [rows]; `train` and
    `val` the last rows of the windows, whose labels are known. `seed` draws the resamples; nothing else is random.

    `prior`: the training share of each class; of a forecast the training mean. `zero`: of forecasts only.
    `previous_label`: the training shares of the classes after the last known label, which is that of row t - horizon,
    each counted with one more window that is spread like the prior, so that no share is 0 for want of windows; a
    forecast repeats that label. `last_values`: regression on the features of row t. `volatility`: regression on the
    logarithms of the standard deviation of the log returns of the close within the last 5, 20 and 60 rows; of these no
    more than the context, so that it sees no row that a model does not, and what proves that the parts share no row
    covers it (G54).

    Regressions are logistic, or linear for a forecast, on features standardised over training. Their ridge penalty is
    features * overlap / windows, of training: a normal prior under which all features together move a logit by
    about 1 (a forecast by the noise of the labels), with the windows counted as the overlap of labels leaves them.
    No validation window has a say in it.
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
            loss_interval=mean_interval(losses, overlap=data.overlap, seed=seed),
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
                over_prior_interval=mean_interval(difference, overlap=data.overlap, seed=seed),
            )
        result.append(baseline)
    return result


@frozen(kw_only=True, eq=False)
class _Data:
    """Cut after the last window of training and validation."""

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
    """Why a baseline has no number."""


def _rules(data: _Data) -> list[tuple[str, str, Callable[[_Data], Floats]]]:
    """Name, text and rule of each baseline of the task; a rule gives outputs [validation windows, outputs]."""
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
    # The label of row s is known when row s + overlap is; one of the same row would be the answer.
    known = np.concatenate([np.full(data.overlap, np.nan), data.labels[: -data.overlap]])
    before = known[data.val]
    if data.is_forecast:
        return np.where(np.isnan(before), data.labels[data.train].mean(), before)[:, None]
    train = data.train[~np.isnan(known[data.train])]
    counts = np.zeros((data.classes + 1, data.classes))
    np.add.at(counts, (known[train].astype(np.int64), data.labels[train].astype(np.int64)), 1.0)
    # The last row stays empty: after no known label there is only the prior.
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
        raise _ImpossibleError(f"{data.features[column]!r} is not above 0 everywhere, so it is no price")
    spans = [rows for rows in VOLATILITY_ROWS if rows <= data.context]
    if not spans:
        raise _ImpossibleError(f"the context of {data.context} rows is shorter than {VOLATILITY_ROWS[0]}")
    returns = np.diff(np.log(np.where(used, close, 1.0)))
    columns = []
    for rows in spans:
        spread = np.lib.stride_tricks.sliding_window_view(returns, rows - 1)[ends - rows + 1].std(axis=1)
        # A price that stands still has no logarithm of its spread: nothing counts as less than the least of training.
        moved = spread[: len(data.train)]
        least = moved[moved > 0].min(initial=np.inf)
        columns.append(np.log(np.maximum(spread, least)) if np.isfinite(least) else np.zeros(len(ends)))
    return _regression(np.column_stack(columns), data)


def _close_column(data: _Data) -> int:
    """The feature with the close that the target reads, in any case of letters."""
    wanted = data.target.columns.get("close", "close")
    for spelling in (str, str.lower):
        found = [number for number, name in enumerate(data.features) if spelling(name) == spelling(wanted)]
        if len(found) == 1:
            return found[0]
    raise _ImpossibleError(f"no feature is the closing price {wanted!r}")


def _regression(x: Floats, data: _Data) -> Floats:
    """Outputs from `x`, the features of the training windows and then of the validation windows."""
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
    """Of the probabilities [n, classes]: of a binary target the log odds [n, 1], else their logarithms."""
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
        raise _ImpossibleError(f"class {label:g} occurs in validation and not in training, which costs infinitely much")
    return losses


def _accuracy_and_auc(outputs: Floats, data: _Data) -> tuple[float | None, float | None]:
    """As the training core defines them."""
    if data.is_forecast:
        return None, None
    labels, chances = data.labels[data.val], probabilities(outputs)
    if data.target.task == "binary":
        return float(((chances[:, 0] >= 0.5) == (labels == 1)).mean()), area_under_roc(outputs[:, 0], labels == 1)
    found = [area_under_roc(chances[:, number], labels == number) for number in range(data.classes)]
    known = [auc for auc in found if auc is not None]
    return float((chances.argmax(axis=1) == labels).mean()), sum(known) / len(known) if known else None
