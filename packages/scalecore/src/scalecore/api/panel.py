"""The table that a dataset returns to the core."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from attrs import field, frozen

from scalecore.api.dataset_options import Normalisation, Split
from scalecore.api.targets import Target

__all__ = ["Panel"]


@frozen(kw_only=True, eq=False)
class Panel:
    """Rows in time. Window t consists of the rows t-context+1 .. t; its label is `labels[t]`.

    Compute `labels` from raw columns, before any transform (guard G06). They are NaN for the rows at the end, whose
    future is unknown. `look_back` is the largest number of earlier rows from which a feature is computed (0 for raw
    columns), so that the purge between splits can cover it. `details` is stored with the study unchanged; the plan
    shows the lines under its key `notes`, the table of the logger `csv` the value of `tier`. `flags` are the dataset's
    warnings about its rows, each with `guard`, `kind` and `text`; the plan shows them, and every trial record contains
    them.
    """

    name: str
    times: npt.NDArray[np.datetime64]
    """[rows] ascending and unique."""
    values: npt.NDArray[np.float64]
    """[rows, features] raw."""
    labels: npt.NDArray[np.float64]
    """[rows]"""
    features: tuple[str, ...]
    target: Target
    context: int
    split: Split
    normalise: Normalisation
    look_back: int = 0
    details: Mapping[str, Any] = field(factory=dict)
    flags: Sequence[Mapping[str, str]] = ()
