"""Trials of a study compared window by window: who is tied with the best, and how much luck is in being the best."""

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
    """What the kept predictions of completed trials say, over the same resampled blocks of windows for all of them."""

    windows: int
    rows: tuple[dict[str, Any], ...]
    """Trials by their mean loss: number, loss, difference from the best with its 95 % interval, tied or not."""
    optimism: float
    """How much better the best one looks on the windows by which it was chosen than on the whole they were drawn from:
    its own best-of-n, played again in each resample. An estimate by the bootstrap (Efron 1983), too small rather than
    too large."""

    @property
    def tied(self) -> list[int]:
        """Numbers of the trials whose difference from the best may be nothing, the best among them."""
        return [row["trial"] for row in self.rows if row["tied"]]


def paired_with_best(study: StudyView, trials: list[TrialRecord], best: TrialRecord) -> Paired | str:
    """Compare all trials with the best one, on `val_loss`; or why that cannot be done.

    A trial whose predictions are not kept, or not of the same windows, is left out.
    """
    losses: dict[int, Floats] = {}
    overlap, times = 1, None
    for trial in sorted(trials, key=lambda one: one.number != best.number):
        try:
            found = trial_predictions(study.folder, trial)
        except DataError as error:
            found, reason = None, str(error)
        else:
            reason = "its predictions were not kept"
        if found is None and trial.number == best.number:
            return f"trial {best.number} cannot be compared window by window: {reason}"
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
        return f"{count} windows make fewer than {MIN_BLOCKS} blocks of {block}: their differences have no interval"
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
