"""Scrutiny of results that scalecore did not produce: what in them is wrong, doubtful, or cannot be known.

Nothing of what a file says is believed where it can be checked: parameters are counted by a model family, repeats are
found by content, and the size of a sample shows in the grain of its accuracies.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

from attrs import frozen

from scalecore import texts
from scalecore.study.audit_values import constants, edges, grain, missing_metrics, sample_sizes
from scalecore.study.old_results import OldRecord
from scalecore.trials import TrialState

__all__ = ["Audit", "Finding", "audit"]

TOLERANCE = 0.25
"""Of a budget in a name, the tolerance that scalecore's own budgets have by default."""
SHOWN = 4
"""So many records are named in a finding."""
_LABEL = re.compile(r"(?<![A-Za-z0-9.])(\d+(?:\.\d+)?)([kKMB])(?![A-Za-z0-9])")
_UNITS = {"k": 1e3, "K": 1e3, "M": 1e6, "B": 1e9}
_DRY = re.compile(r"dry[-_ ]?run|simulated|mock|placeholder", re.IGNORECASE)

Count = Callable[[Mapping[str, Any]], int | None]
"""Exact parameters of a record's values; None where they name no whole architecture."""


@frozen(kw_only=True)
class Finding:
    """`wrong` contradicts itself or what was counted, `doubtful` needs an explanation, `unknown` cannot be judged."""

    level: Literal["wrong", "doubtful", "unknown"]
    guard: str
    where: str
    text: str
    records: int
    """How many records it is of."""

    def row(self) -> dict[str, Any]:
        """For a table."""
        names = ("level", "guard", "where", "records", "text")
        return {name: getattr(self, name) for name in names}


@frozen(kw_only=True)
class Audit:
    """All findings, and what was looked at."""

    records: int
    files: int
    states: Mapping[str, int]
    findings: tuple[Finding, ...]


def audit(records: Sequence[OldRecord], *, count: Count | None = None) -> Audit:
    """Look at all records; `count` gives the parameters of a record's values, for labels and stated counts."""
    groups: dict[str, list[OldRecord]] = {}
    for record in records:
        groups.setdefault(_group(record), []).append(record)
    found: list[Finding] = []
    for where, group in groups.items():
        readable = [record for record in group if record.problem is None]
        found += _unreadable(where, group)
        if readable:
            for check in (_states, _architectures, _repeats, _values):
                found += check(where, readable)
            found += _sizes(where, readable, count)
    found += _across(groups)
    order = {"wrong": 0, "doubtful": 1, "unknown": 2}
    found.sort(key=lambda one: order[one.level])
    return Audit(
        records=len(records),
        files=len({record.source.partition("[")[0] for record in records}),
        states=dict(Counter(str(record.state or record.state_text) for record in records if record.problem is None)),
        findings=tuple(found),
    )


def _group(record: OldRecord) -> str:
    """Records that belong together: those of one list, or the trial files of one study."""
    path = Path(record.source.partition("[")[0])
    return str(path.parent.parent if path.parent.name == "trials" else path)


def _named(records: Sequence[OldRecord]) -> str:
    names = [str(record.number) if record.number is not None else record.source for record in records[:SHOWN]]
    return f"trials {', '.join(names)}" + (f" and {len(records) - SHOWN} more" if len(records) > SHOWN else "")


def _unreadable(where: str, group: Sequence[OldRecord]) -> Iterator[Finding]:
    for text, records in _by(group, lambda record: record.problem).items():
        if text is not None:
            yield Finding(level="wrong", guard="G25", where=where, text=text, records=len(records))


def _states(where: str, group: Sequence[OldRecord]) -> Iterator[Finding]:
    unknown = [record for record in group if record.state is None]
    if unknown:
        texts_ = ", ".join(sorted({record.state_text for record in unknown}))
        text = f"{_named(unknown)}: no known state ({texts_})"
        yield Finding(level="unknown", guard="G27", where=where, text=text, records=len(unknown))
    empty = [record for record in group if record.state is TrialState.COMPLETED and record.value is None]
    if empty:
        text = f"{_named(empty)}: completed without a finite value (missing, NaN or infinite)"
        yield Finding(level="wrong", guard="G25", where=where, text=text, records=len(empty))
    scored = [
        record
        for record in group
        if record.value is not None and record.state not in (TrialState.COMPLETED, TrialState.PRUNED, None)
    ]
    if scored:
        text = f"{_named(scored)}: failed, and have a value all the same"
        yield Finding(level="wrong", guard="G35", where=where, text=text, records=len(scored))
    if len(group) >= 20 and all(record.state is TrialState.COMPLETED for record in group):
        text = f"all {len(group)} trials completed: failed ones may have been left out"
        yield Finding(level="doubtful", guard="G27", where=where, text=text, records=len(group))


def _architectures(where: str, group: Sequence[OldRecord]) -> Iterator[Finding]:
    bare = [record for record in group if not record.values]
    if bare:
        text = f"{_named(bare)}: neither parameters nor an architecture: what ran is not known"
        yield Finding(level="unknown", guard="G20", where=where, text=text, records=len(bare))
    positions = [record for record in group if record.position is not None]
    if positions:
        text = f"{_named(positions)}: an index into a list of architectures that the file does not hold"
        yield Finding(level="unknown", guard="G21", where=where, text=text, records=len(positions))
    torn = [record for record in group if record.conflicts]
    if torn:
        text = f"{_named(torn)}: two values of one name, such as {torn[0].conflicts[0]}"
        yield Finding(level="wrong", guard="G20", where=where, text=text, records=len(torn))


def _sizes(where: str, group: Sequence[OldRecord], count: Count | None) -> Iterator[Finding]:
    """Counted parameters against stated ones, and against the budget in the name."""
    counted = {id(record): count(record.values) for record in group} if count is not None else {}
    wrong = [
        record
        for record in group
        if record.stated_parameters is not None and counted.get(id(record)) not in (None, record.stated_parameters)
    ]
    if wrong:
        first = wrong[0]
        text = f"{_named(wrong)}: {first.stated_parameters:,} parameters are stated, {counted[id(first)]:,} are counted"
        yield Finding(level="wrong", guard="G04", where=where, text=text, records=len(wrong))
    label = _LABEL.search(Path(where).name) or _LABEL.search(str(where))
    sizes = [counted.get(id(record)) or record.stated_parameters for record in group]
    known = sorted(size for size in sizes if size is not None)
    budget = 0.0 if label is None else float(label[1]) * _UNITS[label[2]]
    if label is not None and budget > 0 and known:
        outside = [size for size in known if abs(size / budget - 1) > TOLERANCE]
        if outside:
            low, high = texts.parameters(outside[0]), texts.parameters(outside[-1])
            how = "counted" if counted else "stated"
            text = f"labelled {label[0]}, but {len(outside)} of {len(known)} models have {low} to {high} ({how})"
            yield Finding(level="wrong", guard="G04", where=where, text=text, records=len(outside))
    if not known or (count is None and label is not None):
        text = "parameters were not counted: name the model, --model NAME --context N --features N"
        if count is not None:
            text = "no record holds a whole architecture, so parameters cannot be counted"
        yield Finding(level="unknown", guard="G04", where=where, text=text, records=len(group))


def _repeats(where: str, group: Sequence[OldRecord]) -> Iterator[Finding]:
    """The same configuration again; the same value from different ones; no seeds at all."""
    full = [record for record in group if record.values]
    same = list(_by(full, lambda record: (_content(record), record.seed)).values())
    again = [record for records in same for record in records[1:]]
    if again:
        values = [{record.value for record in records} for records in same if len(records) > 1]
        bits = sum(len(one) == 1 and None not in one for one in values)
        text = f"{len(again)} of {len(full)} trials repeat an earlier one exactly ({_named(again)})"
        text += f"; in {bits} case{'s' * (bits > 1)} with the same value to the last digit" if bits else ""
        yield Finding(level="doubtful", guard="G30", where=where, text=text, records=len(again))
    valued = [record for record in full if record.value is not None]
    for value, records in _by(valued, lambda record: record.value).items():
        if len({_content(record) for record in records}) > 1:
            text = f"{_named(records)}: different configurations, one value to the last digit ({value:.6g}): constant "
            text += "models, or a result that was not measured"
            yield Finding(level="wrong", guard="G09", where=where, text=text, records=len(records))
    if len(valued) >= 2 and len({_content(record) for record in valued}) == len(valued):
        text = "no configuration was run twice with another seed: differences below the noise cannot be told from it"
        yield Finding(level="unknown", guard="G14", where=where, text=text, records=len(valued))


def _values(where: str, group: Sequence[OldRecord]) -> Iterator[Finding]:
    """What the values and attributes themselves give away."""
    dry = [record for record in group if _is_dry(record)]
    if dry:
        text = f"{_named(dry)}: marked as a dry run: no results"
        yield Finding(level="wrong", guard="G12", where=where, text=text, records=len(dry))
    for guard, text, records in constants(group):
        yield Finding(level="wrong", guard=guard, where=where, text=f"{_named(records)}: {text}", records=len(records))
    for text, number in missing_metrics(group):
        yield Finding(level="doubtful", guard="G23", where=where, text=text, records=number)
    stated = sample_sizes(group)
    for text, number in stated or ():
        yield Finding(level="wrong", guard="G02", where=where, text=text, records=number)
    size = grain(group)
    if size is not None and stated is None:
        text = f"all accuracies are multiples of 1/{size}: they were measured on {size} samples"
        yield Finding(level="wrong", guard="G02", where=where, text=text, records=len(group))
    if size is None and stated is None:
        text = "nothing tells how many samples the values were measured on, nor their intervals"
        yield Finding(level="unknown", guard="G02", where=where, text=text, records=len(group))
    for text in edges(group):
        yield Finding(level="doubtful", guard="G32", where=where, text=text, records=1)


def _is_dry(record: OldRecord) -> bool:
    if _DRY.search(Path(record.source.partition("[")[0]).name):
        return True
    marked = [value for name, value in record.attributes.items() if _DRY.search(name)]
    told = any(isinstance(value, str) and _DRY.search(value) for value in record.attributes.values())
    return told or any(value not in (False, 0, "false", "no") for value in marked)


def _content(record: OldRecord) -> str:
    """What was run, as text that can be compared."""
    return repr(sorted(record.values.items()))


def _across(groups: Mapping[str, Sequence[OldRecord]]) -> Iterator[Finding]:
    """Files that hold the same results under several names."""
    contents: dict[Any, list[str]] = {}
    for where, group in groups.items():
        values = tuple(sorted((record.value, _content(record)) for record in group if record.value is not None))
        if values:
            contents.setdefault(values, []).append(where)
    for values, places in contents.items():
        if len(places) > 1:
            text = f"the same {len(values)} results as in {', '.join(places[1:])}"
            yield Finding(level="wrong", guard="G22", where=places[0], text=text, records=len(values))


def _by(records: Sequence[OldRecord], key: Callable[[OldRecord], Any]) -> dict[Any, list[OldRecord]]:
    groups: dict[Any, list[OldRecord]] = {}
    for record in records:
        groups.setdefault(key(record), []).append(record)
    return groups
