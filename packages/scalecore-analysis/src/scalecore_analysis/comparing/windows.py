"""The trainings that represent a study, and their losses on the windows that all compared studies share."""

from __future__ import annotations

from collections.abc import Sequence
from functools import reduce

import numpy as np
import numpy.typing as npt
from attrs import frozen

from scalecore.api.errors import DataError
from scalecore.api.predictions import Predictions, trial_predictions
from scalecore.api.statistics import MIN_SEEDS
from scalecore.api.trials import TrialRecord, best_first
from scalecore_analysis.comparing.contributions import contributions
from scalecore_analysis.comparing.profile import Profile
from scalecore_analysis.runs import configurations, metric_of

__all__ = ["Represented", "Times", "common_times", "labels_differ", "represented"]

Floats = npt.NDArray[np.float64]
Times = npt.NDArray[np.datetime64]


@frozen(kw_only=True, eq=False)
class Represented:
    """The configuration that represents a study, with its trainings."""

    profile: Profile
    trial: int
    """The number of the search's trial with this configuration."""
    runs: tuple[TrialRecord, ...]
    values: tuple[float, ...]
    """The metric of each training, on all windows of the study."""
    fresh: bool
    """Replicates on fresh seeds, which no selection used."""
    predictions: tuple[Predictions, ...] | None
    """Of each training; None if those of one are missing."""
    unpaired: str | None
    """Why `predictions` is None."""

    @property
    def times(self) -> Times | None:
        """The windows by the time of their last row, in order; None without predictions."""
        if self.predictions is None:
            return None
        return reduce(np.intersect1d, (one.times for one in self.predictions))

    @property
    def selected(self) -> bool:
        """Whether the values are optimistic: a search selected the trial for its value."""
        return not self.fresh and not self.profile.fixed

    def by_window(self, metric: str, times: Times) -> Floats | None:
        """The contributions of each window to the metric [seeds, windows] at these times; None if there are none."""
        found = [contributions(one, metric, _positions(one, times)) for one in self.predictions or ()]
        known = [one for one in found if one is not None]
        return np.stack(known) if known and len(known) == len(found) else None

    def labels(self, times: Times) -> Floats:
        """The labels [windows] at these times."""
        assert self.predictions is not None
        first = self.predictions[0]
        return first.labels.astype(np.float64)[_positions(first, times)]


def represented(profile: Profile, *, metric: str, fresh: bool) -> Represented | str:
    """The best configuration of a study by its trainings on fresh seeds or by the search's; else the reason.

    The search ranks the configurations, not their replicates: the best of several by its own replicates would be
    optimistic again. A configuration with fewer than three fresh seeds is used only if there is no other.
    """
    study = profile.study
    if not fresh:
        best = study.best
        value = None if best is None else metric_of(best, metric)
        if best is None or value is None:
            return f"no completed trial has the metric {metric!r}"
        return _with_predictions(profile, best, (best,), (value,), fresh=False)
    place = {trial.number: place for place, trial in enumerate(best_first(study.counted, direction=study.direction))}
    found = [one for one in configurations(study, metric) if one.fresh]
    found = [one for one in found if not any(run.collapsed for run in one.runs)] or found
    ranked = [(place[one.searched.number], one) for one in found if one.searched and one.searched.number in place]
    ranked.sort(key=lambda each: each[0])
    for least in (MIN_SEEDS, 1):
        for _, one in ranked:
            if one.searched is not None and len(one.values) >= least:
                return _with_predictions(profile, one.searched, one.runs, one.values, fresh=True)
    return "no configuration was trained on fresh seeds"


def common_times(studies: Sequence[Represented]) -> Times:
    """The windows of all studies; each must have predictions."""
    return reduce(np.intersect1d, (one.times for one in studies if one.times is not None))


def labels_differ(one: Represented, other: Represented, times: Times) -> int:
    """The number of windows at which the stored labels of two studies differ."""
    ours, theirs = one.labels(times), other.labels(times)
    # A forecast that was trained on another scale stores labels in double precision.
    return int((ours.astype(np.float32) != theirs.astype(np.float32)).sum())


def _with_predictions(
    profile: Profile, trial: TrialRecord, runs: Sequence[TrialRecord], values: Sequence[float], *, fresh: bool
) -> Represented:
    reason, found = None, []
    for run in runs:
        try:
            predictions = trial_predictions(profile.study.folder, run)
        except DataError as error:
            reason = str(error)
            continue
        if predictions is None:
            reason = f"the predictions of {'replicate' if fresh else 'trial'} {run.number} were not stored"
        else:
            found.append(predictions)
    return Represented(
        profile=profile,
        trial=trial.number,
        runs=tuple(runs),
        values=tuple(values),
        fresh=fresh,
        predictions=tuple(found) if reason is None else None,
        unpaired=reason,
    )


def _positions(predictions: Predictions, times: Times) -> npt.NDArray[np.intp]:
    """The positions of these times, all of which the predictions contain."""
    order = np.argsort(predictions.times, kind="stable")
    return order[np.searchsorted(predictions.times, times, sorter=order)]
