"""All trials of the campaign by state and origin, with their cost; studies without a result."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import get_args

from scalecore.api.engine import CampaignIndex, find_campaign
from scalecore.api.trials import OriginKind, StudyView, TrialRecord, TrialState
from scalecore_analysis.report.campaign.members import CampaignView, Member, training_flops
from scalecore_analysis.report.section import Row, Section

__all__ = ["absent_studies", "campaigns_of", "ledger"]


def ledger(view: CampaignView, absent: Sequence[Row]) -> Section:
    """Trials by state, by origin, their hours, and the studies of the campaign that are not on the page."""
    states, origins, costs = (_with_total([row(one) for one in view.members]) for row in (_states, _origins, _cost))
    studies = [{"study": view.name(one), **one.head, "state": one.study.state} for one in view.members]
    tables = {
        "Trials by state": states,
        "Trials by origin": origins,
        "Cost": costs,
        "Studies": studies,
    }
    if absent:
        tables["Studies that are not on this page"] = list(absent)
    return Section(
        title="Trials and cost",
        tables=tables,
        captions={
            "Trials by state": "Trials of the searches. Planned: the total of the experiment file. Duplicates were "
            "proposed again and not trained.",
            "Trials by origin": "Replicates and transfers are retrainings of searched configurations with fresh seeds, "
            "final trials those of `scalecore evaluate`: all outside the totals of the searches.",
            "Cost": "Hours of wall-clock time of trials; wasted: those that failed, diverged, timed out or ran out of "
            "memory. FLOPs: estimated, three forward passes per window and epoch.",
        },
        data={"states": states, "origins": origins, "cost": costs, "studies": studies, "absent": list(absent)},
    )


def _states(member: Member) -> Row:
    study, counts = member.study, Counter(trial.state for trial in member.study.trials)
    return {
        **member.head,
        "planned": study.total,
        "done": len(study.counted),
        **{str(state).replace("_", " "): counts[state] for state in TrialState},
        "collapsed": sum(trial.collapsed for trial in study.trials),
        "duplicates": study.duplicates_avoided,
        "not counted": len(study.left_out),
        "running": len(study.running),
    }


def _origins(member: Member) -> Row:
    study = member.study
    counts = Counter(trial.origin.kind for trial in (*study.trials, *study.confirmations, *study.finals))
    kinds = dict.fromkeys((*get_args(OriginKind), *counts))
    return {**member.head, **{str(kind): counts[kind] for kind in kinds}}


def _cost(member: Member) -> Row:
    study = member.study
    useful = (TrialState.COMPLETED, TrialState.PRUNED)
    wasted = [trial for trial in study.trials if trial.state not in useful]
    retrained = (*study.confirmations, *study.finals)
    return {
        **member.head,
        "hours of the search": _hours(study.trials),
        "of them wasted": _hours(wasted) if wasted else 0.0,
        "hours of retrainings": _hours(retrained) if retrained else 0.0,
        "FLOPs of the search": training_flops(study, study.trials),
        "FLOPs of retrainings": training_flops(study, retrained),
    }


def _hours(trials: Sequence[TrialRecord]) -> float | None:
    """None if the duration of one is unknown."""
    seconds = [trial.duration for trial in trials]
    known = [one for one in seconds if one is not None]
    return sum(known) / 3600 if len(known) == len(seconds) else None


def _with_total(rows: Sequence[Row]) -> list[Row]:
    """The rows and the sums of their columns; a sum with an unknown part is unknown."""
    found: Row = {}
    for name in dict.fromkeys(key for row in rows for key in row):
        values = [row.get(name) for row in rows]
        if name in ("group", "budget"):
            found[name] = "all" if name == "budget" else ""
        else:
            known = [value for value in values if isinstance(value, int | float)]
            found[name] = sum(known) if len(known) == len(values) else None
    return [*rows, found]


def absent_studies(studies: Sequence[StudyView]) -> list[Row]:
    """The studies of the same campaigns that are not among these, with the reason."""
    rows: list[Row] = []
    given = {study.folder.resolve() for study in studies}
    for campaign in campaigns_of(studies):
        for entry in campaign.studies:
            if entry.folder.path.resolve() in given:
                continue
            begun = entry.folder.journal.exists()
            reason = entry.problem.reason.splitlines()[0] if entry.problem is not None else None
            state = "not named" if begun else "failed" if reason else "not begun"
            rows.append({"study": entry.label, "state": state, "reason": reason})
    return rows


def campaigns_of(studies: Sequence[StudyView]) -> list[CampaignIndex]:
    """The campaigns of which these studies are a part."""
    folders = dict.fromkeys(study.folder.absolute().parent for study in studies)
    return [found for folder in folders if (found := find_campaign(folder)) is not None]
