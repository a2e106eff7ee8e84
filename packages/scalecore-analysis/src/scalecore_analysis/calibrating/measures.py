"""Measures of calibration: log loss, Brier score with its decomposition, calibration error with its null distribution.

The expected calibration error (ECE) of a finite sample is above zero even if every probability is correct: with 422
windows and 15 bins it is about 0.04. It is therefore reported with its distribution under perfect calibration (labels
drawn from the probabilities), and with a debiased form.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from scalecore.api.statistics import NOT_NEGATIVE, mean_interval

__all__ = ["log_losses", "measures", "reliability"]

Floats = npt.NDArray[np.float64]

DRAWS = 1000
SEED = 0


def log_losses(chances: Floats, labels: Floats) -> Floats:
    """Log losses [windows] in nats; probabilities are clipped to [1e-15, 1 - 1e-15]."""
    kept = np.clip(chances, 1e-15, 1 - 1e-15)
    losses: Floats = -(labels * np.log(kept) + (1 - labels) * np.log1p(-kept))
    return losses


def measures(chances: Floats, labels: Floats, *, bins: int, overlap: int) -> dict[str, Any]:
    """All measures of probabilities [windows] against labels (0 or 1); losses with 95 % intervals over windows."""
    losses, squares = log_losses(chances, labels), (chances - labels) ** 2
    low, high = _ends(losses, overlap)
    brier_low, brier_high = _ends(squares, overlap)
    slope, intercept = _cox(chances, labels)
    member = _equal_width(chances, bins)
    expected = _null(chances, member, bins)
    error = float(_ece(chances, labels[None], member, bins)[0])
    return {
        "log loss": float(losses.mean()),
        "low": low,
        "high": high,
        "Brier": float(squares.mean()),
        "Brier low": brier_low,
        "Brier high": brier_high,
        **_murphy(chances, labels, bins),
        "ECE": error,
        "ECE if calibrated": float(expected.mean()),
        "95 % of it below": float(np.quantile(expected, 0.95)),
        "p": float((1 + (expected >= error).sum()) / (1 + len(expected))),
        "ECE debiased": _debiased(chances, labels, bins),
        "slope": slope,
        "intercept": intercept,
    }


def reliability(chances: Floats, labels: Floats, *, bins: int) -> list[dict[str, Any]]:
    """One row per bin of equal numbers of windows: mean probability, share of positives, and the 95 % band of that
    share under perfect calibration."""
    member = _equal_mass(chances, bins)
    generator = np.random.default_rng(SEED)
    rows = []
    for one in np.unique(member):
        inside = member == one
        drawn = (generator.random((DRAWS, int(inside.sum()))) < chances[inside]).mean(axis=1)
        low, high = np.quantile(drawn, (0.025, 0.975)).tolist()
        rows.append(
            {
                "windows": int(inside.sum()),
                "probability": float(chances[inside].mean()),
                "share": float(labels[inside].mean()),
                "low": low,
                "high": high,
            }
        )
    return rows


def _ends(values: Floats, overlap: int) -> tuple[float | None, float | None]:
    found = mean_interval(values, overlap=overlap, bounds=NOT_NEGATIVE)
    return (None, None) if found is None else (found.low, found.high)


def _equal_width(chances: Floats, bins: int) -> npt.NDArray[np.int64]:
    """The bin [windows] of each probability; a probability of 1 is in the last bin."""
    return np.minimum((chances * bins).astype(np.int64), bins - 1)


def _equal_mass(chances: Floats, bins: int) -> npt.NDArray[np.int64]:
    """Bins of about the same number of windows; equal probabilities share a bin."""
    edges = np.unique(np.quantile(chances, np.linspace(0, 1, bins + 1))[1:-1])
    member: npt.NDArray[np.int64] = np.searchsorted(edges, chances, side="right").astype(np.int64)
    return member


def _ece(chances: Floats, labels: Floats, member: npt.NDArray[np.int64], bins: int) -> Floats:
    """For each row of labels [rows, windows]: the mean over windows of |share - probability| in their bin."""
    indicator = np.zeros((len(chances), bins))
    indicator[np.arange(len(chances)), member] = 1.0
    error: Floats = np.abs(labels @ indicator - chances @ indicator).sum(axis=1) / len(chances)
    return error


def _null(chances: Floats, member: npt.NDArray[np.int64], bins: int) -> Floats:
    """ECE of labels drawn from the probabilities: [draws]."""
    generator = np.random.default_rng(SEED)
    drawn = (generator.random((DRAWS, len(chances))) < chances).astype(np.float64)
    return _ece(chances, drawn, member, bins)


def _debiased(chances: Floats, labels: Floats, bins: int) -> float:
    """Root of the mean squared calibration error in bins of equal mass, minus its expectation under calibration.

    After Kumar, Liang and Ma (2019, Verified uncertainty calibration); 0 if the expectation is larger.
    """
    member = _equal_mass(chances, bins)
    total = 0.0
    for one in np.unique(member):
        inside = member == one
        count = int(inside.sum())
        if count > 1:
            share = float(labels[inside].mean())
            bias = share * (1 - share) / (count - 1)
            total += count / len(labels) * ((share - float(chances[inside].mean())) ** 2 - bias)
    return float(np.sqrt(max(total, 0.0)))


def _murphy(chances: Floats, labels: Floats, bins: int) -> dict[str, float]:
    """Brier score = reliability - resolution + uncertainty + variation within bins.

    After Murphy (1973), with the last term of Stephenson, Coelho and Jolliffe (2008).
    """
    member, rate = _equal_mass(chances, bins), float(labels.mean())
    off = resolved = 0.0
    for one in np.unique(member):
        inside = member == one
        weight, share = float(inside.mean()), float(labels[inside].mean())
        off += weight * (float(chances[inside].mean()) - share) ** 2
        resolved += weight * (share - rate) ** 2
    uncertainty = rate * (1 - rate)
    within = float(((chances - labels) ** 2).mean()) - (off - resolved + uncertainty)
    return {"reliability": off, "resolution": resolved, "uncertainty": uncertainty, "within bins": within}


def _cox(chances: Floats, labels: Floats) -> tuple[float | None, float | None]:
    """Slope and intercept of the labels on the log odds (Cox 1958): 1 and 0 under perfect calibration.

    None if the probabilities are constant or a class is missing.
    """
    kept = np.clip(chances, 1e-12, 1 - 1e-12)
    odds = np.log(kept) - np.log1p(-kept)
    if odds.std() < 1e-9 or labels.min() == labels.max():
        return None, None
    from sklearn.linear_model import LogisticRegression

    model = LogisticRegression(C=np.inf, tol=1e-8, max_iter=1000).fit(odds[:, None], labels)
    return float(model.coef_[0, 0]), float(model.intercept_[0])
