"""Normalisation of features, fit on training rows only, and the scale of a forecast's target (guard G57).

A network starts near 0 and learns in steps of about its learning rate, so a target around 40,000 is out of its reach.
What is reported is in the target's own unit again.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
from attrs import frozen

from scalecore.api.data_report import TargetScale
from scalecore.api.dataset_options import Normalisation
from scalecore.api.errors import DataError

if TYPE_CHECKING:
    from collections.abc import Sequence

CONVENTION = "standard"
"""Names the way of scaling the target in the fingerprint of the data; the numbers follow from the data."""

Values = npt.NDArray[np.float64]


@frozen(kw_only=True, eq=False)
class Normaliser:
    """(value - center) / scale for each feature; `constant` are features that do not vary in training and keep scale
    1."""

    kind: Normalisation
    center: Values
    scale: Values
    constant: tuple[int, ...]

    def apply(self, values: Values) -> npt.NDArray[np.float32]:
        """`values` [rows, features] normalised, as contiguous float32."""
        return np.ascontiguousarray((values - self.center) / self.scale, dtype=np.float32)

    def to_json(self, features: Sequence[str]) -> dict[str, Any]:
        """Kind, and center and scale by feature."""
        return {
            "kind": self.kind,
            "center": dict(zip(features, self.center.tolist(), strict=True)),
            "scale": dict(zip(features, self.scale.tolist(), strict=True)),
        }


def input_rows(ends: npt.NDArray[np.int64], *, context: int, rows: int) -> npt.NDArray[np.bool_]:
    """Which of `rows` rows are inputs of the windows that end at `ends`."""
    steps = np.zeros(rows + 1, dtype=np.int64)
    np.add.at(steps, ends - context + 1, 1)
    np.add.at(steps, ends + 1, -1)
    return np.cumsum(steps[:rows]) > 0


def fit(values: Values, *, kind: Normalisation) -> Normaliser:
    """Center and scale from training rows `values` [rows, features].

    `standard`: mean and population standard deviation. `robust`: median and interquartile range, or the standard
    deviation where the middle half of the values is one value. A constant feature is centered only.
    """
    count = values.shape[1]
    spread = values.std(axis=0)
    # Rounding may give a constant a spread; and the spread of what varies by 1e-170 rounds to 0.
    constant = (values.max(axis=0) == values.min(axis=0)) | (spread == 0)
    if kind == "none":
        center, scale = np.zeros(count), np.ones(count)
    elif kind == "standard":
        center, scale = values.mean(axis=0), spread
    else:
        low, center, high = np.quantile(values, (0.25, 0.5, 0.75), axis=0)
        scale = np.where(high > low, high - low, spread)
    scale = np.where(constant, 1.0, scale)
    return Normaliser(kind=kind, center=center, scale=scale, constant=tuple(np.flatnonzero(constant).tolist()))


def fit_scale(labels: Values, *, train: npt.NDArray[np.int64], name: str) -> TargetScale:
    """The scale of `labels` [rows] over the training windows that end at the rows `train`.

    A constant keeps std 1, as does what varies by so little that its spread rounds to 0. Raises DataError where labels
    are too large, or lie too far from those of training, to be computed with.
    """
    seen = labels[train]
    with np.errstate(over="ignore", invalid="ignore"):
        mean, spread = float(seen.mean()), float(seen.std())
        # Rounding may give a constant a spread.
        std = 1.0 if spread == 0 or seen.max() == seen.min() else spread
        scale = TargetScale(mean=mean, std=std)
        fits = np.isfinite([mean, std]).all() and np.isfinite(scale.standardised(labels[~np.isnan(labels)])).all()
    if not fits:
        raise DataError(
            f"{name}: the labels cannot be standardised (mean {mean:g} and standard deviation {std:g} over training "
            "windows): some are too large for single precision then. Give the target another unit, or remove the rows "
            "that are wrong"
        )
    return scale
