"""Paired comparison of a study's trials by window: ties with the best trial, and its optimism."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
from attrs import frozen

from scalecore.api.errors import DataError
from scalecore.api.predictions import trial_predictions
from scalecore.api.statistics import BOOTSTRAP_SEED, block_length, resampled_counts
from scalecore.api.trials import StudyView, TrialRecord

__all__ = ["Paired", "paired_with_best"]

RESAMPLES = 1000
AT_ONCE = 250
MIN_BLOCKS = 5

Floats = npt.NDArray[np.float64]


@frozen(kw_only=True)
class Paired:
    """Comparison of the stored predictions of completed trials, with the same resampled blocks of windows for all."""

    windows: int
    rows: tuple[dict[str, Any], ...]
    """Trials by their mean loss: number, loss, difference from the best with its 95 % interval, tied or not."""
    optimism: float
    """How much better the best trial looks on the windows that selected it than on their population: the selection is
    repeated in each resample. A bootstrap estimate (Efron 1983), conservative: too small rather than too large."""

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
    block = block_length(count, overlap=overlap)
    if count < MIN_BLOCKS * block:
        return f"{count} windows are fewer than {MIN_BLOCKS} blocks of {block}, too few for intervals of differences"
    pieces = resampled_counts(count, block=block, resamples=RESAMPLES, seed=BOOTSTRAP_SEED, at_once=AT_ONCE)
    means = np.concatenate([matrix @ piece.T for piece in pieces], axis=1) / count
    whole = matrix.mean(axis=1)
    differences = means - means[0]
    low, high = np.quantile(differences, (0.025, 0.975), axis=1)
    rows = [
        {
            "trial": number,
            "loss": float(whole[index]),
            "worse by": float(whole[index] - whole[0]),
            "low": float(low[index]),
            "high": float(high[index]),
            "tied": bool(low[index] <= 0),
        }
        for index, number in enumerate(numbers)
    ]
    winners = means.argmin(axis=0)
    optimism = float((whole[winners] - means[winners, np.arange(RESAMPLES)]).mean())
    return Paired(windows=count, rows=tuple(sorted(rows, key=lambda row: row["loss"])), optimism=optimism)
