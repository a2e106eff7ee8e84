"""Preconditions of a verdict on a scaling claim; an unknown precondition counts as missing."""

from __future__ import annotations

import statistics
from collections import Counter
from collections.abc import Iterable, Sequence
from itertools import pairwise
from typing import Any

from attrs import frozen

from scalecore_analysis.scaling.budgets import BudgetRuns
from scalecore_analysis.studies import LISTED, listed

__all__ = ["Precondition", "preconditions"]

BUDGETS = 3


@frozen(kw_only=True)
class Precondition:
    """One condition: met, not met, or (None) unknown; `text` describes the finding."""

    name: str
    met: bool | None
    text: str
    waived: bool = False

    @property
    def satisfied(self) -> bool:
        """Whether the precondition permits a verdict."""
        return bool(self.met) or self.waived

    def row(self) -> dict[str, Any]:
        """A table row."""
        state = "met" if self.met else "NOT KNOWN" if self.met is None else "NOT MET"
        return {"precondition": self.name, "state": f"{state}, waived" if self.waived else state, "found": self.text}


def preconditions(
    budgets: Sequence[BudgetRuns],
    *,
    margin: float | None,
    seeds: int,
    samples: int,
    positives: int,
    proper: bool,
    grained: bool = False,
    waived: Iterable[str] = (),
) -> list[Precondition]:
    """All preconditions in a fixed order. Values of a `grained` metric, such as a rate, may be equal by chance."""
    found = [
        _check(
            "budgets",
            [f"{len(budgets)}, at least {BUDGETS} required"] if len(budgets) < BUDGETS else [],
            f"{len(budgets)}",
        ),
        _sizes(budgets),
        _check(
            "tolerance",
            [f"{one.label} has {_size(one)} parameters, outside its budget" for one in budgets if not one.within],
            "all parameter counts are within their budgets",
            unknown=[one.label for one in budgets if one.within is None],
        ),
        _seeds(budgets, seeds, grained=grained),
        _margin(budgets, margin),
        _check("loss", [] if proper else ["not a proper loss; set experimental=true to use it anyway"], "proper"),
        _check(
            "edges",
            [f"{one.label}: {', '.join(one.edges or ())}" for one in budgets if one.edges],
            "no optimum is on an edge of its search space",
            unknown=[one.label for one in budgets if one.edges is None],
        ),
        _same(budgets),
        _samples(budgets, samples=samples, positives=positives),
        _baseline(budgets),
        _check(
            "collapse",
            [
                *(f"runs of {one.label} predict a constant" for one in budgets if one.collapsed),
                *(f"{one.diverged} fresh seeds of {one.label} diverged" for one in budgets if one.diverged),
            ],
            "no model predicts a constant, and no fresh seed diverged",
            unknown=[one.label for one in budgets if one.collapsed is None],
        ),
        _dry(budgets),
    ]
    names = set(waived)
    return [
        Precondition(name=one.name, met=one.met, text=one.text, waived=True)
        if one.name in names and not one.met
        else one
        for one in found
    ]


def _check(name: str, problems: Sequence[str], fine: str, *, unknown: Sequence[str] = ()) -> Precondition:
    if unknown:
        return Precondition(name=name, met=None, text=f"not recorded for {listed(unknown)}")
    return Precondition(name=name, met=not problems, text=_joined(problems) or fine)


def _joined(problems: Sequence[str]) -> str:
    """The first problems, and the number of further ones."""
    more = [f"and {len(problems) - LISTED} more"] if len(problems) > LISTED else []
    return "; ".join([*problems[:LISTED], *more])


def _size(one: BudgetRuns) -> str:
    return f"{one.parameters:,.0f}" if float(one.parameters).is_integer() else f"{one.parameters:,.6g}"


def _sizes(budgets: Sequence[BudgetRuns]) -> Precondition:
    problems = [
        f"{small.label} has {_size(small)} and {large.label} {_size(large)}"
        for small, large in pairwise(budgets)
        if small.parameters >= large.parameters
    ]
    if budgets and budgets[0].identity is None:  # cells of a table, several of which may be of one size
        sizes_of = Counter(_size(one) for one in budgets)
        problems = [
            f"size {size} has {count} cells (amounts of data or configurations), but a verdict needs one per size"
            for size, count in sizes_of.items()
            if count > 1
        ]
    sizes = listed([_size(one) for one in budgets])
    return _check("parameters", problems, f"counted and strictly increasing: {sizes}")


def _seeds(budgets: Sequence[BudgetRuns], least: int, *, grained: bool) -> Precondition:
    problems = [f"{one.label} has {len(one.losses)}" for one in budgets if len(one.losses) < least]
    losses = [loss for one in budgets for loss in one.losses]
    if not problems and not grained and len({*losses}) < len(losses):
        problems = ["some runs have exactly the same loss, so they are not independent"]
    text = f"at least {least} per budget required; {_joined(problems)}" if problems else ""
    return _check("seeds", [text] if text else [], listed([str(len(one.losses)) for one in budgets]))


def _margin(budgets: Sequence[BudgetRuns], margin: float | None) -> Precondition:
    declared = {one.margin for one in budgets}
    if margin is None:
        text = "no study declares one: set guards.margin in the experiment file before the study, or pass margin=..."
        if len(declared) > 1:
            text = f"the studies declare different margins: {listed([str(one) for one in declared])}"
        return Precondition(name="margin", met=False, text=text)
    source = "set before the studies" if declared == {margin} else "set after the studies"
    return Precondition(name="margin", met=True, text=f"{margin:g}, {source}")


def _same(budgets: Sequence[BudgetRuns]) -> Precondition:
    unknown = [one.label for one in budgets if one.identity is None]
    identities = [one.identity or {} for one in budgets]
    names = list(dict.fromkeys(name for identity in identities for name in identity))
    different = [name for name in names if len({identity.get(name) for identity in identities}) > 1]
    problems = [f"the studies differ in {', '.join(different)}"] if different else []
    return _check("data", problems, "data, target, split and metric are the same", unknown=unknown)


def _samples(budgets: Sequence[BudgetRuns], *, samples: int, positives: int) -> Precondition:
    problems = []
    for one in budgets:
        windows, rarer = one.samples or (0, None)
        if windows < samples:
            problems.append(f"{one.label} has {windows:g} effective validation windows, fewer than {samples}")
        elif rarer is not None and rarer < positives:
            problems.append(f"{one.label} has {rarer:g} effective windows of the rarer class, fewer than {positives}")
    unknown = [one.label for one in budgets if one.samples is None]
    return _check("samples", problems, "enough validation windows", unknown=unknown)


def _baseline(budgets: Sequence[BudgetRuns]) -> Precondition:
    problems = [
        f"{one.label} has {one.mean:.4g}, not better than {one.baseline[0]} ({one.baseline[1]:.4g})"
        for one in budgets
        if one.baseline is not None and one.mean >= one.baseline[1]
    ]
    unknown = [one.label for one in budgets if one.baseline is None]
    return _check("baseline", problems, "every budget is better than the best baseline", unknown=unknown)


def _dry(budgets: Sequence[BudgetRuns]) -> Precondition:
    """Budgets marked as dry runs, and budgets with exactly the same losses (guard G12)."""
    problems = [f"{one.label} is a dry run" for one in budgets if one.dry]
    repeated = [loss for loss, count in Counter(one.losses for one in budgets).items() if count > 1]
    if repeated:
        problems.append(f"several budgets have exactly the same losses (mean {statistics.fmean(repeated[0]):.6g})")
    unknown = [one.label for one in budgets if one.dry is None]
    return _check("dry runs", problems, "every loss was measured", unknown=unknown)
