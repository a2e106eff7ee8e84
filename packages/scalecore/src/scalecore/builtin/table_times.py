"""Converts the times of a table to comparable times without a zone.

This module imports pandas: import it inside the function that reads.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import pandas as pd
from pandas.api import types

from scalecore.api.dataset_options import UNIX
from scalecore.api.errors import DataError
from scalecore.data.dates import stamp
from scalecore.data.table_files import date_hint

if TYPE_CHECKING:
    from scalecore.api.dataset_options import ReadOptions

_OFFSET = r"\s?(?:Z|[+-]\d{2}:?\d{2}(?::?\d{2})?)$"
"""The suffix of a time with its offset from UTC."""


def naive_times(raw: pd.Series[Any], *, name: str, reading: ReadOptions) -> npt.NDArray[np.datetime64]:
    """[rows] datetime64[ns] without a zone.

    Times that are all midnight in their own zone are days and keep their date. Others are converted to UTC if their
    zone is known from offsets, the column's type or `reading.zone`. `DataError` names the first invalid row.
    """
    missing = np.flatnonzero(raw.isna().to_numpy())
    if len(missing):
        raise DataError(f"{name}: row {missing[0]} has no time")
    times = _parsed(raw, name=name, reading=reading)
    if times.dt.tz is not None and reading.zone is not None:
        times = times.dt.tz_convert(reading.zone)
    local = times.dt.tz_localize(None)
    if not (local == local.dt.normalize()).all():
        if times.dt.tz is None and reading.zone is not None:
            times = _localised(times, name=name, zone=reading.zone)
        local = times if times.dt.tz is None else times.dt.tz_convert(None)
    return _nanoseconds(local, name=name)


def _nanoseconds(times: pd.Series[Any], *, name: str) -> npt.NDArray[np.datetime64]:
    try:
        return np.asarray(times.dt.as_unit("ns").to_numpy())
    except pd.errors.OutOfBoundsDatetime:
        raise DataError(f"{name}: a time is outside the years 1678 to 2261") from None


def _parsed(raw: pd.Series[Any], *, name: str, reading: ReadOptions) -> pd.Series[Any]:
    """Timestamps, with a zone if the source has one; of changing offsets the first is used."""
    if types.is_datetime64_any_dtype(raw.dtype):
        return raw
    form = reading.date_format
    try:
        if form is not None and form in UNIX:
            return pd.to_datetime(pd.to_numeric(raw), unit=UNIX[form], utc=True)
        if types.is_numeric_dtype(raw.dtype):
            if form is None or (raw != np.floor(raw)).any():
                hint = date_hint(str(raw.iloc[0]))
                raise DataError(f"{name}: times are {raw.dtype}; write them as dates or ISO 8601 text{hint}")
            raw = raw.astype("int64").astype(str)
        if types.is_object_dtype(raw.dtype) or types.is_string_dtype(raw.dtype):
            return _from_text(raw, name=name, reading=reading)
        return pd.to_datetime(raw, format="ISO8601")
    except (ValueError, TypeError, OverflowError):
        raise DataError(_bad_time(raw, name=name, form=form)) from None


def _from_text(raw: pd.Series[Any], *, name: str, reading: ReadOptions) -> pd.Series[Any]:
    form = reading.date_format
    if form is None and not raw.map(lambda one: isinstance(one, str)).all():
        return pd.to_datetime(raw, format="ISO8601")  # date objects
    text = raw.astype(str).str.strip()
    if form is not None and "%z" not in form:
        return pd.to_datetime(text, format=form)
    offsets = text.str.contains(r"\d" + _OFFSET, regex=True) & (text.str.len() > len("2019-01-02"))
    if not offsets.any():
        return pd.to_datetime(text, format=form or "ISO8601")
    if not offsets.all():
        odd = int(np.flatnonzero((offsets != offsets.iloc[0]).to_numpy())[0])
        raise DataError(
            f"{name}: the time of row {odd} is {raw.iloc[odd]!r} and that of row 0 {raw.iloc[0]!r}: either all times "
            "or none must have an offset from UTC"
        )
    moments = pd.to_datetime(text, format=form or "ISO8601", utc=True)
    if reading.zone is not None:
        return moments
    written = text.str.replace(_OFFSET, "", regex=True)
    local = pd.to_datetime(written, format=form.replace("%z", "").strip() if form else "ISO8601")
    # Days are written as local midnight, with the offset of the season.
    return local if (local == local.dt.normalize()).all() else moments


def _localised(times: pd.Series[Any], *, name: str, zone: str) -> pd.Series[Any]:
    """Localise to `zone`; the order distinguishes the two passes of the repeated hour in autumn."""
    try:
        inferred: pd.Series[Any] = times.dt.tz_localize(zone, ambiguous="infer", nonexistent="raise")
        return inferred
    except Exception as error:
        # pandas 2 raises errors of pytz, which are not ValueErrors.
        if not isinstance(error, ValueError) and type(error).__module__ != "pytz.exceptions":
            raise
    skipped = times.dt.tz_localize(zone, ambiguous=np.ones(len(times), dtype=bool), nonexistent="NaT").isna().to_numpy()
    if skipped.any():
        row = int(np.flatnonzero(skipped)[0])
        raise DataError(
            f"{name}: row {row}: {stamp(times.to_numpy()[row])} does not exist in {zone}, where the clock was set "
            "forward; set the zone in which the times were written, or write them in UTC or with their offsets"
        )
    twice = times.dt.tz_localize(zone, ambiguous="NaT", nonexistent="shift_forward").isna().to_numpy()
    row = int(np.flatnonzero(twice)[0])
    raise DataError(
        f"{name}: row {row}: {stamp(times.to_numpy()[row])} occurred twice in {zone}, where the clock was set back, "
        "and the order of the rows does not show which one it is; write the times in UTC or with their offsets"
    )


def _bad_time(raw: pd.Series[Any], *, name: str, form: str | None) -> str:
    if form in UNIX:
        bad = np.flatnonzero(pd.to_numeric(raw, errors="coerce").isna().to_numpy())
        row = int(bad[0]) if len(bad) else 0
        return f"{name}: the time of row {row} is {raw.iloc[row]!r}, which is not a {form} time"
    text = raw.astype(str).str.strip()
    parsed = pd.to_datetime(text, format=form or "ISO8601", errors="coerce", utc=True)
    bad = np.flatnonzero(parsed.isna().to_numpy())
    row = int(bad[0]) if len(bad) else 0
    if form is not None:
        return f"{name}: the time of row {row} is {raw.iloc[row]!r}, which does not match read.date_format: {form}"
    hint = date_hint(str(raw.iloc[row]))
    return f"{name}: the time of row {row} is {raw.iloc[row]!r}, which is not an ISO 8601 date such as 2019-01-02{hint}"
