"""The difference between two studies with its interval, and the verdict on it."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from functools import cached_property
from typing import Literal

import numpy as np
import numpy.typing as npt
from attrs import frozen

from scalecore.api.metrics import LARGE_IS_GOOD
from scalecore.api.statistics import MIN_SEEDS, Estimate, difference, margin_of, mean, mean_interval
from scalecore_analysis.comparing.pairs import ComparedGroup
from scalecore_analysis.comparing.profile import Profile
from scalecore_analysis.comparing.windows import Represented, Times, common_times, labels_differ, represented

__all__ = ["Compared", "Rules", "StudyVerdict", "compared", "decide", "detectable", "least_spreads"]

MANY = 1000
POWER = 0.8
"""The smallest detectable difference is found in this share of repetitions."""

StudyVerdict = Literal["better", "equivalent", "worse", "inconclusive"]
Floats = npt.NDArray[np.float64]
Interval = tuple[float, float]


@frozen(kw_only=True)
class Rules:
    """How differences are judged."""

    metric: str
    margin: float | None
    """Given as an option; None for the margin of the studies."""
    min_samples: int
    other_labels: bool
    """Whether labels may differ."""


@frozen(kw_only=True, eq=False)
class Compared:
    """One comparison: a study less its reference, each with the mean over its trainings on the same windows."""

    study: Represented
    reference: Represented
    metric: str
    windows: int
    """Number of common windows."""
    left_out: tuple[int, int]
    """Windows of the study and of the reference that the comparison does not use."""
    values: tuple[tuple[float, ...], tuple[float, ...]]
    """By training, on the common windows."""
    losses: tuple[Floats, Floats] | None
    """The contributions of the windows to the metric [seeds, windows]; None if there are none."""
    overlap: int
    margin: float
    margin_from: str
    note: str | None
    """Why the interval ignores the choice of windows."""
    unconfirmed: tuple[Represented, ...]
    """Those of the two that have too few fresh seeds."""

    @property
    def fresh(self) -> bool:
        """Whether both are represented by fresh seeds."""
        return self.study.fresh and self.reference.fresh

    @property
    def same(self) -> bool:
        """Whether both studies found the same configuration of the same model on the same data."""
        if {run.hash for run in self.study.runs} & {run.hash for run in self.reference.runs}:
            return True
        first, second = self.study.runs[0], self.reference.runs[0]
        differing = self.study.profile.differences(self.reference.profile)
        return (
            differing.keys() <= {"search", "budget", "seed"}
            and first.architecture.id == second.architecture.id
            and dict(first.hyperparameters) == dict(second.hyperparameters)
        )

    @property
    def seeds(self) -> tuple[int, int]:
        return len(self.values[0]), len(self.values[1])

    @cached_property
    def estimate(self) -> Estimate:
        """The difference in the metric's unit, with the variation of seeds and windows."""
        return difference(*self.values, losses=self.losses, overlap=self.overlap)

    def interval(self, *, comparisons: int) -> Interval | None:
        """At 95 % for all comparisons together; over windows only, if there is one training each."""
        if self.fresh or self.losses is None:
            return self.estimate.interval(level=1 - 0.05 / comparisons)
        return _over_windows(self.losses[0].mean(axis=0) - self.losses[1].mean(axis=0), overlap=self.overlap)

    def mean(self, side: int) -> tuple[float, float | None, float | None]:
        """The mean of the study (0) or of the reference (1), and its own 95 % interval."""
        losses = None if self.losses is None else self.losses[side]
        found = mean(self.values[side], losses=losses, overlap=self.overlap)
        interval = found.interval()
        if interval is None and losses is not None:
            interval = _over_windows(losses.mean(axis=0), overlap=self.overlap)
        return found.value, *(interval or (None, None))

    def seeds_to_detect(self, size: float, *, comparisons: int) -> int | None:
        """The fresh seeds of each study with which `size` is detectable on these windows; None for more than 1000."""
        gap = self.estimate
        least = detectable(gap, comparisons=comparisons)
        if gap.error is None or least is None:
            return None
        seeds = [float(np.var(values, ddof=1)) for values in self.values]
        windows = max(0.0, gap.error**2 - sum(one / len(each) for one, each in zip(seeds, self.values, strict=True)))
        # As `detectable`, with the degrees of freedom that there are now.
        left = (size * gap.error / least) ** 2 - windows
        needed = math.ceil(sum(seeds) / left) if left > 0 else MANY + 1
        return needed if needed <= MANY else None

    def verdict(self, *, comparisons: int) -> StudyVerdict:
        if self.same:
            return "equivalent"
        if not self.fresh:
            return "inconclusive"
        judged = self.reference.profile.study
        larger = judged.direction == "maximize" if self.metric == judged.metric else self.metric in LARGE_IS_GOOD
        sign = -1.0 if larger else 1.0
        return decide(self.estimate, sign=sign, seeds=self.seeds, margin=self.margin, comparisons=comparisons)


def decide(gap: Estimate, *, sign: float, seeds: tuple[int, int], margin: float, comparisons: int) -> StudyVerdict:
    """Judge a difference; with `sign` 1 a positive one is worse, with -1 better.

    `better`, `worse`: the interval excludes 0. `equivalent`: both one-sided tests reject a difference of the margin.
    All tests have a joint level of 95 % over the comparisons (Bonferroni). Inconclusive with fewer than three seeds.
    """
    two_sided, one_sided = gap.interval(level=1 - 0.05 / comparisons), gap.interval(level=1 - 0.1 / comparisons)
    if min(seeds) < MIN_SEEDS or two_sided is None or one_sided is None:
        return "inconclusive"
    if two_sided[0] > 0 or two_sided[1] < 0:
        return "worse" if sign * gap.value > 0 else "better"
    return "equivalent" if -margin < one_sided[0] and one_sided[1] < margin else "inconclusive"


def detectable(gap: Estimate, *, comparisons: int) -> float | None:
    """The smallest difference that these seeds and windows find in 80 % of repetitions, at the joint level."""
    if not gap.error or gap.degrees is None:
        return None
    from scipy.stats import t

    return float((t.ppf(1 - 0.025 / comparisons, gap.degrees) + t.ppf(POWER, gap.degrees)) * gap.error)


def least_spreads(seeds: int, *, comparisons: int) -> float:
    """The smallest detectable difference, in standard deviations between seeds, without the choice of windows."""
    spread = Estimate(value=0.0, error=math.sqrt(2 / seeds), degrees=2 * (seeds - 1))
    return detectable(spread, comparisons=comparisons) or math.inf


def compared(group: ComparedGroup, rules: Rules) -> Iterator[Compared | tuple[Profile, str]]:
    """Compare all studies of a group on the windows that all share; a study that cannot be compared has a reason."""
    fresh = {one: represented(one, metric=rules.metric, fresh=True) for one in (group.reference, *group.others)}
    searched = {one: represented(one, metric=rules.metric, fresh=False) for one in fresh}
    pairs: list[tuple[Represented, Represented]] = []
    for other in group.others:
        known = fresh if all(isinstance(fresh[one], Represented) for one in (other, group.reference)) else searched
        ours, theirs = known[other], known[group.reference]
        if isinstance(ours, str) or isinstance(theirs, str):
            missing = f"{group.reference.label}: {theirs}" if isinstance(theirs, str) else str(ours)
            yield other, missing
        elif (reason := _incomparable(ours, theirs, pairs, rules)) is not None:
            yield other, reason
        else:
            pairs.append((ours, theirs))
    for pair in pairs:
        unconfirmed = tuple(one for one in pair if _seeds(fresh[one.profile]) < MIN_SEEDS)
        yield _compared(*pair, [one for each in pairs for one in each], rules, unconfirmed=unconfirmed)


def _seeds(fresh: Represented | str) -> int:
    return 0 if isinstance(fresh, str) else len(fresh.values)


def _incomparable(
    ours: Represented, theirs: Represented, others: Sequence[tuple[Represented, Represented]], rules: Rules
) -> str | None:
    """Why a study cannot be compared on the windows that it shares with its reference and those before it."""
    data, reference = ours.profile.study.plan.data, theirs.profile.study.plan.data
    if (unpaired := ours.unpaired or theirs.unpaired) is not None:
        windows, others_windows = data.parts["val"], reference.parts["val"]
        if windows.hash != others_windows.hash:
            return f"its validation windows are not those of {theirs.profile.label}, and {unpaired}"
        # The labels themselves are stored with the predictions only.
        if windows.base_rate != others_windows.base_rate and not rules.other_labels:
            return f"its labels are not those of {theirs.profile.label}: base rates differ, and {unpaired}"
        return None
    times = common_times([ours, theirs, *(one for pair in others for one in pair)])
    overlap = max(data.target.overlap, reference.target.overlap)
    if len(times) // overlap < rules.min_samples:
        first, last = data.parts["val"].samples
        return (
            f"{len(times)} common validation windows with {theirs.profile.label} (its own: {first} .. {last}), "
            f"{len(times) // overlap} effective; at least {rules.min_samples} are required (min_samples)"
        )
    count = labels_differ(ours, theirs, times)
    if count and not rules.other_labels:
        return (
            f"its labels differ from those of {theirs.profile.label} in {count} of {len(times)} common windows, so "
            "the studies predict different things; allow=[labels] compares them anyway"
        )
    if _by_window(ours, theirs, rules.metric, times) is None and len({len(times), *map(_windows, (ours, theirs))}) > 1:
        return f"{rules.metric} cannot be computed on the windows that it has in common with {theirs.profile.label}"
    return None


def _compared(
    ours: Represented,
    theirs: Represented,
    group: Sequence[Represented],
    rules: Rules,
    *,
    unconfirmed: tuple[Represented, ...],
) -> Compared:
    windows, losses, note = _windows(ours), None, ours.unpaired or theirs.unpaired
    values = (ours.values, theirs.values)
    if note is None:
        times = common_times([one for one in group if one.unpaired is None])
        windows, losses = len(times), _by_window(ours, theirs, rules.metric, times)
        note = f"{rules.metric} has no value by window" if losses is None else None
    if losses is not None:
        values = tuple(losses[0].mean(axis=1).tolist()), tuple(losses[1].mean(axis=1).tolist())
    margin, origin = _margin(ours.profile, theirs.profile, values, rules)
    return Compared(
        study=ours,
        reference=theirs,
        metric=rules.metric,
        windows=windows,
        left_out=(_windows(ours) - windows, _windows(theirs) - windows),
        values=values,
        losses=losses,
        overlap=max(one.profile.study.plan.data.target.overlap for one in (ours, theirs)),
        margin=margin,
        margin_from=origin,
        note=note,
        unconfirmed=unconfirmed,
    )


def _windows(one: Represented) -> int:
    """The number of validation windows of a study."""
    return one.profile.study.plan.data.parts["val"].windows if one.times is None else len(one.times)


def _by_window(ours: Represented, theirs: Represented, metric: str, times: Times) -> tuple[Floats, Floats] | None:
    first, second = ours.by_window(metric, times), theirs.by_window(metric, times)
    return None if first is None or second is None else (first, second)


def _margin(
    ours: Profile, theirs: Profile, values: tuple[Sequence[float], Sequence[float]], rules: Rules
) -> tuple[float, str]:
    """The margin of equivalence, and where it comes from."""
    if rules.margin is not None:
        return rules.margin, "given as an option"
    margins = [(one.study.experiment.get("guards") or {}).get("margin") for one in (ours, theirs)]
    declared = [float(one) for one in margins if one is not None]
    if rules.metric == theirs.study.metric and len(declared) == len(margins):
        return min(declared), "declared in the experiment files"
    return margin_of(values[1], [values[0]]), "default"


def _over_windows(losses: Floats, *, overlap: int) -> Interval | None:
    found = mean_interval(losses, overlap=overlap)
    return None if found is None else (found.low, found.high)
