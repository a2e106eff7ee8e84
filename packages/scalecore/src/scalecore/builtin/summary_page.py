"""The Markdown summary of a study, `{experiment}_study_summary.md`, from the content of the JSON files."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from scalecore.api import formatting
from scalecore.api.markdown import escaped
from scalecore.api.trials import StudyView
from scalecore.builtin.hardware_summary import NO_MONITOR, hardware_table
from scalecore.builtin.study_files import study_summary


def summary_markdown(study: StudyView, summary: Mapping[str, Any] | None = None) -> str:
    """The page; `summary` is the result of `study_summary` if already computed."""
    summary = study_summary(study) if summary is None else summary
    metric = study.experiment["objective"]["metric"]
    best = summary["best"]
    lines = [f"# {escaped(study.name)}, budget {study.budget}", ""]
    end = f"; the last run ended as {study.end}" if study.end else ""
    lines += [f"{len(study.trials)} of {study.total} trials finished{end}. {_counts_text(summary['counts'])}", ""]
    if best["best_trial"] is None:
        lines += ["No trial has completed.", ""]
    else:
        value = formatting.measured(best["best_value"], (best["intervals"] or {}).get(metric))
        lines += [f"Best: trial {best['best_trial']} with {metric} {value}.", ""]
        if (caution := formatting.caution(study.best)) is not None:
            lines += [f"{caution[0].upper()}{caution[1:]}.", ""]
        lines += _table([best["architecture"] | {"origin": best["origin"]}])
        lines += _confusion(summary)
    lines += ["## Baselines, validation loss", "", *_table([_baseline_row(b) for b in best["baselines"]])]
    lines += ["## Trials", ""]
    lines += _table([_markdown_row(r) for r in summary["trials"]]) if summary["trials"] else ["None.", ""]
    for name, rows in summary["by_dimension"].items():
        lines += [f"## By {name}", "", *(_table(rows) if rows else ["None.", ""])]
    if summary["sensitivity"]:
        lines += [f"## Rank correlation of {metric} with training parameters", ""]
        lines += _table([{"parameter": name, **entry} for name, entry in summary["sensitivity"].items()])
    if summary["distribution"]:
        lines += [f"## Distribution of {metric}", "", *_table([summary["distribution"]])]
    lines += ["## Hardware while trials ran", "", *_hardware(summary["hardware"])]
    return "\n".join(lines).rstrip() + "\n"


def _hardware(rows: dict[str, Any] | None) -> list[str]:
    if rows is None:
        return [f"{NO_MONITOR.capitalize()}.", ""]
    return _table(hardware_table(rows)) if rows else ["Nothing was read yet.", ""]


def _baseline_row(baseline: Mapping[str, Any]) -> dict[str, Any]:
    interval = baseline["loss_interval"] or {}
    kept = {
        "baseline": baseline["name"],
        "loss": baseline["loss"],
        "low": interval.get("low"),
        "high": interval.get("high"),
    }
    return {**kept, "auc": baseline["auc"], "how": baseline["reason"] or baseline["text"]}


def _counts_text(by_state: Mapping[str, int]) -> str:
    shown = [f"{count} {state}" for state, count in by_state.items() if count and state != "total"]
    return ", ".join(shown).capitalize() + "." if shown else ""


def _confusion(summary: Mapping[str, Any]) -> list[str]:
    matrix = summary["best_confusion_matrix"]
    if not isinstance(matrix, dict):
        return []
    scores = {name: summary[f"best_{name}"] for name in ("precision", "recall", "f1")}
    return ["Confusion matrix of the best trial, validation split, threshold 0.5:", "", *_table([{**matrix, **scores}])]


def _markdown_row(trial: Mapping[str, Any]) -> dict[str, Any]:
    note = trial["state"] if trial["state"] == "completed" else f"{trial['state']}: {trial['reason']}"
    kept = {"#": trial["number"], "state": note, "value": trial["value"], **trial["architecture"]}
    return {**kept, **trial["params"], "origin": trial["origin"], "flags": " ".join(trial["flags"])}


def _table(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    columns = list(dict.fromkeys(name for r in rows for name in r))
    head = ["| " + " | ".join(map(escaped, columns)) + " |", "|" + " --- |" * len(columns)]
    return [*head, *("| " + " | ".join(_cell(r.get(c)) for c in columns) + " |" for r in rows), ""]


def _cell(value: Any) -> str:
    if value is None:
        return ""
    return escaped(f"{value:.4g}" if isinstance(value, float) else str(value))
