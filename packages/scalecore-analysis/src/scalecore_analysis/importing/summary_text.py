"""The summary of an import as text."""

from __future__ import annotations

from collections.abc import Sequence

from scalecore_analysis.importing.summary import LEVELS, ImportSummary, LabelCount

SHOWN = 6
"""Maximum number of lines listed below a point."""


def summary_lines(summary: ImportSummary) -> list[str]:
    """One line per point, with its details indented below."""
    one = summary
    states = ", ".join(f"{count} {state}" for state, count in one.states.items())
    labelled, within = sum(label.trials for label in one.labels), sum(label.within for label in one.labels)
    lines = [
        f"Summary of {_several(one.files, 'file')}",
        f"  trials: {one.trials}" + (f" ({states})" if states else ""),
        *([f"    {_several(one.unreadable, 'record')} cannot be read"] if one.unreadable else []),
        f"  exact repeats: {one.exact_repeats} of {one.trials}",
    ]
    if one.exact_repeats:
        lines.append(
            f"    {one.repeats_with_the_same_value} with exactly the same value, "
            f"{one.repeats_of_another_study} of them in another study"
        )
    counted = f"counted for a context of {one.context} and {one.features} features"
    lines += _point(
        "within the labelled budget",
        f"{within} of {labelled}, {counted}" if labelled else None,
        *(_label_line(label) for label in one.labels),
        unknown=one.unlabelled,
        why="neither path nor content names a budget",
    )
    comparable = one.trials - one.path_unknown
    lines += _point(
        "content against path",
        f"{one.contradicting} of {comparable} contradict" if comparable else None,
        *_shown([f"{text} ({_several(count, 'record')})" for text, count in one.contradictions.items()]),
        unknown=one.path_unknown,
        why="path or content names no budget, tier or experiment",
    )
    lines += _point(
        "forced trials",
        f"{one.forced}, {one.forced_with_empty_params} with empty params",
        unknown=one.forced_without_architecture,
        why="the record names no architecture of this model",
    )
    lines += _point(
        "optimum at an edge",
        f"in {len(one.edges)} of {_several(one.studies, 'study', 'studies')}"
        if one.studies > one.edges_unknown
        else None,
        *_shown(one.edges),
        unknown=one.edges_unknown,
        why=f"fewer than {LEVELS} values of each dimension have a result",
    )
    return lines


def _point(name: str, text: str | None, *parts: str, unknown: int, why: str) -> list[str]:
    """One point of the summary; without `text` it is unknown."""
    if text is None:
        return [f"  {name}: unknown: {why}"]
    rest = [f"    unknown for {unknown}: {why}"] if unknown else []
    return [f"  {name}: {text}", *(f"    {part}" for part in parts), *rest]


def _label_line(label: LabelCount) -> str:
    ends = [f"{one:,}" for one in dict.fromkeys((label.smallest, label.largest)) if one is not None]
    sizes = f", {' to '.join(ends)} parameters" if ends else ""
    unknown = f"; unknown for {label.uncounted} without a complete architecture" if label.uncounted else ""
    return f"{label.label} ({label.low:,} to {label.high:,}): {label.within} of {label.trials}{sizes}{unknown}"


def _shown(lines: Sequence[str]) -> list[str]:
    more = [f"and {len(lines) - SHOWN} more; --json has all"] if len(lines) > SHOWN else []
    return [*lines[:SHOWN], *more]


def _several(count: int, one: str, many: str | None = None) -> str:
    return f"{count} {one if count == 1 else many or one + 's'}"
