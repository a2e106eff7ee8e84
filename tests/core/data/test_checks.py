"""Checks that refuse data, and flags."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from scalecore.api.dataset_options import Split
from scalecore.api.errors import DataError, RefusedError
from scalecore.data.prepare import describe


def refusal(panel: Any, **limits: int) -> str:
    with pytest.raises((DataError, RefusedError)) as caught:
        describe(panel, **limits)
    return str(caught.value)


@pytest.mark.parametrize(
    ("bad", "text"),
    [
        (np.nan, "is missing"),
        (np.inf, "is inf, not a finite number of single precision"),
        (-1e39, "is -1e+39, not a finite number of single precision"),
    ],
)
def test_g50_values_that_are_not_finite_are_refused(make_panel: Any, bad: float, text: str) -> None:
    """The message names the data, the column, and the first bad row with its date."""
    values = make_panel().values
    values[[40, 700], 1] = bad
    assert refusal(make_panel(values=values)) == (
        f"walk.parquet: column 'noise' {text} in row 40 (2001-02-10); 2 such rows in this column [G50]"
    )


def test_g50_features_that_are_not_numbers_are_refused(make_panel: Any) -> None:
    """Objects never reach a tensor."""
    values = make_panel().values.astype(object)
    assert refusal(make_panel(values=values)) == "walk.parquet: features are object, not numbers [G50]"


def test_times_must_ascend_without_duplicates(make_panel: Any) -> None:
    """The first row that breaks the order is named."""
    times = make_panel().times
    times[5] = times[4]
    assert refusal(make_panel(times=times)) == (
        "walk.parquet: rows 4 and 5 have the same time, 2001-01-05; times must be unique"
    )
    times[5] = times[2]
    assert refusal(make_panel(times=times)) == (
        "walk.parquet: row 5 (2001-01-03) comes after row 4 (2001-01-05); sort the rows by time"
    )
    times[5] = np.datetime64("NaT")
    assert refusal(make_panel(times=times)) == "walk.parquet: row 5 has no time"
    assert refusal(make_panel(times=np.arange(900))) == "walk.parquet: times are int64, not datetimes"


def test_a_panel_whose_parts_do_not_fit_together_is_refused(make_panel: Any) -> None:
    """The error names the bug of the dataset plugin."""
    panel = make_panel()
    assert refusal(make_panel(features=("Close",))) == (
        "walk.parquet: 900 times and 1 features do not fit values of shape (900, 2)"
    )
    assert refusal(make_panel(features=("Close", "Close"))) == "walk.parquet: feature 'Close' is listed twice"
    assert refusal(make_panel(labels=panel.labels[:-1])) == "walk.parquet: labels of shape (899,) do not fit 900 rows"
    assert refusal(make_panel(features=(), values=panel.values[:, :0])) == "walk.parquet: there are no features"
    empty = {"times": panel.times[:0], "values": panel.values[:0], "labels": panel.labels[:0]}
    assert refusal(make_panel(**empty)) == "walk.parquet: there are no rows"


def test_labels_may_be_unknown_only_at_the_end(make_panel: Any) -> None:
    """A gap in the labels is an error."""
    values = make_panel().labels
    values[100] = np.nan
    assert refusal(make_panel(labels=values)) == (
        "walk.parquet: row 100 (2001-04-11) has no label, though later rows have; fill the gap or remove the row"
    )
    values[:30] = np.nan
    values[100] = 0.0
    assert refusal(make_panel(labels=values)) == (
        "walk.parquet: row 0 (2001-01-01) has no label, though later rows have; skip the first 30: start: 2001-01-31"
    )
    values[:30] = 0.0
    values[100] = np.inf
    assert refusal(make_panel(labels=values)) == "walk.parquet: the label of row 100 (2001-04-11) is infinite"
    values[100] = 0.5
    assert refusal(make_panel(labels=values)) == (
        "walk.parquet: the label of row 100 (2001-04-11) is 0.5; a binary target has the classes 0 to 1"
    )
    values[:] = np.nan
    assert refusal(make_panel(labels=values)) == (
        "walk.parquet: none of 900 rows has a label; the target looks 1 rows ahead"
    )


@pytest.mark.parametrize("part", ["train", "val", "test"])
def test_g06_a_part_with_one_class_is_refused(with_labels: Any, part: str) -> None:
    """Labels that are all 1, such as those computed from normalised prices, are refused before training."""
    values = (np.arange(900) % 3 == 0).astype(int)
    rows = {"train": slice(0, 640), "val": slice(600, 770), "test": slice(700, 900)}[part]
    values[rows] = 1
    windows = {"train": 618, "val": 128, "test": 135}[part]
    assert refusal(with_labels(values)) == (
        f"walk.parquet: all {windows} {part} windows have the label 1; nothing can be learned or measured there. "
        "Choose another target or split [G06]"
    )


def test_g06_a_constant_forecast_is_refused(with_labels: Any) -> None:
    """A regression target that never varies is as useless as one class."""
    assert "have the label 0.5; nothing can be learned" in refusal(with_labels(np.full(900, 0.5)))


def test_g02_too_few_validation_samples_are_refused(make_panel: Any) -> None:
    """Overlapping labels count once: 124 windows of five-day labels are 24 samples."""
    assert refusal(make_panel(horizon=5)) == (
        "walk.parquet: validation has 24 effective samples (120 windows, whose labels overlap 5 times), fewer than "
        "guards.min_validation_samples: 100. Use more data or a larger validation part [G02]"
    )
    assert describe(make_panel(horizon=5), min_validation_samples=24, min_validation_positives=5)
    assert "fewer than guards.min_validation_samples: 129" in refusal(make_panel(), min_validation_samples=129)


def test_g02_too_few_of_the_rarer_class_are_refused(with_labels: Any) -> None:
    """Rare negatives are as bad as rare positives."""
    rare = (np.arange(900) % 10 == 0).astype(int)
    message = (
        "walk.parquet: validation has {} effective samples of its rarest class, fewer than "
        "guards.min_validation_positives: 20. Use more data, a larger validation part or another target; "
        "these values work: split: {{train: 0.6, val: 0.25, test: 0.15}} [G02]"
    )
    assert refusal(with_labels(rare)) == message.format(13)
    assert refusal(with_labels(1 - rare)) == message.format(13)
    assert describe(with_labels(rare), min_validation_positives=13).parts["val"].positives == 13


def test_g02_the_shipped_defaults_refuse_eighteen_samples(make_panel: Any) -> None:
    """600 trials were once ranked on 18 validation samples; that study does not start."""
    assert "validation has 18 effective samples" in refusal(make_panel(rows=140, context=2))


def test_g08_drift_is_measured_against_training(make_panel: Any) -> None:
    """A level that doubles after training is in the table, with its ratio in raw units."""
    rows = 900
    values = make_panel().values
    values[:, 0] = np.where(np.arange(rows) < 630, np.arange(rows) % 2, 10 + np.arange(rows) % 3)
    description = describe(make_panel(values=values))
    drift = {(row.feature, row.part): row for row in description.drift}
    moved = drift["Close", "test"]
    assert moved.shift == pytest.approx((11 - 0.5) / 0.5, rel=0.01)
    assert moved.std_ratio == pytest.approx(np.sqrt(2 / 3) / 0.5, rel=0.01)
    assert moved.level_ratio == pytest.approx(22, rel=0.01)
    assert moved.strong is True
    assert drift["noise", "test"].strong is False


def test_g08_strong_drift_is_flagged_without_normalisation(make_panel: Any) -> None:
    """Without normalisation a flag names the features; with it, only the table does."""
    values = make_panel().values
    values[:, 0] = np.linspace(1, 16, 900) + values[:, 1] / 100
    flagged = describe(make_panel(values=values, normalise="none")).flags
    assert list(flagged) == [
        {
            "guard": "G08",
            "text": "features drift strongly from training to validation or test, and are not normalised: Close",
        }
    ]
    assert list(describe(make_panel(values=values)).flags) == []


def test_g08_a_feature_that_is_constant_in_training_is_flagged(make_panel: Any) -> None:
    """Its shift has no unit and is therefore None; it is centered but not scaled."""
    values = make_panel().values
    values[:, 1] = 0.1
    values[800:, 1] = 4.1
    description = describe(make_panel(values=values))
    assert list(description.flags) == [{"guard": "G08", "text": "features are constant in training: noise"}]
    assert description.normalise.scale["noise"] == 1.0
    row = next(row for row in description.drift if row.feature == "noise" and row.part == "test")
    assert row.shift is None
    assert row.std_ratio is None
    assert row.strong is True


def test_g54_a_purge_below_the_look_back_is_flagged(make_panel: Any) -> None:
    """Windows and labels are apart, but features computed from older rows are not; the record has a flag."""
    description = describe(make_panel(look_back=40, split=Split(purge=6)))
    assert list(description.flags) == [
        {
            "guard": "G54",
            "text": "split.purge 6 keeps windows and labels of the parts apart, but features look back 40 rows, of "
            "which it covers 1",
        }
    ]


def test_a_class_that_a_part_lacks_is_flagged(with_labels: Any) -> None:
    """The loss of the training prior is still finite; if training lacks a class, it is infinite and stored as None."""
    values = np.arange(900) % 3
    values[765:][values[765:] == 2] = 0
    description = describe(with_labels(values))
    assert list(description.flags) == [{"guard": "G06", "text": "test has no window of class 2"}]
    values = np.arange(900) % 3
    values[:640][values[:640] == 2] = 0
    description = describe(with_labels(values))
    assert list(description.flags) == [{"guard": "G06", "text": "train has no window of class 2"}]
    assert description.parts["val"].prior_loss is None
    assert description.parts["train"].prior_loss == pytest.approx(description.parts["train"].entropy)
