"""What a paper on a scaling law must report, filled in from the records; gaps are named.

The items follow Li, Kudugunta and Zettlemoyer, *(Mis)Fitting: A survey of scaling laws* (ICLR 2025).
"""

from __future__ import annotations

from collections.abc import Sequence

from scalecore.api.trials import TrialRecord, TrialState
from scalecore_analysis.report.campaign.members import CampaignView, Member
from scalecore_analysis.report.campaign.setup import COUNTED, FORWARD, agreed, optimizer, schedule, trainer_of
from scalecore_analysis.report.section import Section
from scalecore_analysis.scaling.estimator import DELTA, GRID
from scalecore_analysis.scaling.group_verdict import GroupVerdict

__all__ = ["checklist"]

GAP = "NOT RECORDED"
Items = list[tuple[str, str, str | None]]
"""Topic, item and answer; no answer is a gap."""


def checklist(view: CampaignView, found: Sequence[GroupVerdict]) -> Section:
    """One row per item: the answer from the records, or a gap."""
    rows = [
        {"topic": topic, "item": item, "answer": answer if answer else GAP}
        for topic, item, answer in (*_hypothesis(found), *_training(view), *_collection(view, found), *_fitting(found))
    ]
    gaps = [row["item"] for row in rows if row["answer"] == GAP]
    text = [f"Not in the records, so to be added by hand: {'; '.join(gaps)}."] if gaps else []
    return Section(
        title="Checklist",
        text=text,
        tables={"Checklist": rows},
        captions={
            "Checklist": "Items of Li, Kudugunta and Zettlemoyer, (Mis)Fitting: A survey of scaling laws (ICLR 2025)."
        },
        data={"items": rows, "gaps": gaps},
    )


def _hypothesis(found: Sequence[GroupVerdict]) -> Items:
    laws = {law.name: law for one in found if one.found for law in one.found.laws}
    fitted = {law.name for one in found if one.found for law in one.found.laws if law.weight is not None}
    forms = "; ".join(f"{law.text}{'' if name in fitted else ' (not testable)'}" for name, law in laws.items())
    margins = {one.margin for one in found if one.found}
    declared = ", ".join(f"{one:g}" for one in sorted(one for one in margins if one is not None))
    return [
        ("hypothesis", "form of the law", forms or None),
        ("hypothesis", "variables", "N: parameters; D: training windows seen up to the best epoch; L: validation loss"),
        ("hypothesis", "smallest relevant difference, declared before the study", declared or None),
    ]


def _training(view: CampaignView) -> Items:
    members = view.members
    return [
        ("training", "numbers of parameters", _sizes(members)),
        ("training", "parameter count", agreed(members, lambda one: COUNTED if trainer_of(one) == "torch" else None)),
        ("training", "parameters without embeddings and head", None),
        ("training", "FLOPs", agreed(members, lambda one: FORWARD if _has_flops(one) else None)),
        ("training", "training data of a run", agreed(members, _amount)),
        ("training", "repeated data", agreed(members, _repeats)),
        ("training", "optimizer", agreed(members, optimizer)),
        ("training", "learning-rate schedule", agreed(members, schedule)),
        ("training", "hyper-parameters tuned for each size", agreed(members, _tuned)),
        ("training", "initial weights", None),
        ("training", "code", agreed(members, _code)),
    ]


def _collection(view: CampaignView, found: Sequence[GroupVerdict]) -> Items:
    excluded = [one for member in view.members for one in _excluded(member)]
    outliers = f"{len(excluded)} trials without a valid loss: {_by_state(excluded)}" if excluded else "none"
    return [
        ("data collection", "loss", agreed(view.members, _loss)),
        ("data collection", "seeds of a size", _seeds(found)),
        ("data collection", "intermediate checkpoints", agreed(view.members, _checkpoints)),
        ("data collection", "excluded runs", outliers),
        ("data collection", "test data", "not used here: all losses are on validation windows"),
    ]


def _fitting(found: Sequence[GroupVerdict]) -> Items:
    if not any(law.fit for one in found if one.found for law in one.found.laws):
        return [("fit", "fit", "no law is fitted")]
    held_out = any(law.prediction for one in found if one.found for law in one.found.laws)
    return [
        ("fit", "objective", f"sum of Huber losses of the differences of logs, threshold {DELTA:g}, over runs"),
        ("fit", "algorithm", "L-BFGS-B with analytic gradient, then a second-order method, until nothing improves"),
        ("fit", "start", f"grid of {GRID} values for each exponent, the rest by non-negative least squares"),
        ("fit", "intervals", "95 % percentiles of 1,000 bootstrap resamples of runs"),
        ("fit", "comparison of laws", "AICc weights; lack of fit by parametric bootstrap"),
        ("fit", "extrapolation", "the largest budget, predicted from the others" if held_out else None),
    ]


def _sizes(members: Sequence[Member]) -> str | None:
    counts = sorted({one.best.architecture.num_parameters for one in members if one.best is not None})
    return f"{len(counts)} sizes, {counts[0]:,} to {counts[-1]:,}" if counts else None


def _has_flops(member: Member) -> bool:
    return any(trial.architecture.flops for trial in member.study.trials)


def _amount(member: Member) -> str:
    return f"{member.study.plan.data.parts['train'].windows:,} windows of {member.study.plan.data.context} rows"


def _repeats(member: Member) -> str | None:
    epochs = [one for trial in member.study.trials if (one := trial.hyperparameters.get("epochs")) is not None]
    known = sorted({one for one in epochs if isinstance(one, int)})
    if not known:
        return None
    return f"up to {known[0]} epochs" if len(known) == 1 else f"up to {known[0]} to {known[-1]} epochs"


def _tuned(member: Member) -> str:
    names = ", ".join(member.study.plan.space) or "none"
    return f"architecture and {names}, {member.study.total} trials"


def _code(member: Member) -> str | None:
    known = member.study.plan.versions
    return f"scalecore {known['scalecore']}" if "scalecore" in known else None


def _loss(member: Member) -> str:
    kind = {"forecast": "squared error"}.get(member.study.plan.data.task, "cross-entropy in nats")
    return f"{kind}, mean over {member.study.plan.data.parts['val'].windows:,} validation windows"


def _checkpoints(member: Member) -> str:
    return f"none: one loss per run, of its {member.study.experiment['objective']['reduction']} epoch"


def _seeds(found: Sequence[GroupVerdict]) -> str | None:
    counts = sorted({len(budget.losses) for one in found for budget in one.budgets})
    if not counts:
        return None
    return f"{counts[0]}" if len(counts) == 1 else f"{counts[0]} to {counts[-1]}"


def _excluded(member: Member) -> list[TrialRecord]:
    runs = (*member.study.trials, *member.study.confirmations)
    return [trial for trial in runs if trial.state is not TrialState.COMPLETED or trial.collapsed]


def _by_state(trials: Sequence[TrialRecord]) -> str:
    counts: dict[str, int] = {}
    for trial in trials:
        name = "predicts a constant" if trial.collapsed else str(trial.state).replace("_", " ")
        counts[name] = counts.get(name, 0) + 1
    return ", ".join(f"{count} {name}" for name, count in counts.items())
