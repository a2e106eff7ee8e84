"""The losses by window of the configurations that a verdict uses, paired over the budgets of a group."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from attrs import frozen

from scalecore.api.errors import DataError
from scalecore.api.predictions import Predictions, trial_predictions
from scalecore.api.statistics import mean_errors
from scalecore.api.trials import StudyView, TrialRecord
from scalecore_analysis.runs import Configuration, configurations
from scalecore_analysis.scaling.budgets import chosen_of
from scalecore_analysis.scaling.laws import Floats

__all__ = ["WindowErrors", "window_errors"]


@frozen(kw_only=True, eq=False)
class WindowErrors:
    """The errors of the budgets' mean losses due to the choice of windows, smallest budget first."""

    projections: Floats
    """[budgets, cosines]: the mean square of a contrast of budgets over its cosines is the variance of the contrast."""

    def variance(self, contrast: Floats) -> tuple[float, int]:
        """The variance of a weighted sum of the means, and its degrees of freedom."""
        errors = contrast @ self.projections
        return float((errors**2).mean()), len(errors)


def window_errors(studies: Sequence[StudyView], *, metric: str, seeds: int) -> WindowErrors | str:
    """The errors of comparable studies, from the stored predictions of the runs in each mean; else the reason."""
    if metric != "val_loss":
        return f"{metric} is no mean over windows"
    rows: list[tuple[int, Floats]] = []
    times = None
    for study in studies:
        chosen = chosen_of(configurations(study, metric), metric=metric, seeds=seeds)
        try:
            found = _predictions(study, chosen) if chosen is not None else []
        except DataError as error:
            return str(error)
        if chosen is None or len(found) < len(chosen.runs):
            return f"{study.name} has no stored predictions of some runs"
        if times is None:
            times = found[0].times
        if any(not np.array_equal(one.times, times) for one in found):
            return "the studies were validated on different windows"
        rows.append((chosen.first.architecture.num_parameters, np.mean([one.losses() for one in found], axis=0)))
    losses = np.stack([row for _, row in sorted(rows, key=lambda one: one[0])])
    projections = mean_errors(losses, overlap=studies[0].plan.data.target.overlap)
    if not projections.shape[1]:
        return f"{losses.shape[1]} windows are too few"
    return WindowErrors(projections=projections)


def _predictions(study: StudyView, chosen: Configuration) -> list[Predictions]:
    known = [_stored(study, run) for run in chosen.runs]
    return [one for one in known if one is not None]


def _stored(study: StudyView, record: TrialRecord) -> Predictions | None:
    """The stored predictions of a trial or confirmation; None if they are missing or damaged."""
    try:
        return trial_predictions(study.folder, record)
    except DataError:
        return None
