"""Format times and durations as text."""

from __future__ import annotations

from zoneinfo import ZoneInfo, available_timezones

import numpy as np


def clock_changed(local: np.datetime64, *, forward: bool) -> bool:
    """Return True if any zone's clock was set forward over this local time, or back so that it occurred twice."""
    moment = local.astype("datetime64[s]").item()
    for zone in map(ZoneInfo, available_timezones()):
        first, second = (moment.replace(tzinfo=zone, fold=fold).utcoffset() for fold in (0, 1))
        if (first < second) if forward else (first > second):
            return True
    return False


def stamp(moment: np.datetime64) -> str:
    """Format a time as ISO text: `2019-01-02` for midnight, otherwise `2019-01-02T15:30:00` with any fraction."""
    day, _, clock = str(np.datetime_as_string(moment.astype("datetime64[ns]"))).partition("T")
    whole, _, fraction = clock.partition(".")
    fraction = fraction.rstrip("0")
    clock = f"{whole}.{fraction}" if fraction else whole
    return day if clock == "00:00:00" else f"{day}T{clock}"


def span(seconds: float) -> str:
    """Format a duration in its largest units: `1 day`, `4 days 6 h`, `17 h 30 min`, `5 min`, `0.25 s`."""
    parts, rest = [], round(seconds, 3)
    for unit, size in (("day", 86400), ("h", 3600), ("min", 60)):
        count, rest = divmod(rest, size)
        if count:
            parts.append(f"{count:,.0f} {unit}{'s' if unit == 'day' and count > 1 else ''}")
    if rest and len(parts) < 2:
        parts.append(f"{rest:g} s")
    return " ".join(parts[:2]) or f"{seconds:g} s"
