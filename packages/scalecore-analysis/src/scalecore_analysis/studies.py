"""Helpers of several analyses: names of studies, and ratios of dimensions."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import get_args

from attrs import frozen

from scalecore.api.space import Architecture
from scalecore.api.trials import OriginKind, StudyView

__all__ = ["LISTED", "SEARCHED", "Ratio", "labelled", "listed", "plural", "ratios"]

SEARCHED = tuple(kind for kind in get_args(OriginKind) if kind not in ("transfer", "final"))
"""Origins of trials of a search."""

LISTED = 5
"""Maximum number of names in a sentence."""
USUAL = {"width": "d_model", "depth": "n_layers", "heads": "n_heads", "feed_forward": "d_ff"}
"""Names of the dimensions if a study's plan does not contain their roles."""
RATIOS = {
    "aspect": ("width", "depth"),
    "head size": ("width", "heads"),
    "feed-forward ratio": ("feed_forward", "width"),
}


@frozen(kw_only=True)
class Ratio:
    """One dimension divided by another, comparable between sizes."""

    above: str
    below: str

    @property
    def name(self) -> str:
        """For example `d_model / n_layers`."""
        return f"{self.above} / {self.below}"

    def of(self, architecture: Architecture) -> float | None:
        """None if the architecture lacks one of the two, or the divisor is zero."""
        above, below = architecture.values.get(self.above), architecture.values.get(self.below)
        return above / below if above is not None and below else None


def labelled(studies: Sequence[StudyView]) -> dict[str, StudyView]:
    """The studies by name, in order; studies with the same name get their folder added."""
    names = Counter(study.name for study in studies)
    return {study.name if names[study.name] == 1 else f"{study.name} ({study.folder})": study for study in studies}


def listed(names: Sequence[str]) -> str:
    """`a, b, c, d, e and 115 more`."""
    shown = ", ".join(names[:LISTED])
    return shown if len(names) <= LISTED else f"{shown} and {len(names) - LISTED} more"


def plural(count: int, what: str) -> str:
    """`1 budget`, `3 budgets`."""
    return f"{count} {what}{'s' * (count != 1)}"


def ratios(study: StudyView) -> dict[str, Ratio]:
    """Aspect, head size and feed-forward ratio, if the study's model family declares the roles."""
    grid = study.plan.architectures
    roles = {role: name for role, name in (grid.roles or USUAL).items() if name in grid.dimensions}
    return {
        title: Ratio(above=roles[above], below=roles[below])
        for title, (above, below) in RATIOS.items()
        if above in roles and below in roles
    }
