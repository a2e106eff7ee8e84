"""Report a confirmation as a table and in sentences."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from scalecore.api.engine import opened_text
from scalecore.api.formatting import number


def report_lines(content: Mapping[str, Any]) -> list[str]:
    """For the terminal."""
    lines = []
    for part, title in _parts(content):
        lines += [f"{title}, ranked by the mean of the replicates:"]
        for row in part["rows"]:
            lines.append(
                f"  {row['rank']}. trial {row['trial']}: {_mean(row)}, SD of seeds "
                f"{number(row['between_seeds'], like=row['mean'])}, {row['seeds']} seeds{_claimed(row)}{_verdict(row)}"
            )
        lines += [f"  {text}" for text in _sentences(content, part)]
    lines += _failures(content)
    if content["test"] is not None:
        lines.append(opened_text(content["openings"]))
    return lines


def markdown(content: Mapping[str, Any]) -> str:
    """`confirmation.md`. `confirmation.json` has every number, the journal those of single trainings."""
    lines = [
        f"# Confirmation of {content['study']}",
        "",
        f"The best of {content['trials_of_the_search']} trials, each retrained on {content['seeds']} fresh seeds.",
    ]
    for part, title in _parts(content):
        lines += ["", f"## {title}", "", *_table(part), "", *[f"- {text}" for text in _sentences(content, part)]]
        if part["margin"] is not None:
            lines.append(f"- margin of equivalence: {_margin(part)}")
    if failures := _failures(content):
        lines += ["", "## Replicates without a value", "", *[f"- {text}" for text in failures]]
    lines += [
        "",
        "## How to read this",
        "",
        "Intervals are 95 % confidence intervals by the t distribution. Their variance is the variance between seeds "
        "plus, for losses, the variance over windows. *Worse by* is the difference from the best "
        "configuration, paired by window; its interval is Bonferroni-adjusted for all comparisons. A verdict is "
        "`worse`, `equivalent` (two one-sided tests at 5 % within the margin) or `inconclusive`. The margin is the "
        "larger of half a percent of the best mean and the standard deviation between seeds. *Optimism* is the search "
        "value minus the mean of the replicates. The epoch of each replicate was selected on validation data, so its "
        "validation values remain slightly optimistic.",
        "",
    ]
    if content["test"] is not None:
        lines += [opened_text(content["openings"]), ""]
    return "\n".join(lines)


def sentences_of(content: Mapping[str, Any]) -> list[str]:
    """The findings on validation data, and the replicates without a value."""
    return [*_sentences(content, content["validation"]), *_failures(content)]


def _parts(content: Mapping[str, Any]) -> list[tuple[Mapping[str, Any], str]]:
    parts = [(content["validation"], f"Validation, {content['metric']}")]
    return [*parts, (content["test"], "Test, loss")] if content["test"] is not None else parts


def _table(part: Mapping[str, Any]) -> list[str]:
    rows = [
        "| rank | trial | shape | mean | SD of seeds | seeds | search value (rank) | optimism | worse by | verdict |",
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


def _sentences(content: Mapping[str, Any], part: Mapping[str, Any]) -> list[str]:
    """The findings of the table, in sentences."""
    rows = part["rows"]
    if not rows:
        return ["no result: no replicate completed"]
    texts = [_winner_text(rows)]
    if (claim := next((row for row in rows if row["claimed_rank"] == 1 and "claimed" in row), None)) is not None:
        texts.append(_claim_text(content, claim))
    baseline = part["baseline"]
    if baseline is not None:
        texts.append(_baseline_text(rows[0], baseline))
    texts += [
        f"{row['collapsed']} of {row['seeds']} replicates of trial {row['trial']} predict a constant"
        for row in rows
        if row["collapsed"]
    ]
    return texts


def _winner_text(rows: Sequence[Mapping[str, Any]]) -> str:
    best, others = rows[0], rows[1:]
    if not others:
        return f"trial {best['trial']} is the only configuration"
    if all(row["verdict"] == "worse" for row in others):
        return f"trial {best['trial']} is significantly better than all others"
    tied = [row for row in others if row["verdict"] != "worse"]
    listed = ", ".join(f"{row['trial']} ({row['verdict']})" for row in tied)
    return f"trial {best['trial']} has the best mean, but is not significantly better than trial {listed}"


def _claim_text(content: Mapping[str, Any], row: Mapping[str, Any]) -> str:
    sign = 1.0 if content["direction"] == "minimize" else -1.0
    better = sign * row["optimism"] < 0
    text = (
        f"trial {row['trial']} reached {number(row['claimed'])} in the search, "
        f"{number(abs(row['optimism']), like=row['mean'])} {'better' if better else 'worse'} than the mean of its "
        f"replicates ({number(row['mean'])})"
    )
    if row["one_training"] is None:
        return text
    low, high = row["one_training"]
    inside = "within" if low <= row["claimed"] <= high else "outside"
    return f"{text}: {inside} the 95 % range of a single training{_interval((low, high), like=row['mean'])}"


def _baseline_text(best: Mapping[str, Any], baseline: Mapping[str, Any]) -> str:
    like = best["mean"]
    less = number(baseline["less"], like=like, sign=True) + _interval(baseline["interval"], like=like)
    which = f"the best baseline, {baseline['name']}: {less}"
    if baseline["interval"] is None:
        return f"trial {best['trial']} against {which}; too few seeds or windows for an interval"
    low, high = baseline["interval"]
    relation = "is better than" if high < 0 else "is WORSE than" if low > 0 else "is not significantly different from"
    return f"trial {best['trial']} {relation} {which}"


def _failures(content: Mapping[str, Any]) -> list[str]:
    """Replicates without a value, with the reason: no mean includes them, so they are reported (guard G27)."""
    return [
        f"trial {number}, seed {one['seed']}: {one['state']} ({one['reason']})"
        for number, own in content["replicates"].items()
        for one in own
        if one["state"] != "completed"
    ]


def _claimed(row: Mapping[str, Any]) -> str:
    return "" if row.get("claimed") is None else f", search value {number(row['claimed'])}"


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
