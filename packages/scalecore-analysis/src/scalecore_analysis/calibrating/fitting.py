"""Fit calibrators to logits and labels of a binary target."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
from attrs import evolve
from scipy.optimize import minimize_scalar

from scalecore.api.predictions import Calibrator

__all__ = ["MIN_POSITIVES", "UNCALIBRATED", "fit_calibrators"]

Floats = npt.NDArray[np.float64]

MIN_POSITIVES = 200
"""Minimum windows of the rarer class for isotonic regression, which overfits smaller samples."""
UNCALIBRATED = Calibrator(kind="temperature")


def fit_calibrators(
    logits: Floats, labels: Floats, *, about: Mapping[str, Any] | None = None
) -> dict[str, Calibrator | str]:
    """Calibrators by name, or the reason why one is missing. `logits` and `labels` (0 or 1) are [windows]."""
    positives = int(min(labels.sum(), len(labels) - labels.sum()))
    found: dict[str, Calibrator | str] = {"temperature": _temperature(logits, labels), "platt": _platt(logits, labels)}
    found["isotonic"] = (
        _isotonic(logits, labels)
        if positives >= MIN_POSITIVES
        else f"refused: {positives} windows of the rarer class, at least {MIN_POSITIVES} are required"
    )
    return {
        name: evolve(one, about=dict(about or {})) if isinstance(one, Calibrator) else one
        for name, one in found.items()
    }


def _temperature(logits: Floats, labels: Floats) -> Calibrator:
    """Divide all logits by one number (Guo et al. 2017), which preserves the order of the windows."""

    def loss(log_slope: float) -> float:
        scaled = np.exp(log_slope) * logits
        return float((np.logaddexp(0, scaled) - labels * scaled).mean())

    found = minimize_scalar(loss, bounds=(-7.0, 7.0), method="bounded", options={"xatol": 1e-9})
    return Calibrator(kind="temperature", slope=float(np.exp(found.x)))


def _platt(logits: Floats, labels: Floats) -> Calibrator:
    """Slope and intercept by logistic regression on the logit (Platt 1999), without regularisation."""
    from sklearn.linear_model import LogisticRegression

    model = LogisticRegression(C=np.inf, tol=1e-10, max_iter=1000).fit(logits[:, None], labels)
    return Calibrator(kind="platt", slope=float(model.coef_[0, 0]), intercept=float(model.intercept_[0]))


def _isotonic(logits: Floats, labels: Floats) -> Calibrator:
    """The non-decreasing function with the least squared error (Zadrozny and Elkan 2002).

    Probabilities of 0 and 1 are moved inwards as if there were one more window of each class: otherwise a single
    unexpected label would cause an infinite loss.
    """
    from sklearn.isotonic import IsotonicRegression

    model = IsotonicRegression(out_of_bounds="clip").fit(logits, labels)
    least = 1 / (len(labels) + 2)
    chances = np.clip(model.y_thresholds_, least, 1 - least)
    return Calibrator(kind="isotonic", logits=model.X_thresholds_.tolist(), chances=chances.tolist())
