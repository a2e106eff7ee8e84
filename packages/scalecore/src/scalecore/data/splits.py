"""Divide windows into train, validation and test with gaps, and prove that the parts share no row (G54)."""

from __future__ import annotations

import hashlib
import itertools
from collections.abc import Mapping
from datetime import datetime
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
from attrs import frozen

from scalecore.api.errors import DataError, RefusedError
from scalecore.data.dates import stamp

if TYPE_CHECKING:
    from scalecore.api.dataset_options import Split

PARTS = ("train", "val", "test")

_NAMES = {"train": "training", "val": "validation", "test": "test"}

Rows = npt.NDArray[np.int64]


@frozen(kw_only=True, eq=False)
class Parts:
    """The last rows of the windows of each part, ascending; `purge` and `embargo` are numbers of windows.

    `proven_look_back` is the part of the features' look-back, in rows, that the proof covers: all of it unless `purge`
    was set lower. `hash` depends only on the sample dates of the three parts, so that data sets with other features on
    the same dates have the same hash (guard G53); `hashes` has one for each part.
    """

    train: Rows
    val: Rows
    test: Rows
    purge: int
    embargo: int
    proven_look_back: int
    hashes: Mapping[str, str]

    @property
    def ends(self) -> Mapping[str, Rows]:
        """The last rows of the windows by part."""
        return {"train": self.train, "val": self.val, "test": self.test}

    @property
    def hash(self) -> str:
        """SHA-256 over the hashes of the parts, in hex."""
        return hashlib.sha256("".join(self.hashes[part] for part in PARTS).encode()).hexdigest()


def smallest_purge(*, context: int, horizon: int) -> int:
    """Return the windows to drop between two parts so that inputs and labels share no row, ignoring look-back."""
    return context - 1 + horizon


def make_parts(
    *,
    times: npt.NDArray[np.datetime64],
    labels: npt.NDArray[np.float64],
    context: int,
    horizon: int,
    look_back: int,
    split: Split,
) -> Parts:
    """Return all possible windows of each part. `times` and `labels` are [rows]; a NaN label has no window.

    A window that ends at row t uses the rows t - context + 1 - look_back .. t + horizon. Neighbouring windows of
    different parts are at least purge + embargo + 1 rows apart, and purge is at least context - 1 + horizon, so that
    they share no row. Raises DataError if a part has no window or a date is outside the data, RefusedError if `purge`
    is too small.
    """
    smallest = smallest_purge(context=context, horizon=horizon)
    purge = smallest + look_back if split.purge == "auto" else split.purge
    if purge < smallest:
        raise RefusedError(
            f"split.purge is {purge}: windows of {context} rows with labels {horizon} rows ahead would share rows "
            f"between the parts; set at least {smallest}",
            guard="G54",
        )
    embargo = horizon if split.embargo == "auto" else split.embargo
    possible = np.isfinite(labels)
    possible[: context - 1] = False
    regions = _regions(times, split=split)
    keep = {part: np.zeros(len(times), dtype=bool) for part in PARTS}
    for number, (part, start, stop) in enumerate(regions):
        first, last = start, stop
        if number > 0 and _gives_up(part, regions[number - 1][0]):
            first += purge + embargo
        if number + 1 < len(regions) and _gives_up(part, regions[number + 1][0]):
            last -= purge + embargo
        if not possible[first : max(first, last)].any():
            raise DataError(_empty(part, times[start:stop], context=context, gap=(purge, embargo), split=split))
        keep[part][first:last] = possible[first:last]
    ends = {part: np.flatnonzero(keep[part]).astype(np.int64) for part in PARTS}
    proven = min(look_back, purge + embargo - smallest)
    assert_disjoint(ends, context=context, horizon=horizon, look_back=proven, times=times)
    hashes = {part: _hash(times[ends[part]]) for part in PARTS}
    return Parts(**ends, purge=purge, embargo=embargo, proven_look_back=proven, hashes=hashes)


def assert_disjoint(
    ends: Mapping[str, Rows],
    *,
    context: int,
    horizon: int,
    look_back: int,
    times: npt.NDArray[np.datetime64],
) -> None:
    """Prove that no row is used by the windows of two parts; a RefusedError names the first row that is.

    The windows that end at `ends` use their inputs, the `look_back` rows before them and the rows of their labels.
    """
    rows = len(times)
    owner = np.full(rows, -1, dtype=np.int64)
    for number, (part, windows) in enumerate(ends.items()):
        steps = np.zeros(rows + 1, dtype=np.int64)
        np.add.at(steps, np.clip(windows - context + 1 - look_back, 0, rows), 1)
        np.add.at(steps, np.clip(windows + horizon + 1, 0, rows), -1)
        touched = np.cumsum(steps[:rows]) > 0
        shared = np.flatnonzero(touched & (owner >= 0))
        if len(shared):
            row = int(shared[0])
            other = list(ends)[int(owner[row])]
            raise RefusedError(
                f"row {row} ({stamp(times[row])}) is used by windows of both {_NAMES[other]} and {_NAMES[part]}",
                guard="G54",
            )
        owner[touched] = number


def _gives_up(part: str, neighbour: str) -> bool:
    """Return True if `part` drops windows next to `neighbour`: training next to any part, validation next to test."""
    return PARTS.index(part) < PARTS.index(neighbour)


def _regions(times: npt.NDArray[np.datetime64], *, split: Split) -> list[tuple[str, int, int]]:
    """Return stretches of rows in time: part, first row, row after the last."""
    rows = len(times)
    if split.kind == "walk-forward":
        first = round(split.first_train * rows)
        edges = np.linspace(first, rows, split.fold_count + 2).round().astype(int).tolist()
        begin, middle, end = edges[split.chosen_fold - 1 : split.chosen_fold + 2]
        return [("train", begin - first if split.rolling else 0, begin), ("val", begin, middle), ("test", middle, end)]
    if split.val_from is not None and split.test_from is not None:
        val = _row_of("val_from", split.val_from, times=times)
        test = _row_of("test_from", split.test_from, times=times)
        return [("train", 0, val), ("val", val, test), ("test", test, rows)]
    stretches = split.block_count if split.kind == "scattered" else 1
    result: list[tuple[str, int, int]] = []
    for begin, end in _pairs(np.linspace(0, rows, stretches + 1).round().astype(int).tolist()):
        share, validation, _ = split.shares
        cuts = [begin, begin + round(share * (end - begin)), begin + round((share + validation) * (end - begin)), end]
        result += [(part, *edges) for part, edges in zip(PARTS, _pairs(cuts), strict=True)]
    return result


def _pairs(edges: list[int]) -> list[tuple[int, int]]:
    return list(itertools.pairwise(edges))


def _row_of(name: str, text: str, *, times: npt.NDArray[np.datetime64]) -> int:
    row = int(np.searchsorted(times, np.datetime64(datetime.fromisoformat(text))))
    if row == 0 or row == len(times):
        raise DataError(
            f"split.{name} {text} is not inside the data, which spans {stamp(times[0])} to {stamp(times[-1])}"
        )
    return row


def _empty(part: str, times: npt.NDArray[np.datetime64], *, context: int, gap: tuple[int, int], split: Split) -> str:
    where = f"{len(times)} rows from {stamp(times[0])} to {stamp(times[-1])}" if len(times) else "no rows"
    advice = {
        "contiguous": "more rows in that part",
        "scattered": f"fewer than {split.block_count} blocks",
        "walk-forward": f"fewer than {split.fold_count} folds",
    }[split.kind]
    return (
        f"a {_NAMES[part]} stretch of the {split.kind} split has no window left: it has {where}; a window needs "
        f"{context} rows, and purge {gap[0]} and embargo {gap[1]} are dropped next to another part. Use more data, "
        f"{advice}, a shorter context, or a smaller split.purge"
    )


def _hash(times: npt.NDArray[np.datetime64]) -> str:
    return hashlib.sha256(times.astype("datetime64[ns]").astype("<i8").tobytes()).hexdigest()
