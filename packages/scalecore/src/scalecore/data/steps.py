"""Steps between rows: the usual step, unusually long steps, and the windows and labels that cross them."""

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
"""Days of the longest close of the New York exchange since 1933, from one session to the next."""
_LONG_CLOSED_DAYS = 12
"""The same for markets with a week of holidays each year, such as Shanghai."""
_HALF = 0.5
"""Tolerance in days: time zones and clock changes shift the times of daily rows by less than half a day."""


def steps_of(
    times: npt.NDArray[np.datetime64],
    *,
    ends: Mapping[str, npt.NDArray[np.int64]],
    context: int,
    horizon: int,
) -> Steps | None:
    """Describe the steps of ascending `times` [rows]; `ends` are the last rows of windows by part. None for one row."""
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
    """Return the most frequent step or the median, whichever more steps equal within a tenth; and if it is regular."""
    values, counts = np.unique(steps, return_counts=True)
    shares = {
        float(one): float((np.abs(steps - one) <= 0.1 * one).mean())
        for one in (values[np.argmax(counts)], np.median(steps))
    }
    usual = max(shares, key=lambda one: shares[one])
    return (usual, True) if shares[usual] >= 0.4 else (float(np.median(steps)), False)


def _limit(steps: npt.NDArray[np.float64], *, times: npt.NDArray[np.datetime64], usual: float) -> float:
    """Return the length above which a step is long: 1.5 usual steps, except for daily rows without weekends.

    These also have holidays: up to a week, or up to twelve days if such steps occur at least every other year.
    """
    days = np.bincount((times.astype("datetime64[D]").astype(np.int64) + 3) % 7, minlength=7)
    if not 0.8 * _DAY <= usual <= 1.2 * _DAY or (days > 0.05 * days.max()).all():
        return 1.5 * usual
    closed, longer = ((limit + _HALF) * _DAY for limit in (_CLOSED_DAYS, _LONG_CLOSED_DAYS))
    years = steps.sum() / (365.25 * _DAY)
    recurring = int(((steps > closed) & (steps <= longer)).sum())
    return longer if recurring >= max(2.0, years / 2) else closed


def steps_flag(steps: Steps) -> dict[str, str] | None:
    """Return the warning that is stored with every trial; None if no step is long."""
    if not steps.long:
        return None
    kind = f"the usual {span(steps.usual)}" if steps.regular else f"their median of {span(steps.usual)}"
    verb = "is" if steps.long == 1 else "are"
    text = (
        f"{steps.long:,} of {steps.count:,} steps between rows {verb} much longer than {kind}, the longest "
        f"{span(steps.longest)} after row {steps.after_row} ({steps.after}): {crossing(steps.windows, steps.labels)} "
        "cross such a gap, as if the rows on both sides were neighbours"
    )
    if steps.longest - steps.usual == _HOUR and clock_changed(_expected(steps), forward=True):
        text += "; the clock is set forward there in some zones: if times are local, set their zone: read: {zone: ...}"
    return {"guard": "G56", "kind": "gaps", "text": text}


def _expected(steps: Steps) -> np.datetime64:
    """Return the expected time of the row after the longest step, at the usual step."""
    return np.datetime64(steps.after, "s") + np.timedelta64(round(steps.usual), "s")


def crossing(windows: Mapping[str, int], labels: Mapping[str, int]) -> str:
    """Format the counts over all parts: `59 windows and 1 label`."""
    counts = ((sum(windows.values()), "window"), (sum(labels.values()), "label"))
    return " and ".join(f"{count:,} {noun}{'' if count == 1 else 's'}" for count, noun in counts)
