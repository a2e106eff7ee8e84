"""The dataset `parquet`: a parquet or CSV file with times, declared features, and a computed or given target."""

from __future__ import annotations

from decimal import Decimal
from numbers import Real
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import numpy.typing as npt

from scalecore.api.errors import DataError
from scalecore.api.panel import Panel
from scalecore.api.targets import Target, label_target, labels, target_of
from scalecore.builtin.options_dataset import LabelTarget
from scalecore.config.constraints import nearest
from scalecore.data.checks import check_finite
from scalecore.data.dates import stamp
from scalecore.data.table_files import number_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from scalecore.builtin.options_dataset import ParquetOptions
    from scalecore.builtin.tables import Table


class ParquetDataset:
    """A `scalecore.api.dataset.Dataset` over one file. Errors name the file, and column and row if known."""

    def __init__(self, options: ParquetOptions) -> None:
        self._options = options

    def panel(self) -> Panel:
        from scalecore.builtin.tables import read_table

        options = self._options
        table = read_table(options.path, time=options.time, start=options.start, end=options.end, reading=options.read)
        features = tuple(options.features)
        for feature in features:
            if features.count(feature) > 1:
                raise DataError(f"{options.path}: dataset.features lists {feature!r} twice")
        values = np.column_stack([numbers(table, name, role="feature") for name in features])
        _check_leading(values, columns=features, table=table)
        check_finite(values, columns=features, times=table.times, name=str(options.path))
        target, targets = self._target(table)
        return Panel(
            name=options.path.name,
            times=table.times,
            values=values,
            labels=targets,
            features=features,
            target=target,
            context=options.context,
            split=options.split,
            normalise=options.normalise,
            details={"path": str(options.path), **({"notes": [table.note]} if table.note else {})},
        )

    def _target(self, table: Table) -> tuple[Target, npt.NDArray[np.float64]]:
        options = self._options.target
        if isinstance(options, LabelTarget):
            if options.column in self._options.features:
                raise DataError(
                    f"{table.path}: column {options.column!r} contains the labels and is also a feature, so a model "
                    "would see the answer. Remove it from dataset.features"
                )
            raw = numbers(table, options.column, role="label column", keep_integers=True)
            try:
                target = label_target(raw, column=options.column, horizon=options.horizon, task=options.task)
            except DataError as error:
                raise DataError(f"{table.path}: {error}") from None
            return target, raw.astype(np.float64)
        target = target_of(options, columns={"close": options.columns.close, "high": options.columns.high})
        prices = {role: _prices(table, name) for role, name in target.columns.items()}
        return target, labels(target, close=prices["close"], price=prices[target.price or "close"])


def _check_leading(values: npt.NDArray[np.float64], *, columns: Sequence[str], table: Table) -> None:
    """Refuse features that have no value in the first rows, and name the first row in which all have one."""
    missing = np.isnan(values)
    leading = np.where(missing.all(axis=0), 0, np.argmin(missing, axis=0))
    begin = int(leading.max())
    if not begin or np.isnan(values[begin:]).any():
        return
    names = [name for name, count in zip(columns, leading, strict=True) if count]
    listed = ", ".join(map(repr, names[:5])) + (f" and {len(names) - 5} more" if len(names) > 5 else "")
    raise DataError(
        f"{table.path}: {listed} {'has' if len(names) == 1 else 'have'} no value in the first {begin} rows (to "
        f"{stamp(table.times[begin - 1])}), as is usual for features over a rolling window. Skip these rows: start: "
        f"{stamp(table.times[begin])} [G50]"
    )


def _prices(table: Table, name: str) -> npt.NDArray[np.float64]:
    prices = numbers(table, name, role="price column").astype(np.float64)
    check_finite(prices[:, None], columns=[name], times=table.times, name=str(table.path))
    bad = np.flatnonzero(prices <= 0)
    if len(bad):
        row = int(bad[0])
        raise DataError(
            f"{table.path}: price column {name!r} is {prices[row]:g} in row {row} ({stamp(table.times[row])}); prices "
            "must be positive"
        )
    return prices


def numbers(table: Table, name: str, *, role: str, keep_integers: bool = False) -> npt.NDArray[Any]:
    """A column as float64 [rows], missing as NaN; integers stay int64 with `keep_integers`."""
    import pandas as pd
    from pandas.api import types

    if name not in table.frame.columns:
        raise DataError(f"{table.path}: there is no {role} {name!r}; {_suggest(name, list(table.frame.columns))} [G55]")
    column = table.frame[name]
    if isinstance(column, pd.DataFrame):
        raise DataError(f"{table.path}: {column.shape[1]} columns are named {name!r}; names must be unique [G55]")
    if types.is_numeric_dtype(column.dtype) and not types.is_complex_dtype(column.dtype):
        if keep_integers and types.is_integer_dtype(column.dtype) and not column.hasnans:
            return column.to_numpy(dtype=np.int64)
        return column.to_numpy(dtype=np.float64, na_value=np.nan)
    advice, bad = "Encode it as numbers, or remove the column", None
    if table.is_text:
        found, bad, why = _from_text(column, decimal=table.reading.decimal)
        if found is not None:
            return found
        advice = f"It is a number {why}" if why else advice
    bad = _first_bad(column) if bad is None else bad
    if bad is None:
        return pd.to_numeric(column).to_numpy(dtype=np.float64, na_value=np.nan)
    raise DataError(
        f"{table.path}: {role} {name!r} is not numeric: row {bad} ({stamp(table.times[bad])}) contains "
        f"{column.iloc[bad]!r}. {advice} [G50]"
    )


def _from_text(
    column: Any, *, decimal: Literal[".", ","] | None
) -> tuple[npt.NDArray[np.float64] | None, int | None, str]:
    """Parse numbers that pandas left as text, with grouped thousands or currency signs.

    Otherwise return the first row that is not a number, and what would make it one.
    """
    found = np.full(len(column), np.nan)
    for row, cell in enumerate(column):
        if isinstance(cell, str):
            try:
                found[row] = number_of(cell, decimal=decimal)
            except ValueError as error:
                return None, row, str(error)
        elif cell == cell:  # not NaN
            found[row] = float(cell)
    return found, None, ""


def _first_bad(column: Any) -> int | None:
    """The first row that is not numeric; None if all values are numbers, stored as objects.

    pandas reads a CSV column that contains one word as text throughout, so the message has to name that row.
    """
    import pandas as pd

    words = np.flatnonzero((pd.to_numeric(column, errors="coerce").isna() & column.notna()).to_numpy())
    if len(words):
        return int(words[0])
    for row, value in enumerate(column):
        if not pd.isna(value) and not isinstance(value, Real | Decimal):
            return row
    return None


def _suggest(name: str, known: Sequence[Any]) -> str:
    """Suggest another spelling of the name or the nearest one, or list the columns."""
    names = [str(one) for one in known]
    same = [one for one in names if one.casefold() == name.casefold()]
    if same:
        return f"did you mean {same[0]!r}? Names are case-sensitive"
    few = names if len(names) <= 20 else [*names[:20], f"and {len(names) - 20} more"]
    hint = nearest(name, names)
    listed = ", ".join(few)
    return f"{hint} The columns are {listed}" if hint.startswith("did you mean") else f"the columns are {listed}"
