"""What a verdict on a scaling claim will be able to show, before its trainings have run."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from attrs import frozen

from scalecore.api.analysis import PlannedTraining
from scalecore.api.formatting import number
from scalecore.api.trials import StudyView
from scalecore_analysis.groups import Group
from scalecore_analysis.options import ScalingLawOptions
from scalecore_analysis.runs import metric_of
from scalecore_analysis.scaling.assess import pooled_variance
from scalecore_analysis.scaling.budgets import BudgetRuns, from_studies
from scalecore_analysis.scaling.power import Design
from scalecore_analysis.scaling.preconditions import BUDGETS

__all__ = ["PlannedVerdict", "planned_verdict", "verdict_lines"]


@frozen(kw_only=True)
class PlannedVerdict:
    """The design of one verdict and its power. Losses are in the unit of the metric; None if unknown."""

    group: str
    budgets: int
    seeds: int
    """The fewest fresh seeds of a budget: those that have run, or that the analyses before will train."""
    missing: tuple[str, ...]
    """Preconditions that this plan does not meet."""
    margin: float | None = None
    effect: float | None = None
    """The fall of the loss from each budget to the next whose detection `power` is about."""
    spread: float | None = None
    """Standard deviation over seeds."""
    measured: int = 0
    """Number of replicates behind `spread`; 0 if it is assumed."""
    power: float | None = None
    """Probability of the verdict `holds` if the loss falls by `effect`."""
    detectable: float | None = None
    """The smallest fall from each budget to the next with a power of 80 %."""
    needed: str | None = None
    """The seeds of each budget for which `effect` has a power of 80 %, at least `min_seeds`."""


def planned_verdict(group: Group, *, wanted: Sequence[PlannedTraining], options: ScalingLawOptions) -> PlannedVerdict:
    """Assess the design of a group of studies, one per budget, which need not have begun."""
    studies = group.studies
    runs = {study.name: _replicated(study, options) for study in studies}
    seeds = {name: _seeds(one, [each for each in wanted if each.study == name]) for name, one in runs.items()}
    fewest, declared = min(seeds.values()), {_margin_of(study) for study in studies}
    margin = options.margin if options.margin is not None or len(declared) > 1 else next(iter(declared))
    missing = tuple(_missing(studies, seeds=fewest, margin=margin, options=options))
    variance, freedom = pooled_variance([one for one in runs.values() if one is not None])
    measured = freedom + sum(len(one.runs) > 1 for one in runs.values() if one) if variance > 0 else 0
    spread = variance**0.5 if measured else options.spread or margin
    effect = options.effect or margin
    power = detectable = needed = None
    if margin and spread and effect and len(studies) >= BUDGETS:
        design = Design(budgets=len(studies), margin=margin / spread)
        needed = design.seeds_for("falling", effect / spread)
        needed = str(max(int(needed), options.min_seeds)) if needed.isdigit() else needed
        if fewest > 1:
            power = design.rates("falling", effect / spread, seeds=fewest)[0]
            found = design.effect_for("falling", seeds=fewest)
            detectable = None if found is None else found * spread
    return PlannedVerdict(
        group=group.label,
        budgets=len(studies),
        seeds=fewest,
        missing=missing,
        margin=margin,
        effect=effect,
        spread=spread,
        measured=measured,
        power=power,
        detectable=detectable,
        needed=needed,
    )


def _replicated(study: StudyView, options: ScalingLawOptions) -> BudgetRuns | None:
    """The replicates of the configuration that the verdict would use; None if there are none."""
    if not any(metric_of(trial, options.metric) is not None for trial in study.trials):
        return None
    (found,) = from_studies([study], metric=options.metric, seeds=options.min_seeds)
    return found if found.fresh else None


def _seeds(found: BudgetRuns | None, wanted: Sequence[PlannedTraining]) -> int:
    """Those that have run, without runs that predict a constant, and those left to run."""
    finished = len(found.runs) if found else 0
    left = max((one.seeds - one.done for one in wanted), default=0)
    return min(finished + left, max([finished, *(one.seeds for one in wanted)]))


def _margin_of(study: StudyView) -> float | None:
    margin = (study.experiment.get("guards") or {}).get("margin")
    return None if margin is None else float(margin)


def _missing(
    studies: Sequence[StudyView], *, seeds: int, margin: float | None, options: ScalingLawOptions
) -> Iterator[str]:
    """The preconditions of the verdict that are known before any trial."""
    if len(studies) < BUDGETS:
        yield f"at least {BUDGETS} budgets required"
    if margin is None:
        yield "no margin declared: set guards.margin, the same for all studies, before the first trial"
    if seeds < options.min_seeds:
        yield f"at least {options.min_seeds} fresh seeds required, for example `confirm: {{top: 3, seeds: 5}}`"
    if options.metric != "val_loss" and not options.experimental:
        yield f"{options.metric} is not a proper loss"
    if "samples" in options.waive:
        return
    for study in studies:
        part = study.plan.data.parts["val"]
        if part.effective < options.min_samples:
            yield f"{study.budget} has {part.effective} effective validation windows, below {options.min_samples}"
        elif part.effective_rarest is not None and part.effective_rarest < options.min_positives:
            rare = part.effective_rarest
            yield f"{study.budget} has {rare} effective windows of the rarer class, below {options.min_positives}"


def verdict_lines(verdicts: Sequence[PlannedVerdict]) -> list[str]:
    """The designs as text; groups with equal ones share it."""
    groups: dict[tuple[str, ...], list[str]] = {}
    for one in verdicts:
        groups.setdefault(tuple(_text(one)), []).append(one.group)
    lines: list[str] = []
    for texts, names in groups.items():
        named = "; ".join(filter(None, names))
        lines += [f"{named}:", *(f"  {text}" for text in texts)] if named else texts
    return lines


def _text(one: PlannedVerdict) -> Iterator[str]:
    yield f"{one.budgets} budget{'s' * (one.budgets != 1)}, {one.seeds or 'no'} fresh seeds each"
    if one.missing:
        yield "the verdict will be not assessable:"
        yield from (f"  {text}" for text in one.missing)
    if one.needed is None or one.margin is None or one.spread is None or one.effect is None:
        return
    origin = f"measured on {one.measured} replicates" if one.measured else "assumed until replicates measure it"
    yield f"spread over seeds {number(one.spread)}, {origin}; margin {number(one.margin, like=one.spread)}"
    fall = f"a fall of {number(one.effect, like=one.spread)} a budget"
    if one.power is None:
        yield f"seeds for a power of 80 % to find {fall}: {one.needed} each"
        return
    yield f"power to find {fall}: {100 * one.power:.0f} %; for 80 %: {one.needed} seeds each"
    smallest = "none" if one.detectable is None else f"{number(one.detectable, like=one.spread)} a budget"
    yield f"smallest fall found with a power of 80 %: {smallest}"
