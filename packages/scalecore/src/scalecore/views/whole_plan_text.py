"""The text of a plan of several studies, or of a study with analyses."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from textwrap import wrap

from scalecore.api import formatting
from scalecore.api.plan_report import PlanReport
from scalecore.campaign.table import aligned
from scalecore.planning.preflight import OF_MACHINE
from scalecore.views.whole_plan import AnalysisCost, SearchCost, WholePlan

BORROWED = "*"
WIDTH = 100
"""Maximum number of characters of a line."""


def search_lines(whole: WholePlan) -> list[str]:
    """A table with one row per study."""
    rows = [["study", "parameters", "shapes", "memory", "trials", "a trial", "time left"]]
    for one in whole.searches:
        mark = BORROWED if one.borrowed else ""
        rows.append(
            [
                one.study,
                " to ".join(dict.fromkeys(map(formatting.parameters, one.parameters))),
                str(one.shapes),
                formatting.size(one.memory),
                formatting.count_of(one.finished, one.trials),
                _duration(one.trial_seconds, mark),
                _duration(one.seconds_left, mark if one.left else ""),
            ]
        )
    return aligned(rows, right=(2, 3, 4, 5, 6))


def warning_lines(whole: WholePlan, plans: Mapping[str, PlanReport]) -> list[str]:
    """Each warning once, with the studies that have it; `plans` are those of the studies by label."""
    labels: dict[str, list[str]] = {}
    of_machine: dict[str, str] = {}  # the other runs may change while the studies are planned
    for label, plan in plans.items():
        for one in (one for one in plan.findings if one.level != "ok"):
            text = f"  {one.level:6} {one.subject}: {one.message}" + (f"; {one.remedy}" if one.remedy else "")
            if one.subject in OF_MACHINE:
                of_machine.setdefault(one.subject, text)
            else:
                labels.setdefault(text, []).append(label)
    texts = [
        text if len(found) == len(plans) else f"{text} ({', '.join(found[:3])}{_more(len(found) - 3)})"
        for text, found in labels.items()
    ]
    texts = [*of_machine.values(), *texts]
    return _wrapped([*texts, *(f"  warn   comparison: {note}" for note in whole.notes)])


def _wrapped(lines: Sequence[str], *, indent: str = " " * 9) -> list[str]:
    return [
        part
        for line in lines
        for part in wrap(line, WIDTH, subsequent_indent=indent, break_on_hyphens=False, break_long_words=False)
    ]


def _more(count: int) -> str:
    return f" and {count} more" if count > 0 else ""


def total_lines(whole: WholePlan) -> list[str]:
    """The trainings of the searches and the analyses, with time, memory, disk, and what the analyses say."""
    searches, training = whole.searches, [one for one in whole.analyses if one.trainings or one.shared]
    rows = [["", "trainings", "left", "time left"]]
    left = sum(one.left for one in searches)
    seconds = [one.seconds_left for one in searches]
    total = None if None in seconds else sum(one or 0.0 for one in seconds)
    rows.append([_count(len(searches), "search"), str(sum(one.trials for one in searches)), str(left), _time(total)])
    rows += [
        [one.analysis, _bound(one, one.trainings), _bound(one, one.left), _time(one.seconds_left)] for one in training
    ]
    if training:
        bound = "at most " if any(one.at_most for one in training) else ""
        trainings = sum(one.trials for one in searches) + sum(one.trainings for one in training)
        left += sum(one.left for one in training)
        rows.append(["all", f"{bound}{trainings}", f"{bound}{left}", _time(whole.seconds_left)])
    lines = ["The whole:", *(f"  {line}" for line in aligned(rows, right=(1, 2, 3)))]
    shared = [f"  {one.analysis}: {one.shared} more are those of an earlier analysis" for one in training if one.shared]
    facts = [f"  time: {_source(searches)}", f"  memory: {_memory(whole)}", f"  disk: {_disk(whole)}"]
    lines += _wrapped([*shared, *facts])
    for one in whole.analyses:
        if one.problem is not None:
            lines += ["", *_wrapped([f"{one.analysis}: no plan: {one.problem}"])]
        elif one.lines:
            lines += ["", f"{one.analysis}:"]
            for line in one.lines:
                indent = " " * (4 + len(line) - len(line.lstrip()))
                lines += _wrapped([f"  {line}"], indent=indent)
    return lines


def _count(count: int, what: str) -> str:
    return f"{count} {what}{'es' * (count != 1)}"


def _bound(cost: AnalysisCost, count: int) -> str:
    return f"at most {count}" if cost.at_most and count else str(count)


def _time(seconds: float | None) -> str:
    return formatting.duration(seconds)


def _duration(seconds: float | None, mark: str) -> str:
    return "unknown" if seconds is None else f"{formatting.duration(seconds)}{mark}"


def _source(searches: Sequence[SearchCost]) -> str:
    """How the times were found; nothing is estimated before a trial was timed."""
    if all(not one.measured for one in searches):
        return "unknown until the first trial finishes"
    own = sum(one.measured for one in searches if not one.borrowed)
    text = f"from FLOPs and the speed of {own} finished trials, at full length"
    if any(one.borrowed for one in searches):
        text += (
            f"; {BORROWED} by those of other studies with the same model and device, usually too long for larger shapes"
        )
    if any(not one.measured for one in searches):
        text += "; unknown without a timed trial of the same model and device"
    slots = {one.slots for one in searches}
    return f"{text}; {_slots(slots)}" if slots != {1} else text


def _slots(slots: set[int]) -> str:
    return f"up to {' or '.join(map(str, sorted(slots)))} trials at a time"


def _memory(whole: WholePlan) -> str:
    known = [one for one in whole.searches if one.memory is not None]
    if not known:
        return "unknown without the trainer"
    largest = max(known, key=lambda one: one.memory or 0)
    text = f"a trial needs at most {formatting.size(largest.memory)} ({largest.study}, {largest.memory_source})"
    if largest.slots > 1:
        text += f", {largest.slots} at a time {formatting.size(largest.slots * (largest.memory or 0))}"
    text += f"; this machine has {formatting.size(whole.machine_memory)}"
    if (largest.memory or 0) <= whole.machine_memory or largest.memory_floor is None:
        return text
    return f"{text}; at micro-batch 1 it needs {formatting.size(largest.memory_floor)}"


def _disk(whole: WholePlan) -> str:
    return (
        f"{formatting.size(whole.disk)} for data, predictions and checkpoints; {formatting.size(whole.disk_free)} free"
    )
