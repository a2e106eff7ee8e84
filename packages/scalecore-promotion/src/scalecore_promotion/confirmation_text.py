"""A confirmation as people read it: a table, and in words what it says."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from scalecore.api.formatting import number
from scalecore_promotion.card import opened_text


def report_lines(content: Mapping[str, Any]) -> list[str]:
    """For the terminal."""
    lines = []
    for part, title in _parts(content):
        lines += [f"{title}, by the mean of the replicates:"]
        for row in part["rows"]:
            lines.append(
                f"  {row['rank']}. trial {row['trial']}: {_mean(row)}, between seeds "
                f"{number(row['between_seeds'], like=row['mean'])}, {row['seeds']} seeds{_claimed(row)}{_verdict(row)}"
            )
        lines += [f"  {text}" for text in _words(content, part)]
    lines += _failures(content)
    if content["test"] is not None:
        lines.append(opened_text(content["openings"]))
    return lines


def markdown(content: Mapping[str, Any]) -> str:
    """`confirmation.md`; every number is in `confirmation.json` beside it, those of single trainings in the journal."""
    lines = [
        f"# Confirmation of {content['study']}",
        "",
        f"The best of {content['trials_of_the_search']} trials, each trained again on {content['seeds']} fresh seeds.",
    ]
    for part, title in _parts(content):
        lines += ["", f"## {title}", "", *_table(part), "", *[f"- {text}" for text in _words(content, part)]]
        if part["margin"] is not None:
            lines.append(f"- a difference below {_margin(part)} counts as none: the margin of `equivalent`")
    if failures := _failures(content):
        lines += ["", "## Replicates without a value", "", *[f"- {text}" for text in failures]]
    lines += [
        "",
        "## How to read this",
        "",
        "Intervals are of 95 % and by the t distribution; their variance is that between the seeds and, for losses, "
        "that of the windows by block bootstrap. Worse by: less the best one's, paired window by window; its interval "
        "is widened so that all comparisons hold together. A verdict is `worse`, `equivalent` (within the margin, two "
        "one-sided tests at 5 %; the margin is the larger of half a percent and the standard deviation between seeds) "
        "or `inconclusive`. Optimism: what the search claimed less the mean of the replicates. "
        "The epoch of each replicate was chosen on validation data, so its validation values stay a little too good.",
        "",
    ]
    if content["test"] is not None:
        lines += [opened_text(content["openings"]), ""]
    return "\n".join(lines)


def _parts(content: Mapping[str, Any]) -> list[tuple[Mapping[str, Any], str]]:
    parts = [(content["validation"], f"Validation, {content['metric']}")]
    return [*parts, (content["test"], "Test, loss")] if content["test"] is not None else parts


def _table(part: Mapping[str, Any]) -> list[str]:
    rows = [
        "| rank | trial | shape | mean | between seeds | seeds | claimed (rank) | optimism | worse by | verdict |",
        "|---|---|---|---|---|---|---|---|---|---|",
    ]
    for row in part["rows"]:
        shape = " ".join(f"{name}={value}" for name, value in row["architecture"].items())
        claimed = "" if row.get("claimed") is None else f"{number(row['claimed'])} ({row['claimed_rank']})"
        optimism = "" if row.get("optimism") is None else number(row["optimism"], like=row["mean"], sign=True)
        worse = "" if row["worse_by"] is None else _worse(row)
        rows.append(
            f"| {row['rank']} | {row['trial']} | {shape} | {_mean(row)} | "
            f"{number(row['between_seeds'], like=row['mean'])} | {row['seeds']} | {claimed} | {optimism} | {worse} | "
            f"{row['verdict'] or 'best'} |"
        )
    return rows


def _words(content: Mapping[str, Any], part: Mapping[str, Any]) -> list[str]:
    """What the table says, in sentences."""
    rows = part["rows"]
    if not rows:
        return ["no replicate was completed: there is no result"]
    texts = [_winner_text(rows)]
    if (claim := next((row for row in rows if row["claimed_rank"] == 1 and "claimed" in row), None)) is not None:
        texts.append(_claim_text(content, claim))
    baseline = part["baseline"]
    if baseline is not None:
        texts.append(_baseline_text(rows[0], baseline))
    texts += [
        f"{row['collapsed']} of {row['seeds']} replicates of trial {row['trial']} predict a constant [G09]"
        for row in rows
        if row["collapsed"]
    ]
    return texts


def _winner_text(rows: Sequence[Mapping[str, Any]]) -> str:
    best, others = rows[0], rows[1:]
    if not others:
        return f"trial {best['trial']} is the only configuration"
    if all(row["verdict"] == "worse" for row in others):
        return f"trial {best['trial']} is better than the others, beyond chance"
    tied = [row for row in others if row["verdict"] != "worse"]
    listed = ", ".join(f"{row['trial']} ({row['verdict']})" for row in tied)
    return f"trial {best['trial']} has the best mean, but cannot be told from trial {listed}"


def _claim_text(content: Mapping[str, Any], row: Mapping[str, Any]) -> str:
    sign = 1.0 if content["direction"] == "minimize" else -1.0
    better = sign * row["optimism"] < 0
    text = (
        f"the search claimed {number(row['claimed'])} for trial {row['trial']}, its replicates have "
        f"{number(row['mean'])}: the claim was too {'good' if better else 'bad'} by "
        f"{number(abs(row['optimism']), like=row['mean'])}"
    )
    if row["one_training"] is None:
        return text
    low, high = row["one_training"]
    inside = "within" if low <= row["claimed"] <= high else "outside of"
    return f"{text}, {inside} what single trainings vary by{_interval((low, high), like=row['mean'])}"


def _baseline_text(best: Mapping[str, Any], baseline: Mapping[str, Any]) -> str:
    like = best["mean"]
    less = number(baseline["less"], like=like, sign=True) + _interval(baseline["interval"], like=like)
    which = f"the best baseline, {baseline['name']}: {less}"
    if baseline["interval"] is None:
        return f"trial {best['trial']} against {which}; too few seeds or windows to tell"
    low, high = baseline["interval"]
    relation = "is better than" if high < 0 else "is WORSE than" if low > 0 else "cannot be told from"
    return f"trial {best['trial']} {relation} {which}"


def _failures(content: Mapping[str, Any]) -> list[str]:
    """Replicates without a value, with the reason: they are in no mean, and are told (guard G27)."""
    return [
        f"trial {number}, seed {one['seed']}: {one['state']} ({one['reason']})"
        for number, own in content["replicates"].items()
        for one in own
        if one["state"] != "completed"
    ]


def _claimed(row: Mapping[str, Any]) -> str:
    return "" if row.get("claimed") is None else f", claimed {number(row['claimed'])}"


def _verdict(row: Mapping[str, Any]) -> str:
    if row["verdict"] is None:
        return ""
    return f"; worse by {_worse(row)}: {row['verdict']}"


def _mean(row: Mapping[str, Any]) -> str:
    return f"{number(row['mean'])}{_interval(row['interval'], like=row['mean'])}"


def _worse(row: Mapping[str, Any]) -> str:
    like = row["mean"]
    return f"{number(row['worse_by'], like=like)}{_interval(row['worse_by_interval'], like=like)}"


def _margin(part: Mapping[str, Any]) -> str:
    return number(part["margin"], like=part["rows"][0]["mean"] if part["rows"] else None)


def _interval(pair: Sequence[float] | None, *, like: float) -> str:
    return "" if pair is None else f" ({number(pair[0], like=like)} to {number(pair[1], like=like)})"
