"""The verdict on the budgets of one group of studies, with its evidence, or the reason why there is none."""

from __future__ import annotations

from collections.abc import Sequence

from attrs import evolve, frozen
from threadpoolctl import threadpool_limits

from scalecore.api.errors import DataError
from scalecore_analysis.groups import Group
from scalecore_analysis.options import ScalingLawOptions
from scalecore_analysis.runs import configurations
from scalecore_analysis.scaling.assess import Assessment, assess
from scalecore_analysis.scaling.budgets import RATES, BudgetRuns, from_studies, points_of
from scalecore_analysis.scaling.laws import Points
from scalecore_analysis.scaling.needs import Need, needs_of
from scalecore_analysis.scaling.preconditions import Precondition, preconditions
from scalecore_analysis.scaling.verdict import ScalingVerdict
from scalecore_analysis.scaling.windows import WindowErrors, window_errors

__all__ = ["RESAMPLES", "GroupVerdict", "judge", "judge_budgets"]

RESAMPLES = 1000
PROPER = ("val_loss",)


@frozen(kw_only=True, eq=False)
class GroupVerdict:
    """A group with its assessment; without one, `reason` names the cause."""

    group: Group
    budgets: tuple[BudgetRuns, ...] = ()
    conditions: tuple[Precondition, ...] = ()
    points: Points | None = None
    margin: float | None = None
    left_out: tuple[str, ...] = ()
    """Studies without a completed trial."""
    found: Assessment | None = None
    reason: str | None = None
    needs: tuple[Need, ...] = ()

    @property
    def verdict(self) -> ScalingVerdict:
        return self.found.verdict if self.found is not None else ScalingVerdict.NOT_ASSESSABLE

    @property
    def assessable(self) -> bool:
        """Whether all preconditions are met or waived."""
        return bool(self.conditions) and all(one.satisfied for one in self.conditions)


def judge(groups: Sequence[Group], options: ScalingLawOptions) -> list[GroupVerdict]:
    """One verdict for each group. A group without a completed trial has a reason and does not stop the others.

    The error rates of each verdict are its own; `Assessment.adjusted` is the verdict if those of all groups together
    have the rate of one. Raises `DataError` if no group has a result.
    """
    gathered = [_gathered(group, options) for group in groups]
    if all(one.reason is not None for one in gathered):
        raise DataError(str(gathered[0].reason))
    count = sum(one.assessable for one in gathered)
    budgets = {study.budget for group in groups for study in group.studies}
    return [_with_needs(_assessed(one, options, verdicts=max(1, count)), options, budgets) for one in gathered]


def judge_budgets(budgets: Sequence[BudgetRuns], options: ScalingLawOptions) -> GroupVerdict:
    """The verdict on budgets or cells of any origin, for example those of a table."""
    return _assessed(_checked(Group(label="", studies=()), budgets, options), options)


def _gathered(group: Group, options: ScalingLawOptions) -> GroupVerdict:
    studies = [study for study in group.studies if configurations(study, options.metric)]
    if not studies:
        names = ", ".join(study.name for study in group.studies)
        reason = f"{names}: no completed trial has the metric {options.metric!r}; a scaling law needs one per budget"
        return GroupVerdict(group=group, reason=reason)
    budgets = from_studies(studies, metric=options.metric, seeds=options.min_seeds)
    left_out = tuple(study.name for study in group.studies if study not in studies)
    try:
        return evolve(_checked(group, budgets, options), left_out=left_out)
    except DataError as error:
        return GroupVerdict(group=group, reason=str(error))


def _checked(group: Group, budgets: Sequence[BudgetRuns], options: ScalingLawOptions) -> GroupVerdict:
    points = points_of(budgets)
    if (points.losses <= 0).any():
        raise DataError(f"some values of {options.metric} are not above zero, so no law can be fitted to their logs")
    declared = {one.margin for one in budgets}
    margin = options.margin if options.margin is not None else next(iter(declared)) if len(declared) == 1 else None
    conditions = preconditions(
        budgets,
        margin=margin,
        seeds=options.min_seeds,
        samples=options.min_samples,
        positives=options.min_positives,
        proper=options.metric in PROPER or options.experimental,
        grained=options.metric in RATES,
        waived=options.waive,
    )
    return GroupVerdict(group=group, budgets=tuple(budgets), conditions=tuple(conditions), points=points, margin=margin)


def _assessed(one: GroupVerdict, options: ScalingLawOptions, *, verdicts: int = 1) -> GroupVerdict:
    if one.points is None:
        return one
    with threadpool_limits(1):  # small matrices: threads would only add overhead
        found = assess(
            one.budgets,
            one.points,
            one.conditions,
            margin=one.margin,
            resamples=RESAMPLES,
            seed=options.seed,
            verdicts=verdicts,
            left_out=one.left_out,
            windows=_windows(one, options),
        )
    return evolve(one, found=found)


def _windows(one: GroupVerdict, options: ScalingLawOptions) -> WindowErrors | str:
    if not one.group.studies:
        return "a table has no windows"
    if any(condition.name == "data" and not condition.met for condition in one.conditions):
        return "the studies have different data"
    studies = [study for study in one.group.studies if study.name not in one.left_out]
    return window_errors(studies, metric=options.metric, seeds=options.min_seeds)


def _with_needs(one: GroupVerdict, options: ScalingLawOptions, budgets: set[str]) -> GroupVerdict:
    elsewhere = sorted(budgets - {study.budget for study in one.group.studies})
    needs = needs_of(
        one.group.studies,
        one.budgets,
        one.found,
        metric=options.metric,
        seeds=options.min_seeds,
        margin=one.margin,
        elsewhere=elsewhere,
    )
    return evolve(one, needs=tuple(needs))
