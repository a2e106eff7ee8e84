"""Steps between rows: the usual one, those that are long beside it, and the windows and labels that cross them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from scalecore.api.data_report import Steps
from scalecore.data.dates import clock_changed, span, stamp

if TYPE_CHECKING:
    from collections.abc import Mapping

_DAY, _HOUR = 86400.0, 3600.0
_CLOSED_DAYS = 7
"""The longest close of the New York exchange since 1933, from one session to the next."""
_LONG_CLOSED_DAYS = 12
"""That of markets which close for a week of holidays each year, such as Shanghai's."""
_HALF = 0.5
"""Clocks and changes of the clock move the times of daily rows, by less than half a day."""


def steps_of(
    times: npt.NDArray[np.datetime64],
    *,
    ends: Mapping[str, npt.NDArray[np.int64]],
    context: int,
    horizon: int,
) -> Steps | None:
    """The steps of `times` [rows], ascending; `ends` are the last rows of each part's windows. None for one row."""
    nanoseconds = times.astype("datetime64[ns]").view(np.int64)
    steps = np.diff(nanoseconds).astype(np.float64) / 1e9
    if not len(steps):
        return None
    usual, regular = _usual(steps)
    limit = _limit(steps, times=times, usual=usual) if regular else 10.0 * float(np.quantile(steps, 0.95))
    before = np.concatenate([[0], np.cumsum(steps > limit)])
    last = len(times) - 1
    windows = {part: int((before[rows] > before[rows - context + 1]).sum()) for part, rows in ends.items()}
    labels = {part: int((before[np.minimum(rows + horizon, last)] > before[rows]).sum()) for part, rows in ends.items()}
    row = int(np.argmax(steps))
    return Steps(
        usual=usual,
        regular=regular,
        longest=float(steps[row]),
        after_row=row,
        after=stamp(times[row]),
        limit=limit,
        long=int(before[-1]),
        count=len(steps),
        windows=windows,
        labels=labels,
    )


def _usual(steps: npt.NDArray[np.float64]) -> tuple[float, bool]:
    """The step that the most others resemble to a tenth, of the most frequent one and the median."""
    values, counts = np.unique(steps, return_counts=True)
    shares = {
        float(one): float((np.abs(steps - one) <= 0.1 * one).mean())
        for one in (values[np.argmax(counts)], np.median(steps))
    }
    usual = max(shares, key=lambda one: shares[one])
    return (usual, True) if shares[usual] >= 0.4 else (float(np.median(steps)), False)


def _limit(steps: npt.NDArray[np.float64], *, times: npt.NDArray[np.datetime64], usual: float) -> float:
    """The length above which a step is long: one and a half usual ones, but for daily rows without weekends.

    Those have holidays too: up to a week, and where as long ones come in every other year at least, up to twelve days.
    """
    days = np.bincount((times.astype("datetime64[D]").astype(np.int64) + 3) % 7, minlength=7)
    if not 0.8 * _DAY <= usual <= 1.2 * _DAY or (days > 0.05 * days.max()).all():
        return 1.5 * usual
    closed, longer = ((limit + _HALF) * _DAY for limit in (_CLOSED_DAYS, _LONG_CLOSED_DAYS))
    years = steps.sum() / (365.25 * _DAY)
    recurring = int(((steps > closed) & (steps <= longer)).sum())
    return longer if recurring >= max(2.0, years / 2) else closed


def steps_flag(steps: Steps) -> dict[str, str] | None:
    """The warning that is stored with every trial; None where no step is long."""
    if not steps.long:
        return None
    kind = f"the usual {span(steps.usual)}" if steps.regular else f"their median of {span(steps.usual)}"
    verb = "is" if steps.long == 1 else "are"
    text = (
        f"{steps.long:,} of {steps.count:,} steps between rows {verb} much longer than {kind}, the longest "
        f"{span(steps.longest)} after row {steps.after_row} ({steps.after}): {crossing(steps.windows, steps.labels)} "
        "cross such a gap, as if its two sides were neighbours"
    )
    if steps.longest - steps.usual == _HOUR and clock_changed(_expected(steps), forward=True):
        text += "; the clock is set forward there in some zones: if times are local, name theirs: read: {zone: ...}"
    return {"guard": "G56", "kind": "gaps", "text": text}


def _expected(steps: Steps) -> np.datetime64:
    """When the row after the longest step would have come at the usual one."""
    return np.datetime64(steps.after, "s") + np.timedelta64(round(steps.usual), "s")


def crossing(windows: Mapping[str, int], labels: Mapping[str, int]) -> str:
    """`59 windows and 1 label`, of all parts."""
    counts = ((sum(windows.values()), "window"), (sum(labels.values()), "label"))
    return " and ".join(f"{count:,} {noun}{'' if count == 1 else 's'}" for count, noun in counts)
