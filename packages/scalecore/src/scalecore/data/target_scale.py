"""The scale on which a forecast is trained: labels standardised on training windows (guard G57).

A network starts near 0 and learns in steps of about its learning rate, so a target around 40,000 is out of its reach.
Everything that is reported is in the target's own unit again: this is the only place that converts.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from scalecore.api.data_report import TargetScale
from scalecore.api.errors import DataError

__all__ = ["CONVENTION", "fit_scale"]

CONVENTION = "standard"
"""Names the way of scaling in the fingerprint of the data; the numbers follow from the data."""


def fit_scale(labels: npt.NDArray[np.float64], *, train: npt.NDArray[np.int64], name: str) -> TargetScale:
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
