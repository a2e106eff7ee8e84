"""The verdict of one group in sentences: verdict, evidence, what is missing, notes."""

from __future__ import annotations

from scalecore.api.formatting import duration
from scalecore_analysis.groups import differing_settings
from scalecore_analysis.scaling.assess import MISFIT, UNLIKELY, Assessment
from scalecore_analysis.scaling.group_verdict import GroupVerdict
from scalecore_analysis.scaling.law_comparison import D_SPAN
from scalecore_analysis.scaling.needs import total_cost
from scalecore_analysis.scaling.verdict import ScalingVerdict
from scalecore_analysis.studies import LISTED, listed, plural

__all__ = ["group_notes", "group_summary", "needs_text", "no_law", "sentence", "verdict_text"]

SPREAD = 3.0
"""Maximum ratio of the standard deviations over seeds between budgets for which the error rates were simulated."""


def sentence(found: Assessment) -> str:
    """The verdict in one sentence."""
    head = f"Verdict: {found.verdict}"
    if found.verdict is ScalingVerdict.NOT_ASSESSABLE:
        problems = [f"{one.name}: {one.text}" for one in found.missing if one.met is False]
        unknown = ", ".join(one.name for one in found.missing if one.met is None)
        problems += [f"not recorded: {unknown}"] if unknown else []
        return f"{head}. Missing: {'; '.join(problems) or 'variation between seeds'}."
    meaning = {
        ScalingVerdict.HOLDS: "the loss falls with model size, and no step to a larger budget is worse by the margin",
        ScalingVerdict.HOLDS_WITH_POWER_LAW: "the loss falls with model size, and a power law describes it",
        ScalingVerdict.FLAT: "all budgets differ by less than the margin",
        ScalingVerdict.VIOLATED: "the loss rises with model size between some budgets",
        ScalingVerdict.INCONCLUSIVE: "these seeds are not sufficient for a decision",
    }[found.verdict]
    exploratory = f" EXPLORATORY: {'; '.join(found.exploratory)}." if found.exploratory else ""
    return f"{head}: {meaning}.{exploratory}"


def verdict_text(one: GroupVerdict) -> str:
    """The verdict of a group in one sentence, or why there is none."""
    if one.found is None:
        return f"Verdict: {one.verdict}. {one.reason}."
    return sentence(one.found)


def needs_text(one: GroupVerdict) -> list[str]:
    """What is missing, with cost and commands: the first of them; the table has all."""
    if not one.needs:
        return []
    runs, seconds = total_cost(one.needs)
    shown = "; ".join(str(need) for need in one.needs[:LISTED])
    more = f"; and {len(one.needs) - LISTED} more" if len(one.needs) > LISTED else ""
    total = f"In total {plural(runs, 'training')}, {duration(seconds) if seconds is not None else 'hours unknown'}."
    return [f"What is missing: {shown}{more}.{f' {total}' if runs else ''}"]


def group_summary(one: GroupVerdict) -> list[str]:
    """The sentences of a group: verdict, what is missing, fits and tests."""
    if one.found is None:
        return [verdict_text(one), *needs_text(one)]
    return [sentence(one.found), *needs_text(one), *_fitted(one), *_assessed(one)]


def _fitted(one: GroupVerdict) -> list[str]:
    """Describe the points and means."""
    points = one.points
    if points is None:
        return []
    if one.group.studies:
        means = "the runs of one configuration in each study"
    else:
        means = f"the rows of one N, D and configuration ({plural(len(one.budgets), 'cell')})"
    lines = [
        f"Laws are fitted to {plural(len(points.losses), 'run')}, each with its own N"
        + (", D" if points.known else "")
        + f" and weight, not to means. Means and spreads over seeds are over {means}."
    ]
    return [*lines, *no_law(one)]


def no_law(one: GroupVerdict) -> list[str]:
    """Why no law is fitted, if none is (guard G16)."""
    if one.found is None or any(law.fit for law in one.found.laws):
        return []
    reasons: dict[str, list[str]] = {}
    for law in one.found.laws:
        reasons.setdefault(str(law.reason), []).append(law.name)
    text = "; ".join(f"{reason} ({', '.join(names)})" for reason, names in reasons.items())
    return [f"No law is fitted: {text}."]


def _assessed(one: GroupVerdict) -> list[str]:
    found, margin = one.found, one.margin
    tests = found.tests if found is not None else None
    if found is None or tests is None:
        return []
    trend = tests.trend
    lines = [
        f"Test of equal means against falling means: p = {tests.equal_p:.4f}. Test of falling means against any: "
        f"p = {tests.ordered_p:.4f}. Largest 95 % upper bound of a step: {max(tests.bounds):.4g}"
        + (f"; margin: {margin:.4g}." if margin is not None else "."),
        f"Power law: {found.power_law}.",
        f"Spread over seeds: {tests.variance**0.5:.4g}. Smallest difference detected with a power of 80 %: "
        f"{tests.smallest_effect:.4g}.",
    ]
    over = "seeds and windows" if trend.windows is None else "seeds only"
    lines.append(
        f"Change of the loss per tenfold number of parameters: {trend.per_decade:.4g} (95 % interval {trend.low:.4g} "
        f"to {trend.high:.4g}, over {over}), {trend.relative:.2%} of the loss of the smallest budget."
    )
    power = next((need for need in one.needs if need.what == "power"), None)
    if power is not None:
        lines.append(f"{power.text[0].upper()}{power.text[1:].partition(';')[0]}.")
    return lines


def group_notes(one: GroupVerdict) -> list[str]:
    """Cautions about a group."""
    found, budgets = one.found, one.budgets
    if found is None:
        return []
    notes = []
    if found.tests is not None and min(found.tests.spreads) > 0:
        ratio = max(found.tests.spreads) / min(found.tests.spreads)
        if ratio > SPREAD:
            notes.append(
                f"The standard deviations over seeds of the budgets differ by a factor of {ratio:.1f}; above "
                f"{SPREAD:g} the error rates of the verdict are unknown."
            )
    missing = [law.name for law in found.laws if law.fit and law.misses]
    if missing:
        notes.append(
            f"No intervals for the parameters of {', '.join(missing)}: a law with a lack of fit (p of {MISFIT:g} "
            f"or less) or a weight below {UNLIKELY:g} does not describe these losses."
        )
    if any((runs.confirmed or 0) > 1 for runs in budgets):
        counts = listed([f"{runs.label} {runs.confirmed}" for runs in budgets])
        notes.append(
            f"Retrained configurations: {counts}. Of each budget, the verdict uses the one that the search ranked "
            "best; selecting by the replicates would be optimistic, and more so with more configurations."
        )
    known = [runs.efforts for runs in budgets if runs.efforts is not None]
    if known and max(known) > 1.5 * min(known):
        notes.append(
            f"The searches have {min(known)} to {max(known)} completed trials: budgets with more trials have an "
            "advantage that is independent of their size."
        )
    if any(runs.fresh is False for runs in budgets):
        notes.append(
            "Budgets without fresh seeds use the losses of the search, which are optimistic; `scalecore confirm` "
            "retrains the best configurations."
        )
    if found.tests is not None and found.tests.trend.windows is not None and one.group.studies:
        notes.append(f"The tests include the variation over seeds only, not over windows: {found.tests.trend.windows}.")
    return [*notes, *_data_notes(one), *_differing(one)]


def _data_notes(one: GroupVerdict) -> list[str]:
    """A caution about laws in N alone if D varies too."""
    found, points = one.found, one.points
    if found is None or points is None:
        return []
    span = float(points.windows.max() / points.windows.min())
    if span < D_SPAN or any(law.fit and law.fit.law.uses_windows for law in found.laws):
        return []
    return [
        f"D spans a factor of {span:.3g}, but no law in N and D is fitted: a law in N describes these runs with their "
        "amounts of data, not the effect of N at a fixed amount of data."
    ]


def _differing(one: GroupVerdict) -> list[str]:
    """A caution about settings in which the budgets differ, besides the shapes."""
    names = differing_settings(one.group.studies)
    if not names:
        return []
    return [
        f"The studies of the budgets differ in {listed(names)}; the verdict is about size and these settings together."
    ]
