"""Tables of comparisons: counts of verdicts, studies, differing settings, number of features, missing seeds."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import get_args

from scalecore.api import formatting
from scalecore_analysis.comparing.judged import JudgedComparison
from scalecore_analysis.comparing.verdicts import StudyVerdict
from scalecore_analysis.comparing.windows import Represented
from scalecore_analysis.groups import setting_text
from scalecore_analysis.report.section import Row
from scalecore_analysis.studies import listed

__all__ = [
    "differing_rows",
    "feature_groups",
    "feature_rows",
    "missing_rows",
    "missing_text",
    "overall_rows",
    "study_rows",
]

SEEDS = 5
"""Fresh seeds that a missing confirmation is planned with."""


def overall_rows(found: Sequence[JudgedComparison]) -> list[Row]:
    """The verdicts of each contrast that was compared more than once, for example at several budgets."""
    groups: dict[str, list[JudgedComparison]] = {}
    for one in found:
        groups.setdefault(one.contrast, []).append(one)
    rows = []
    for contrast, several in groups.items():
        if len(several) > 1:
            counts = Counter(one.verdict for one in several)
            gaps = [one.compared.estimate.value for one in several]
            row = {"comparison": contrast, "comparisons": len(several)}
            row |= {verdict: counts[verdict] for verdict in get_args(StudyVerdict)}
            rows.append(row | {"smallest difference": min(gaps), "largest difference": max(gaps)})
    return rows


def study_rows(found: Sequence[JudgedComparison]) -> list[Row]:
    """The configuration that represents each study, its trainings (guard G13), and its mean with interval."""
    rows: dict[tuple[str, bool], Row] = {}
    records = [each.runs[0] for one in found for each in (one.compared.study, one.compared.reference)]
    varied = [
        name for name in records[0].hyperparameters if len({repr(one.hyperparameters.get(name)) for one in records}) > 1
    ]
    for one in found:
        for side, each in enumerate((one.compared.study, one.compared.reference)):
            study, record = each.profile.study, each.runs[0]
            baseline = study.plan.data.best_baseline if one.compared.metric == "val_loss" else None
            value, low, high = one.compared.mean(side)
            rows[each.profile.label, each.fresh] = {
                "study": each.profile.label,
                "features": each.profile.features,
                "parameters": record.architecture.num_parameters,
                "trainings": f"{len(each.runs)} replicates of trial {each.trial}"
                if each.fresh
                else f"trial {each.trial}",
                "constant": sum(run.collapsed for run in each.runs) or None,
                one.compared.metric: value,
                "low": low,
                "high": high,
                "best baseline": None if baseline is None else baseline.loss,
                "training windows": study.plan.data.parts["train"].windows,
                "configuration": formatting.shape(record.architecture),
                "hyper-parameters": formatting.settings(
                    {name: record.hyperparameters[name] for name in varied if name in record.hyperparameters}
                ),
            }
    return list(rows.values())


def differing_rows(found: Sequence[JudgedComparison]) -> list[Row]:
    """Every setting in which two compared studies differ."""
    rows = []
    for one in found:
        profile, reference = one.compared.study.profile, one.compared.reference.profile
        for aspect, names in profile.differences(reference).items():
            for name in names:
                ours, theirs = (
                    f"{each.features} features" if name == "features" else setting_text(each.settings.get(name))
                    for each in (profile, reference)
                )
                row = {"study": profile.label, "reference": reference.label, "aspect": aspect, "setting": name}
                rows.append(row | {"value": ours, "of reference": theirs})
    return rows


def feature_groups(found: Sequence[JudgedComparison]) -> dict[str, list[JudgedComparison]]:
    """The comparisons of studies with different numbers of features, by what else they have in common."""
    groups: dict[str, list[JudgedComparison]] = {}
    for one in found:
        if one.compared.study.profile.features != one.compared.reference.profile.features:
            groups.setdefault(one.where, []).append(one)
    return groups


def feature_rows(found: Sequence[JudgedComparison]) -> list[Row]:
    """The loss by number of features, with the difference to the reference, usually the fewest features."""
    rows: list[Row] = []
    for where, group in feature_groups(found).items():
        here = {group[0].compared.reference: _feature_row(group[0].compared.reference, group[0], side=1)}
        for one in group:
            low, high = one.interval or (None, None)
            here[one.compared.study] = _feature_row(one.compared.study, one, side=0) | {
                "difference": one.compared.estimate.value,
                "its low": low,
                "its high": high,
                "verdict": one.verdict,
            }
        rows += [{"at": where or None} | row for row in sorted(here.values(), key=lambda row: row["features"])]
    return rows


def missing_rows(found: Sequence[JudgedComparison]) -> list[Row]:
    """The studies without fresh seeds, with the command that trains them and its cost."""
    rows: dict[str, Row] = {}
    for one in (each for judged in found for each in judged.compared.unconfirmed):
        rows[one.profile.label] = {
            "study": one.profile.label,
            "trainings": _left(one),
            "duration": formatting.duration(_seconds(one)),
            "command": f"scalecore confirm {one.profile.study.folder} --top 1 --seeds {SEEDS}",
        }
    return list(rows.values())


def missing_text(found: Sequence[JudgedComparison]) -> str | None:
    """A sentence on `missing_rows`."""
    missing = {one.profile.label: one for judged in found for one in judged.compared.unconfirmed}
    if not missing:
        return None
    durations = [_seconds(one) for one in missing.values()]
    total = None if None in durations else sum(one for one in durations if one is not None)
    return (
        f"Fresh seeds are missing for {listed(list(missing))}: {sum(map(_left, missing.values()))} trainings, "
        f"{'about ' if total is not None else 'duration '}{formatting.duration(total)} on one slot."
    )


def _left(one: Represented) -> int:
    """The number of missing trainings."""
    return SEEDS - (len(one.runs) if one.fresh else 0)


def _seconds(one: Represented) -> float | None:
    """The expected duration of the missing trainings, from the longest one."""
    durations = [run.duration for run in one.runs if run.duration is not None]
    return _left(one) * max(durations) if durations else None


def _feature_row(one: Represented, judged: JudgedComparison, *, side: int) -> Row:
    value, low, high = judged.compared.mean(side)
    return {
        "study": one.profile.label,
        "features": one.profile.features,
        "parameters": one.runs[0].architecture.num_parameters,
        "seeds": len(judged.compared.values[side]),
        judged.compared.metric: value,
        "low": low,
        "high": high,
        "difference": None,
        "its low": None,
        "its high": None,
        "verdict": None,
    }
