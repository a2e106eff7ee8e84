"""Paired comparison of a study's trials by window: ties with the best trial, and its optimism."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
from attrs import frozen

from scalecore.api.errors import DataError
from scalecore.api.predictions import trial_predictions
from scalecore.api.statistics import half_width, mean_errors, too_few
from scalecore.api.trials import StudyView, TrialRecord

__all__ = ["Paired", "paired_with_best"]

DRAWS = 1000
SEED = 0

Floats = npt.NDArray[np.float64]


@frozen(kw_only=True)
class Paired:
    """Comparison of the stored predictions of completed trials, by the same cosines for all."""

    windows: int
    rows: tuple[dict[str, Any], ...]
    """Trials by their mean loss: number, loss, difference from the best with its 95 % interval, tied or not."""
    optimism: float
    """How much better the best trial looks on the windows that selected it than on their population: the selection is
    repeated with errors drawn anew. A bootstrap estimate (Efron 1983), conservative: too small rather than too large.
    """

    @property
    def tied(self) -> list[int]:
        """Numbers of the trials that do not differ significantly from the best, which is included."""
        return [row["trial"] for row in self.rows if row["tied"]]


def paired_with_best(study: StudyView, trials: list[TrialRecord], best: TrialRecord) -> Paired | str:
    """Compare all trials with the best one on `val_loss`, or return the reason why this is impossible.

    Excludes trials without stored predictions, or with predictions on other windows.
    """
    losses: dict[int, Floats] = {}
    overlap, times = 1, None
    for trial in sorted(trials, key=lambda one: one.number != best.number):
        try:
            found = trial_predictions(study.folder, trial)
        except DataError as error:
            found, reason = None, str(error)
        else:
            reason = "its predictions were not stored"
        if found is None and trial.number == best.number:
            return f"trial {best.number} cannot be compared by window: {reason}"
        if found is None:
            continue
        if times is None:
            times, overlap = found.times, int(found.about["horizon"])
        if np.array_equal(found.times, times):
            losses[trial.number] = found.losses()
    numbers = list(losses)
    matrix = np.stack([losses[number] for number in numbers])
    count = matrix.shape[1]
    if (why := too_few(count, overlap=overlap)) is not None:
        return why
    whole, errors = matrix.mean(axis=1), mean_errors(matrix, overlap=overlap)
    less, half = whole - whole[0], half_width(errors - errors[0])
    rows = [
        {
            "trial": number,
            "loss": float(whole[index]),
            "worse by": float(less[index]),
            "low": float(less[index] - half[index]),
            "high": float(less[index] + half[index]),
            "tied": bool(less[index] <= half[index]),
        }
        for index, number in enumerate(numbers)
    ]
    rows.sort(key=lambda row: row["loss"])
    return Paired(windows=count, rows=tuple(rows), optimism=_optimism(whole, errors))


def _optimism(means: Floats, errors: Floats) -> float:
    """`means` [trials], with their errors [trials, cosines], whose covariance is that of the errors that are drawn."""
    cosines = errors.shape[1]
    half = np.random.default_rng(SEED).normal(size=(cosines, DRAWS // 2)) / np.sqrt(cosines)
    # Each with its opposite: the errors of one trial average to 0, so that a clear winner has no optimism.
    drawn = errors @ np.concatenate([half, -half], axis=1)
    winners = (means[:, None] + drawn).argmin(axis=0)
    return max(0.0, float(-drawn[winners, np.arange(DRAWS)].mean()))
