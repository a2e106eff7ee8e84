"""Normalisation of features, fit on training rows only, and the scale of a forecast's target (guard G57).

A network starts near 0 and learns in steps of about its learning rate, so that it cannot reach a target around 40,000.
Reported values are in the target's own unit.
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
"""The name of the target's scaling in the fingerprint; its numbers follow from the data."""

Values = npt.NDArray[np.float64]


@frozen(kw_only=True, eq=False)
class Normaliser:
    """(value - center) / scale for each feature; `constant` features do not vary in training and have scale 1."""

    kind: Normalisation
    center: Values
    scale: Values
    constant: tuple[int, ...]

    def apply(self, values: Values) -> npt.NDArray[np.float32]:
        """Return normalised `values` [rows, features] as contiguous float32."""
        return np.ascontiguousarray((values - self.center) / self.scale, dtype=np.float32)

    def to_json(self, features: Sequence[str]) -> dict[str, Any]:
        """Return the kind, and center and scale by feature."""
        return {
            "kind": self.kind,
            "center": dict(zip(features, self.center.tolist(), strict=True)),
            "scale": dict(zip(features, self.scale.tolist(), strict=True)),
        }


def input_rows(ends: npt.NDArray[np.int64], *, context: int, rows: int) -> npt.NDArray[np.bool_]:
    """Return a mask [rows] of the inputs of the windows that end at `ends`."""
    steps = np.zeros(rows + 1, dtype=np.int64)
    np.add.at(steps, ends - context + 1, 1)
    np.add.at(steps, ends + 1, -1)
    return np.cumsum(steps[:rows]) > 0


def fit(values: Values, *, kind: Normalisation) -> Normaliser:
    """Fit center and scale on training rows `values` [rows, features].

    `standard`: mean and population standard deviation. `robust`: median and interquartile range, or the standard
    deviation if that range is 0. A constant feature is only centered.
    """
    count = values.shape[1]
    spread = values.std(axis=0)
    # Rounding may give a constant feature a spread above 0; the spread of values that vary by 1e-170 rounds to 0.
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
    """Fit the scale of `labels` [rows] on the training windows that end at the rows `train`.

    The std is 1 if the labels are constant or their spread rounds to 0. Raises DataError if labels are too large, or
    too far from those of training, for single precision.
    """
    seen = labels[train]
    with np.errstate(over="ignore", invalid="ignore"):
        mean, spread = float(seen.mean()), float(seen.std())
        # Rounding may give constant labels a spread above 0.
        std = 1.0 if spread == 0 or seen.max() == seen.min() else spread
        scale = TargetScale(mean=mean, std=std)
        fits = np.isfinite([mean, std]).all() and np.isfinite(scale.standardised(labels[~np.isnan(labels)])).all()
    if not fits:
        raise DataError(
            f"{name}: the labels cannot be standardised (mean {mean:g} and standard deviation {std:g} over training "
            "windows): some would be too large for single precision. Use another unit for the target, or remove wrong "
            "rows"
        )
    return scale
