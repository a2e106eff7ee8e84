"""Splits: all windows of each part, and no row in two parts."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from scalecore.api.dataset_options import Split
from scalecore.api.errors import DataError, RefusedError
from scalecore.data.splits import PARTS, Parts, assert_disjoint, make_parts


def days(rows: int) -> np.ndarray:
    return np.datetime64("2001-01-01", "ns") + np.arange(rows) * np.timedelta64(1, "D")


def parts_of(split: Split, *, rows: int = 1000, context: int = 10, horizon: int = 2, look_back: int = 0) -> Parts:
    known = np.zeros(rows)
    known[rows - horizon :] = np.nan
    return make_parts(
        times=days(rows), labels=known, context=context, horizon=horizon, look_back=look_back, split=split
    )


def touched(ends: np.ndarray, *, context: int, horizon: int, look_back: int) -> set[int]:
    """Rows used by windows, counted one by one."""
    return {row for end in ends.tolist() for row in range(end - context + 1 - look_back, end + horizon + 1)}


SPLITS = st.one_of(
    st.sampled_from([(0.7, 0.15, 0.15), (0.5, 0.25, 0.25), (0.6, 0.2, 0.2)]).map(
        lambda shares: Split(train=shares[0], val=shares[1], test=shares[2])
    ),
    st.integers(1, 6).map(lambda blocks: Split(kind="scattered", blocks=blocks)),
    st.builds(
        lambda folds, fold, rolling: Split(kind="walk-forward", folds=folds, fold=min(fold, folds), rolling=rolling),
        st.integers(1, 5),
        st.integers(1, 5),
        st.booleans(),
    ),
)


@settings(max_examples=60, deadline=None)
@given(
    split=SPLITS,
    rows=st.integers(60, 400),
    context=st.integers(1, 20),
    horizon=st.integers(0, 6),
    look_back=st.integers(0, 10),
)
def test_g54_no_row_is_shared_whatever_the_split(
    split: Split, rows: int, context: int, horizon: int, look_back: int
) -> None:
    """Counted row by row, inputs with look-back and labels of two parts never share a row; or a part is too small."""
    try:
        parts = parts_of(split, rows=rows, context=context, horizon=horizon, look_back=look_back)
    except DataError as error:
        assert "has no window left" in str(error)  # noqa: PT017 - both ends are allowed here
        return
    rows_of = [touched(ends, context=context, horizon=horizon, look_back=look_back) for ends in parts.ends.values()]
    assert not rows_of[0] & rows_of[1]
    assert not rows_of[0] & rows_of[2]
    assert not rows_of[1] & rows_of[2]


def test_contiguous_split_uses_all_windows_except_the_gap() -> None:
    """Training drops the gap before validation, validation the gap before test; all other windows are used."""
    parts = parts_of(Split())
    gap = (10 - 1 + 2) + 2
    assert (parts.purge, parts.embargo) == (11, 2)
    assert parts.train.tolist() == list(range(9, 700 - gap))
    assert parts.val.tolist() == list(range(700, 850 - gap))
    assert parts.test.tolist() == list(range(850, 998))


def test_g54_auto_purge_is_the_smallest_that_separates() -> None:
    """With one dropped window less, a label of training would be an input of validation."""
    parts = parts_of(Split(embargo=0), look_back=5)
    rules: dict[str, Any] = {"context": 10, "horizon": 2, "look_back": 5}
    assert parts.purge == 10 - 1 + 2 + 5
    assert max(touched(parts.train, **rules)) + 1 == min(touched(parts.val, **rules))
    nearer = {**parts.ends, "train": np.append(parts.train, parts.train[-1] + 1)}
    with pytest.raises(RefusedError) as caught:
        assert_disjoint(nearer, **rules, times=days(1000))
    assert str(caught.value) == "row 686 (2002-11-18) is used by windows of both training and validation [G54]"
    assert caught.value.guard == "G54"


def test_g54_a_purge_with_shared_rows_is_refused() -> None:
    """A purge below context - 1 + horizon is an error."""
    with pytest.raises(RefusedError) as caught:
        parts_of(Split(purge=10), look_back=5)
    assert str(caught.value) == (
        "split.purge is 10: windows of 10 rows with labels 2 rows ahead would share rows between the parts; set at "
        "least 11 [G54]"
    )


def test_a_smaller_purge_separates_inputs_and_labels_and_reports_its_coverage() -> None:
    """With a long look-back, purge may cover only the windows; the covered part of the look-back is reported."""
    parts = parts_of(Split(purge=13, embargo=1), look_back=50)
    assert parts.proven_look_back == 3
    assert parts_of(Split(), look_back=50).proven_look_back == 50


def test_boundary_dates_are_the_first_dates_of_validation_and_test() -> None:
    """val_from and test_from are dates of windows, whole days or not trading days."""
    parts = parts_of(Split(val_from="2002-06-01", test_from="2003-01-15"))
    times = days(1000)
    assert times[parts.val[0]] == np.datetime64("2002-06-01")
    assert times[parts.test[0]] == np.datetime64("2003-01-15")
    assert times[parts.train[-1]] == np.datetime64("2002-06-01") - np.timedelta64(14, "D")


@pytest.mark.parametrize("date", ["1999-01-01", "2001-01-01", "2010-05-05"])
def test_boundary_dates_outside_of_the_data_are_refused(date: str) -> None:
    """A boundary before the second or after the last row leaves a part empty; the message has the range."""
    first = ("2000-01-01", date) if date == "2001-01-01" else (date, "2011-01-01")
    with pytest.raises(DataError) as caught:
        parts_of(Split(val_from=first[0], test_from=first[1]))
    assert str(caught.value) == (
        f"split.val_from {first[0]} is not inside the data, which spans 2001-01-01 to 2003-09-27"
    )


def test_scattered_split_has_a_stretch_of_each_part_in_every_block() -> None:
    """All three parts see every regime, in stretches of equal length."""
    parts = parts_of(Split(kind="scattered", blocks=4))
    for ends in parts.ends.values():
        assert np.unique(ends // 250).tolist() == [0, 1, 2, 3]
        assert (np.diff(ends) > 1).sum() == 3


def test_walk_forward_folds_follow_each_other() -> None:
    """Fold k validates where fold k - 1 tested, and training grows up to there."""
    folds = [parts_of(Split(kind="walk-forward", folds=4, fold=fold)) for fold in (1, 2, 3, 4)]
    for earlier, later in pairwise(folds):
        assert earlier.test[0] == later.val[0]
        assert len(later.train) - len(earlier.train) == 100
    assert [int(parts.val[0]) for parts in folds] == [500, 600, 700, 800]
    assert folds[-1].test[-1] == 997
    last = parts_of(Split(kind="walk-forward", folds=4))
    assert last.hash == folds[-1].hash


def test_rolling_walk_forward_trains_on_the_newest_rows_only() -> None:
    """Every fold trains on as many rows as the first."""
    folds = [parts_of(Split(kind="walk-forward", folds=4, fold=fold, rolling=True)) for fold in (1, 4)]
    assert folds[1].train[0] == 300
    # The first fold has no window in its first context - 1 rows, because none can start before the data.
    assert len(folds[1].train) == len(folds[0].train) + 9


def test_embargo_widens_the_gap() -> None:
    """An embargo drops that many more windows."""
    near, far = parts_of(Split(embargo=0)), parts_of(Split(embargo=7))
    assert len(near.train) - len(far.train) == 7
    assert len(near.val) - len(far.val) == 7
    assert len(near.test) == len(far.test)


def test_a_part_without_windows_is_refused_with_advice() -> None:
    """The message names the stretch, the rows that a window needs, and what to change."""
    with pytest.raises(DataError) as caught:
        parts_of(Split(kind="scattered", blocks=15), rows=500)
    assert str(caught.value) == (
        "a validation stretch of the scattered split has no window left: it has 5 rows from 2001-01-24 to 2001-01-28; "
        "a window needs 10 rows, and purge 11 and embargo 2 are dropped next to another part. Use more data, fewer "
        "than 15 blocks, a shorter context, or a smaller split.purge"
    )


def test_g53_split_hash_is_that_of_the_sample_dates() -> None:
    """Data sets over the same dates have equal hashes, whatever else differs; other dates in any part change it."""
    parts = parts_of(Split())
    assert parts_of(Split(purge=11)).hash == parts.hash
    assert parts_of(Split(train=0.7, val=0.15, test=0.15), context=10).hashes == parts.hashes
    warm = parts_of(Split(), look_back=30)
    assert warm.hash != parts.hash
    assert warm.hashes["test"] == parts.hashes["test"]
    assert warm.hashes["train"] != parts.hashes["train"]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"train": 0.7, "val": 0.2, "test": 0.2}, "train, val and test must add up to 1, not 0.7 + 0.2 + 0.2 = 1.1"),
        ({"val_from": "2020-01-01"}, "val_from and test_from must be set together"),
        (
            {"val_from": "2020-01-01", "test_from": "2021-01-01", "train": 0.7},
            "set shares (train, val, test) or dates (val_from, test_from), not both",
        ),
        (
            {"val_from": "2022-01-01", "test_from": "2021-01-01"},
            "val_from (2022-01-01) must be before test_from (2021-01-01)",
        ),
        ({"val_from": "soon", "test_from": "2021-01-01"}, "val_from: 'soon' is not a date such as 2019-01-02"),
        (
            {"val_from": "2020-01-01T00:00Z", "test_from": "2021-01-01"},
            "val_from: '2020-01-01T00:00Z' must not name a time zone",
        ),
        (
            {"blocks": 3},
            "blocks is not an option of `kind: contiguous`, which has train, val, test, val_from, test_from",
        ),
        (
            {"kind": "walk-forward", "val": 0.2},
            "val is not an option of `kind: walk-forward`, which has train, folds, fold, rolling",
        ),
        ({"kind": "walk-forward", "folds": 3, "fold": 4}, "fold 4 of 3 does not exist"),
    ],
)
def test_split_options_that_contradict_each_other_are_refused(options: dict, message: str) -> None:
    """No option of a split is silently ignored."""
    with pytest.raises(ValueError) as caught:  # noqa: PT011 - the whole message is compared
        Split(**options)
    assert str(caught.value) == message


def test_parts_are_named_in_the_order_of_time() -> None:
    """The order decides which part drops windows."""
    assert PARTS == ("train", "val", "test")
