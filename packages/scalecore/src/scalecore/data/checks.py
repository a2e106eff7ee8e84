"""Checks that refuse data before training: values, times, labels, and parts that are too small or have one class."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from scalecore.api.errors import DataError, RefusedError
from scalecore.data.dates import stamp
from scalecore.data.splits import PARTS

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from scalecore.api.panel import Panel
    from scalecore.api.targets import Target
    from scalecore.data.statistics import PartStatistics

_LARGEST = float(np.finfo(np.float32).max)


def check_panel(panel: Panel) -> None:
    """Check shapes, times, features and labels of a panel; a DataError names the column and the first bad row."""
    rows = len(panel.times)
    if panel.values.shape != (rows, len(panel.features)):
        raise DataError(
            f"{panel.name}: {rows} times and {len(panel.features)} features do not fit values of shape "
            f"{panel.values.shape}"
        )
    if panel.labels.shape != (rows,):
        raise DataError(f"{panel.name}: labels of shape {panel.labels.shape} do not fit {rows} rows")
    if not panel.features:
        raise DataError(f"{panel.name}: there are no features")
    twice = [name for name in panel.features if panel.features.count(name) > 1]
    if twice:
        raise DataError(f"{panel.name}: feature {twice[0]!r} is listed twice")
    if not rows:
        raise DataError(f"{panel.name}: there are no rows")
    check_times(panel.times, name=panel.name)
    if not np.issubdtype(panel.values.dtype, np.number):
        raise DataError(f"{panel.name}: features are {panel.values.dtype}, not numbers [G50]")
    check_finite(panel.values, columns=panel.features, times=panel.times, name=panel.name)
    _check_labels(panel.labels, target=panel.target, times=panel.times, name=panel.name)


def check_times(times: npt.NDArray[np.datetime64], *, name: str) -> None:
    """Check that times [rows] are ascending, unique datetimes; a DataError names the first bad row."""
    if not np.issubdtype(times.dtype, np.datetime64):
        raise DataError(f"{name}: times are {times.dtype}, not datetimes")
    missing = np.flatnonzero(np.isnat(times))
    if len(missing):
        raise DataError(f"{name}: row {missing[0]} has no time")
    backward = np.flatnonzero(times[1:] <= times[:-1])
    if len(backward):
        row = int(backward[0]) + 1
        if times[row] == times[row - 1]:
            raise DataError(
                f"{name}: rows {row - 1} and {row} have the same time, {stamp(times[row])}; times must be unique"
            )
        raise DataError(
            f"{name}: row {row} ({stamp(times[row])}) comes after row {row - 1} ({stamp(times[row - 1])}); sort the "
            "rows by time"
        )


def check_finite(
    values: npt.NDArray[np.float64], *, columns: Sequence[str], times: npt.NDArray[np.datetime64], name: str
) -> None:
    """Check that `values` [rows, columns] are finite in float32 (guard G50); a DataError names the first bad one."""
    with np.errstate(invalid="ignore"):
        bad = ~(np.abs(values) <= _LARGEST)
    if not bad.any():
        return
    row = int(np.flatnonzero(bad.any(axis=1))[0])
    column = int(np.flatnonzero(bad[row])[0])
    value = float(values[row, column])
    count = int(bad[:, column].sum())
    more = f"; {count} such rows in this column" if count > 1 else ""
    text = "is missing" if np.isnan(value) else f"is {value:g}, not a finite number of single precision"
    raise DataError(f"{name}: column {columns[column]!r} {text} in row {row} ({stamp(times[row])}){more} [G50]")


def _check_labels(
    labels: npt.NDArray[np.float64], *, target: Target, times: npt.NDArray[np.datetime64], name: str
) -> None:
    if np.isinf(labels).any():
        row = int(np.flatnonzero(np.isinf(labels))[0])
        raise DataError(f"{name}: the label of row {row} ({stamp(times[row])}) is infinite")
    known = np.flatnonzero(~np.isnan(labels))
    if not len(known):
        raise DataError(f"{name}: none of {len(labels)} rows has a label; the target looks {target.horizon} rows ahead")
    gaps = np.flatnonzero(np.isnan(labels[: known[-1]]))
    if len(gaps):
        row, begin = int(gaps[0]), int(known[0])
        remedy = (
            f"skip the first {begin}: start: {stamp(times[begin])}"
            if len(gaps) == begin
            else "fill the gap or remove the row"
        )
        raise DataError(f"{name}: row {row} ({stamp(times[row])}) has no label, though later rows have; {remedy}")
    if target.task == "forecast":
        return
    classes = 2 if target.task == "binary" else target.outputs
    odd = np.flatnonzero(~np.isin(labels[known], np.arange(classes)))
    if len(odd):
        row = int(known[odd[0]])
        raise DataError(
            f"{name}: the label of row {row} ({stamp(times[row])}) is {labels[row]:g}; a {target.task} target has the "
            f"classes 0 to {classes - 1}"
        )


def check_parts(
    parts: Mapping[str, PartStatistics],
    *,
    name: str,
    task: str,
    min_validation_samples: int,
    min_validation_positives: int,
) -> None:
    """Refuse a part with only one class (guard G06), and too few validation samples to rank trials (G02)."""
    for part in PARTS:
        only = parts[part].only_label
        if only is not None:
            raise RefusedError(
                f"{name}: all {parts[part].windows} {part} windows have the label {only:g}; nothing can be learned or "
                "measured there. Choose another target or split",
                guard="G06",
            )
    val = parts["val"]
    overlap = "" if val.overlap == 1 else f" ({val.windows} windows, whose labels overlap {val.overlap} times)"
    if val.effective < min_validation_samples:
        raise RefusedError(
            f"{name}: validation has {val.effective} effective samples{overlap}, fewer than "
            f"guards.min_validation_samples: {min_validation_samples}. Use more data or a larger validation part",
            guard="G02",
        )
    if task != "forecast" and val.effective_rarest < min_validation_positives:
        raise RefusedError(
            f"{name}: validation has {val.effective_rarest} effective samples of its rarest class{overlap}, fewer than "
            f"guards.min_validation_positives: {min_validation_positives}. Use more data, a larger validation part or "
            "another target",
            guard="G02",
        )
