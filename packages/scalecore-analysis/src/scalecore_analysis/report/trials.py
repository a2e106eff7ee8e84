"""States, origins and flags of trials, and the table of all trials."""

from __future__ import annotations

from collections import Counter
from typing import Any

from scalecore.api.formatting import origin_text
from scalecore.api.record_parts import EpochResult
from scalecore.api.trials import TrialRecord, TrialState
from scalecore_analysis.report.section import Row, Section, Subject, finite, numbers_text
from scalecore_analysis.studies import SEARCHED

__all__ = ["all_trials", "flags", "origins", "states"]

REASONS = 50
"""Maximum rows of reasons; further reasons are counted."""
SHOWN = 30
"""Maximum trials in the Markdown; the HTML page has all."""


def states(subject: Subject) -> Section:
    """The number of trials in every state, including empty states (guard G27), and the reasons."""
    study = subject.study
    by_state = Counter(trial.state for trial in study.trials)
    rows: list[Row] = [
        {
            "state": str(state),
            "trials": by_state[state],
            "hours": sum(finite(t.duration) or 0.0 for t in study.trials if t.state is state) / 3600,
        }
        for state in TrialState
    ]
    rows.append({"state": "running", "trials": len(study.running), "hours": None})
    missing = max(0, study.total - len(study.counted) - len(study.running))
    rows.append({"state": "not yet tried", "trials": missing, "hours": None})
    groups: dict[tuple[str, str], list[int]] = {}
    for trial in study.trials:
        if trial.reason is not None:
            groups.setdefault((str(trial.state), trial.reason), []).append(trial.number)
    ordered = sorted(groups.items(), key=lambda one: (-len(one[1]), one[1][0]))
    reasons = [
        {"state": state, "trials": len(numbers), "reason": reason, "numbers": numbers_text(numbers)}
        for (state, reason), numbers in ordered
    ]
    text = [f"{len(study.trials)} of {study.total} trials finished; {study.duplicates_avoided} duplicates avoided."]
    if len(reasons) > REASONS:
        text.append(f"The table of all trials has {len(reasons) - REASONS} further reasons.")
    out = [{"trial": number, "why": why} for number, why in sorted(study.left_out.items())]
    text += [f"{len(out)} trials do not count: the current grid or space does not contain them."] if out else []
    text += [f"Disabled during the study: {one}." for one in study.degraded]
    if study.end_reason:
        text.append(f"The last run ended as {study.end}: {study.end_reason.splitlines()[0]}")
    return Section(
        title="Trials by state",
        text=text,
        tables={"States": rows, "Reasons": reasons[:REASONS], **({"Left out": out[:REASONS]} if out else {})},
        data={
            "states": {row["state"]: row["trials"] for row in rows},
            "hours": sum(row["hours"] or 0.0 for row in rows),
            "reasons": reasons,
            "duplicates avoided": study.duplicates_avoided,
            "left out": {str(one["trial"]): one["why"] for one in out},
            "end": study.end,
            "end reason": study.end_reason,
        },
    )


def origins(subject: Subject) -> Section:
    """The origins of trials and their results."""
    kinds: Counter[str] = Counter(trial.origin.kind for trial in subject.study.trials)
    rows: list[Row] = []
    for kind in SEARCHED:
        values = [float(t.value) for t in subject.completed if t.origin.kind == kind and t.value is not None]
        mean = sum(values) / len(values) if values else None
        rows.append({"origin": kind, "trials": kinds[kind], "completed": len(values)})
        rows[-1] |= {"best": subject.better(values), "mean": mean}
    labels: dict[tuple[str, str | None, str | None], list[int]] = {}
    for trial in subject.study.trials:
        if trial.origin.label or trial.origin.rule:
            labels.setdefault((trial.origin.kind, trial.origin.label, trial.origin.rule), []).append(trial.number)
    named = [
        {"origin": kind, "label": label, "rule": rule, "trials": len(numbers), "numbers": numbers_text(numbers)}
        for (kind, label, rule), numbers in labels.items()
    ]
    return Section(
        title="Origin of trials",
        tables={"Origins": rows, **({"Forced designs and redirections": named[:REASONS]} if named else {})},
        data={"kinds": rows, "named": named},
    )


def flags(subject: Subject) -> Section:
    """Flags of trials and data, by guard."""
    groups: dict[tuple[str, str], list[tuple[int, str]]] = {}
    for trial in subject.study.trials:
        for flag in trial.flags:
            key = (flag.guard or "", flag.kind or "")
            groups.setdefault(key, []).append((trial.number, flag.text or ""))
    rows = [
        {
            "guard": guard,
            "kind": kind,
            "trials": len({number for number, _ in found}),
            "first": found[0][1],
            "numbers": numbers_text(sorted({number for number, _ in found})),
        }
        for (guard, kind), found in sorted(groups.items())
    ]
    study_wide: list[Row] = [
        {"guard": flag.get("guard"), "kind": flag.get("kind"), "text": flag.get("text")}
        for flag in subject.study.plan.data.flags
    ]
    tables = {"Flags of trials": rows, **({"Flags of the data": study_wide} if study_wide else {})}
    return Section(title="Flags", tables=tables, data={"trials": rows, "data": study_wide})


def all_trials(subject: Subject) -> tuple[Section, list[Row]]:
    """The first rows for the Markdown, and the rows of all trials for the HTML page."""
    rows = [_row(subject, trial) for trial in subject.ranked()]
    shown = [{name: row[name] for name in row if name != "seed"} for row in rows[:SHOWN]]
    text = (
        [f"The first {SHOWN} of {len(rows)} trials; the HTML page and the JSON have all."] if len(rows) > SHOWN else []
    )
    return Section(title="All trials", text=text, tables={"From the best on": shown}, data=rows), rows


def _row(subject: Subject, trial: TrialRecord) -> Row:
    best = trial.best or EpochResult()
    dimensions = subject.study.plan.architectures.dimensions
    varied = subject.study.plan.space
    row: dict[str, Any] = {"trial": trial.number, "state": str(trial.state), subject.metric: finite(trial.value)}
    row |= {name: trial.architecture.values.get(name) for name in dimensions}
    row["parameters"] = trial.architecture.num_parameters
    row |= {name: _value(trial.hyperparameters.get(name)) for name in varied if name not in row}
    row["best epoch"] = best.epoch
    for name in ("val_loss", "train_loss", "accuracy", "auc", "precision", "recall", "f1"):
        row.setdefault(name, finite(best.metrics.get(name)))
    row |= {"minutes": None if finite(trial.duration) is None else float(trial.duration or 0.0) / 60}
    row |= {"origin": origin_text(trial), "seed": str(trial.seed)}
    row["flags"] = " ".join(sorted({flag.guard or "" for flag in trial.flags})) or None
    row["reason"] = trial.reason
    if trial.number in subject.study.left_out:
        row["reason"] = f"left out: {subject.study.left_out[trial.number]}"
    return row


def _value(value: Any) -> Any:
    return finite(value) if isinstance(value, float) else value
