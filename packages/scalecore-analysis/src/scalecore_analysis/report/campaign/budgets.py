"""Each budget: counted size, cost, search effort, the best trial with its intervals, and the best baseline."""

from __future__ import annotations

from scalecore.api.data_report import BaselineReport
from scalecore.api.formatting import caution
from scalecore.api.space import Architecture
from scalecore.api.trials import TrialRecord
from scalecore_analysis.edges import edges_of
from scalecore_analysis.paired import Paired
from scalecore_analysis.report.campaign.members import LOSS, CampaignView, Member, training_flops
from scalecore_analysis.report.measured import Measured, flattened
from scalecore_analysis.report.section import Row, Section

__all__ = ["baselines", "budgets"]


def budgets(view: CampaignView) -> Section:
    """Size and effort of each budget, and its best trial."""
    sizes = [_size(one) for one in view.members]
    best = [_best(one) for one in view.members]
    configurations = [_configuration(one) for one in view.members]
    text = []
    for one in view.members:
        if isinstance(one.ties, str) and one.best is not None:
            text.append(f"{one.title}: tied trials are unknown: {one.ties}.")
        if (warning := caution(one.best)) is not None:
            text.append(f"{one.title}: {warning}.")
    return Section(
        title="Budgets",
        text=text,
        tables={"Sizes and effort": sizes, "Best of each budget": best, "Configurations": configurations},
        captions={
            "Sizes and effort": "N: parameters of the best trial's model as counted, and of all models tried. FLOPs "
            "per window: forward pass. Training FLOPs: three forward passes per window and epoch, without evaluations; "
            "of the best trial, and of all trials of the search.",
            "Best of each budget": "Search: the best trial's value, which selected it and is therefore optimistic, "
            "with the 95 % interval over validation windows. Mean: over fresh seeds of the same configuration, with "
            "the 95 % interval over seeds (t distribution). Tied: trials whose paired difference from the best is "
            "not significant at 95 %, the best included.",
            "Configurations": "The best trials of the searches. An optimum on an edge may lie beyond.",
        },
        data={"sizes and effort": sizes, "best": flattened(best), "configurations": configurations},
    )


def _size(member: Member) -> Row:
    study, best = member.study, member.best
    tried = [trial.architecture.num_parameters for trial in study.counted]
    hours = [trial.duration for trial in study.trials if trial.duration is not None]
    return {
        **member.head,
        "N": None if best is None else best.architecture.num_parameters,
        "N tried": f"{min(tried):,} to {max(tried):,}" if tried else None,
        "FLOPs per window": _flops(best),
        "training FLOPs": None if best is None else training_flops(study, [best]),
        "trials": len(study.counted),
        "planned": study.total,
        "hours": sum(hours) / 3600 if hours else None,
        "FLOPs of the search": training_flops(study, study.trials) if study.trials else None,
    }


def _flops(trial: TrialRecord | None) -> int | None:
    return trial.architecture.flops or None if trial is not None else None


def _best(member: Member) -> Row:
    best, metric = member.best, member.subject.metric
    row: Row = {**member.head, "trial": best.number if best else None}
    row |= dict.fromkeys(("search", "fresh seeds", "mean", "tied"))
    if best is None:
        return row
    runs = member.fresh(metric)
    row["search"] = Measured.of(best.value, member.at_best.interval(metric))
    row["fresh seeds"] = len(runs.values) if runs is not None else 0
    row["mean"] = member.replicated(metric)
    if isinstance(member.ties, Paired):
        row["tied"] = f"{len(member.ties.tied)} of {len(member.ties.rows)}"
    return row


def _configuration(member: Member) -> Row:
    best = member.best
    row: Row = {**member.head, "metric": member.subject.metric, "trial": best.number if best else None}
    row |= dict.fromkeys(("architecture", "hyper-parameters", "on an edge"))
    if best is None:
        return row
    varied = {name: best.hyperparameters[name] for name in member.study.plan.space if name in best.hyperparameters}
    row["architecture"] = _shape(best.architecture)
    row["hyper-parameters"] = ", ".join(
        f"{name} {value:.3g}" if isinstance(value, float) else f"{name} {value}" for name, value in varied.items()
    )
    edges = [f"{one['name']} {one['on edge']}" for one in edges_of(member.study, best) if one["on edge"]]
    return row | {"on an edge": ", ".join(edges) or "no"}


def _shape(architecture: Architecture) -> str:
    return ", ".join(f"{name} {value}" for name, value in architecture.values.items()) or "fixed"


def baselines(view: CampaignView) -> Section:
    """All baselines of each group, and the best one against the best trial of each budget."""
    against = [_against(one) for one in view.members]
    rules: list[Row] = []
    for group in view.groups:
        study = group.studies[0]
        head = {"group": group.label} if group.label else {}
        rules += [{**head, **_rule(one)} for one in study.plan.data.baselines]
    text = []
    for group in view.groups:
        members = [one for one in view.of_group(group) if one.best is not None]
        worse = [one.budget for one in members if (skill := _skill(one)) is not None and skill.value <= 0]
        if worse:
            text.append(group.titled(f"NOT better than the best baseline: {', '.join(worse)}."))
    return Section(
        title="Baselines",
        text=text,
        tables={"Best trial against best baseline": against, "Baselines": rules},
        captions={
            "Best trial against best baseline": "Validation loss with 95 % intervals over windows; mean over fresh "
            "seeds with the interval over seeds. Skill: one less the ratio of loss and baseline loss, of the fresh "
            "seeds where they exist, else of the search, whose value is optimistic; its interval is that of the loss, "
            "the baseline's loss being fixed. Both losses are measured on the same windows, so overlapping intervals "
            "do not mean that the difference is insignificant: `scalecore confirm` compares them window by window.",
            "Baselines": "Rules fitted to training windows, measured on validation windows.",
        },
        data={"against": flattened(against), "baselines": flattened(rules)},
    )


def _rule(one: BaselineReport) -> Row:
    loss = Measured.of(one.loss, one.loss_interval)
    rule = one.reason or one.text
    return {"baseline": one.name, "loss": loss, "accuracy": one.accuracy, "AUC": one.auc, "rule": rule}


def _against(member: Member) -> Row:
    baseline = member.study.plan.data.best_baseline
    row: Row = {**member.head, "baseline": None, "its loss": None, "search": member.searched(LOSS)}
    row |= {"mean": member.replicated(LOSS), "skill": _skill(member), "skill of": None}
    if baseline is not None:
        row["baseline"] = baseline.name
        row["its loss"] = Measured.of(baseline.loss, baseline.loss_interval)
    if member.best is not None:
        runs = member.fresh(LOSS)
        row["skill of"] = "fresh seeds" if runs is not None else "search"
    return row


def _skill(member: Member) -> Measured | None:
    """One less the ratio of the losses, with the interval of the trial's loss; None if one is missing."""
    baseline = member.study.plan.data.best_baseline
    loss = member.replicated(LOSS) or member.searched(LOSS)
    if baseline is None or baseline.loss is None or loss is None or baseline.loss <= 0:
        return None
    value, *ends = (None if one is None else 1 - one / baseline.loss for one in (loss.value, loss.high, loss.low))
    return Measured.of(value, ends)
