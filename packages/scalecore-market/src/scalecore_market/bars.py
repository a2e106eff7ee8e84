"""Daily bars of one symbol as plain arrays, the input of indicators."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
from attrs import asdict, frozen

__all__ = ["INPUTS", "Array", "Bars"]

Array = npt.NDArray[np.float64]

INPUTS = ("open", "high", "low", "close", "volume", "vix")


@frozen(kw_only=True, eq=False)
class Bars:
    """One row per session, ascending; all arrays have the shape [rows].

    Prices are quoted prices, adjusted for splits only; `volume` is in shares. `vix` is the close of the VIX on the same
    dates, NaN before its own first date. `volume` and `vix` are None if missing.
    """

    dates: npt.NDArray[np.datetime64]
    """[rows] days."""
    open: Array
    high: Array
    low: Array
    close: Array
    volume: Array | None = None
    vix: Array | None = None

    def __len__(self) -> int:
        return len(self.dates)

    def cut(self, rows: int) -> Bars:
        """The first `rows` rows, which were known at the end of row `rows - 1`."""

        def first(values: Any) -> Any:
            return None if values is None else values[:rows]

        return Bars(**{name: first(values) for name, values in asdict(self, recurse=False).items()})

    def column(self, name: str) -> Array:
        """One of `INPUTS`. The caller checks that it exists."""
        values: Array | None = getattr(self, name)
        if values is None:
            raise ValueError(f"these bars have no {name}")
        return values
