"""Times as text."""

from __future__ import annotations

import numpy as np

__all__ = ["stamp"]


def stamp(moment: np.datetime64) -> str:
    """A time as ISO text: `2019-01-02` where it is midnight, else `2019-01-02T15:30:00`, with the fraction it has."""
    day, _, clock = str(np.datetime_as_string(moment.astype("datetime64[ns]"))).partition("T")
    whole, _, fraction = clock.partition(".")
    fraction = fraction.rstrip("0")
    clock = f"{whole}.{fraction}" if fraction else whole
    return day if clock == "00:00:00" else f"{day}T{clock}"
