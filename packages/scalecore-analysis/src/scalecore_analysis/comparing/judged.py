"""Comparisons with their verdicts, as sentences and rows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cached_property

from attrs import frozen

from scalecore.api.formatting import interval, number, parameters
from scalecore.api.statistics import MIN_SEEDS
from scalecore_analysis.comparing.profile import ASPECTS, HARD, contrast, value_text
from scalecore_analysis.comparing.verdicts import Compared, Interval, StudyVerdict, detectable
from scalecore_analysis.report.section import Row

__all__ = ["JudgedComparison", "judged"]


@frozen(kw_only=True, eq=False)
class JudgedComparison:
    """A comparison as one of `comparisons`, which share the error rate."""

    compared: Compared
    contrast: str
    """What differs, such as `tier a100 against a25 (113 against 33 features)`."""
    where: str
    """What both have in common and other comparisons do not, such as `budget 20k`; empty if there is nothing."""
    comparisons: int

    @property
    def verdict(self) -> StudyVerdict:
        return self.compared.verdict(comparisons=self.comparisons)

    @cached_property
    def interval(self) -> Interval | None:
        """At a joint level of 95 % over all comparisons; of the windows only without fresh seeds."""
        return self.compared.interval(comparisons=self.comparisons)

    @property
    def detectable(self) -> float | None:
        """The smallest detectable difference; None without fresh seeds."""
        return detectable(self.compared.estimate, comparisons=self.comparisons) if self.compared.fresh else None

    def row(self) -> Row:
        one = self.compared
        low, high = self.interval or (None, None)
        return {
            "comparison": self.contrast,
            "at": self.where or None,
            "study": one.study.profile.label,
            "reference": one.reference.profile.label,
            one.metric: one.mean(0)[0],
            "of reference": one.mean(1)[0],
            "difference": one.estimate.value,
            "low": low,
            "high": high,
            "verdict": self.verdict,
            "margin": one.margin,
            "detectable": self.detectable,
            "windows": one.windows,
            "seeds": f"{one.seeds[0]}, {one.seeds[1]}" if one.fresh else "none fresh",
        }

    def sentence(self) -> str:
        """For example `Tier a100 against a25 (...) at budget 20k: val_loss 0.31 against 0.33, ...: better.`"""
        one, value = self.compared, self.compared.mean(1)[0]
        low, high = self.interval or (None, None)
        within = None if low is None else {"low": low, "high": high}
        text = f"{self.contrast[:1].upper()}{self.contrast[1:]}{f' at {self.where}' if self.where else ''}"
        text += f"{self._sizes()}: {one.metric} {number(one.mean(0)[0])} against {number(value)}, difference "
        text += f"{number(one.estimate.value, like=value, sign=True)}{interval(within, like=value)} over {one.windows} "
        text += f"windows{self._left_out()}"
        if one.fresh:
            text += f" and {one.seeds[0]} against {one.seeds[1]} fresh seeds"
        return f"{text}: {self._conclusion()}."

    def _remedy(self, margin: str) -> str:
        seeds = self.compared.seeds_to_detect(self.compared.margin, comparisons=self.comparisons)
        if seeds is None:
            return f"the margin of {margin} needs more windows, not only more seeds"
        return f"the margin of {margin} needs {seeds} seeds of each"

    def _number(self, value: float | None) -> str:
        return number(value, like=self.compared.mean(1)[0])

    def _sizes(self) -> str:
        """The parameters of both, where nothing makes them similar."""
        profile, reference = self.compared.study.profile, self.compared.reference.profile
        if profile.fixed == reference.fixed and not {"budget", "model"} & profile.differences(reference).keys():
            return ""
        runs = (self.compared.study.runs[0], self.compared.reference.runs[0])
        first, second = (parameters(run.architecture.num_parameters) for run in runs)
        return f" ({first} against {second} parameters)"

    def _left_out(self) -> str:
        names = (self.compared.study.profile.label, self.compared.reference.profile.label)
        counts = [f"{count} of {name}" for count, name in zip(self.compared.left_out, names, strict=True) if count]
        return f" (left out: {', '.join(counts)})" if counts else ""

    def _conclusion(self) -> str:
        one, margin = self.compared, self._number(self.compared.margin)
        if one.same:
            return "equivalent, because both are the same configuration"
        if not one.fresh:
            optimistic = [each.profile.label for each in (one.study, one.reference) if each.selected]
            claim = f"; the search selected the value of {' and of '.join(optimistic)}, so it is optimistic"
            return f"inconclusive without fresh seeds of both{claim if optimistic else ''}"
        if min(one.seeds) < MIN_SEEDS:
            return f"inconclusive with fewer than {MIN_SEEDS} fresh seeds"
        if self.interval is None:
            return "inconclusive: the windows are too few for an interval"
        if self.verdict == "inconclusive":
            detects = f"these seeds and windows detect a difference of {self._number(self.detectable)}"
            return f"inconclusive; {detects}; {self._remedy(margin)}"
        if self.verdict == "equivalent":
            return f"equivalent within {margin}"
        small = max(map(abs, self.interval)) < one.margin
        return f"{self.verdict}, by less than the margin of {margin}" if small else self.verdict


def judged(found: Sequence[Compared]) -> list[JudgedComparison]:
    """Add texts and the number of comparisons."""
    first = found[0].study.profile
    varying: dict[str, list[str]] = {}
    for one in (side.profile for each in found for side in (each.study, each.reference)):
        for aspect, names in first.differences(one).items():
            varying[aspect] = [*dict.fromkeys([*varying.get(aspect, []), *names])]
    return [
        JudgedComparison(
            compared=one,
            contrast=contrast(one.study.profile, one.reference.profile),
            where=_where(one, varying),
            comparisons=len(found),
        )
        for one in found
    ]


def _where(one: Compared, varying: Mapping[str, Sequence[str]]) -> str:
    """What both studies have in common and others do not; at a fixed configuration also the budget of the search."""
    profile, reference = one.study.profile, one.reference.profile
    differing = profile.differences(reference)
    common = [name for name in (*HARD, *ASPECTS) if name in varying and name not in differing]
    return ", ".join(value_text(profile, name, varying[name]) for name in common)
